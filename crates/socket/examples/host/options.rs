//! What can be set on a socket, before it has a connection and after.

use std::io;
use std::time::Duration;

use serde_json::Value;
use wharf_socket::{KeepAlive, TcpSocket, TcpStream};

use crate::words::{flag, seconds};

/// What both kinds of socket can be told, by the same words.
macro_rules! apply {
    ($socket:expr, $options:expr) => {{
        let (socket, options) = ($socket, $options);
        if let Some(nodelay) = flag(&options["nodelay"]) {
            socket.set_nodelay(nodelay)?;
        }
        if let Some(on) = flag(&options["keepalive"]) {
            socket.set_keepalive(on.then(|| keepalive(options)))?;
        }
        if let Some(ms) = options["user_timeout"].as_u64() {
            socket.set_user_timeout((ms > 0).then_some(Duration::from_millis(ms)))?;
        }
        if let Some(size) = options["rcvbuf"].as_u64() {
            socket.set_recv_buffer_size(u32::try_from(size).unwrap_or(u32::MAX))?;
        }
        if let Some(size) = options["sndbuf"].as_u64() {
            socket.set_send_buffer_size(u32::try_from(size).unwrap_or(u32::MAX))?;
        }
    }};
}

/// Before the connection.
pub(crate) fn prepare(socket: &TcpSocket, options: &Value) -> io::Result<()> {
    apply!(socket, options);
    Ok(())
}

/// On the connection.
pub(crate) fn set(stream: &TcpStream, options: &Value) -> io::Result<()> {
    apply!(stream, options);
    if let Some(cork) = flag(&options["cork"]) {
        stream.set_cork(cork)?;
    }
    Ok(())
}

fn keepalive(options: &Value) -> KeepAlive {
    let default = KeepAlive::default();
    let time = |name: &str, default| options[name].as_f64().map_or(default, seconds);
    KeepAlive {
        idle: time("keepidle", default.idle),
        interval: time("keepintvl", default.interval),
        count: options["keepcnt"]
            .as_u64()
            .map_or(default.count, |count| count as u8),
    }
}
