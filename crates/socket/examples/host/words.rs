//! What requests say and answers are made of: numbers, times, addresses, bytes, errors.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

/// The handle that a request is about.
pub(crate) fn number(request: &Value) -> u64 {
    request["h"].as_u64().unwrap_or(0)
}

pub(crate) fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

pub(crate) fn address(request: &Value, ip: &str, port: &str) -> io::Result<SocketAddr> {
    let ip = request[ip].as_str().and_then(|ip| ip.parse().ok());
    let port = request[port].as_u64().unwrap_or(0).try_into().ok();
    match (ip, port) {
        (Some(ip), Some(port)) => Ok(SocketAddr::new(ip, port)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

pub(crate) fn place(address: SocketAddr) -> Value {
    json!([address.ip().to_string(), address.port()])
}

/// Yes or no, also as 1 or 0.
pub(crate) fn flag(value: &Value) -> Option<bool> {
    value
        .as_bool()
        .or_else(|| value.as_u64().map(|number| number != 0))
}

pub(crate) fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &Value) -> io::Result<Vec<u8>> {
    let text = text.as_str().unwrap_or("").as_bytes();
    let pairs = text.chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs
        .collect::<Option<_>>()
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The errno's name.
pub(crate) fn errno(error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(9) {
        return "EBADF";
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => "EADDRINUSE",
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        io::ErrorKind::BrokenPipe => "EPIPE",
        io::ErrorKind::ConnectionAborted => "ECONNABORTED",
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::ConnectionReset => "ECONNRESET",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::InvalidInput => "EINVAL",
        io::ErrorKind::NetworkDown => "ENETDOWN",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::NotConnected => "ENOTCONN",
        io::ErrorKind::PermissionDenied => "EACCES",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        io::ErrorKind::Unsupported => "ENOSYS",
        _ => "EIO",
    }
}
