//! `--from-host PORT`: one of the machine's own TCP ports, let into a space.
//!
//! Inside, wharf listens on 127.0.0.1 and ::1; each connection is carried to the same port of the machine's loopback.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::space::Space;
use crate::space::keeper::Socket;

/// Both loopback addresses, in the order in which they are tried.
const LOOPBACK: [(IpAddr, Socket); 2] = [
    (IpAddr::V4(Ipv4Addr::LOCALHOST), Socket::Tcp4),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), Socket::Tcp6),
];

/// Lets these ports in, those that aren't already; answers with what didn't work.
pub(super) async fn let_in(space: &Rc<Space>, ports: &[NonZeroU16]) -> Vec<String> {
    let mut remarks = Vec::new();
    for &port in ports {
        if !space.from_host.borrow_mut().insert(port) {
            continue;
        }
        for (address, kind) in LOOPBACK {
            match listen(space, address, port, kind).await {
                Ok(listener) => space.employ(serve(listener, port)),
                Err(error) => {
                    remarks.push(format!("cannot let port {port} in at {address}: {error}"))
                }
            }
        }
    }
    remarks
}

async fn listen(
    space: &Space,
    address: IpAddr,
    port: NonZeroU16,
    kind: Socket,
) -> io::Result<TcpListener> {
    let socket = std::net::TcpStream::from(space.own_socket(kind).await?);
    let socket = TcpSocket::from_std_stream(socket);
    socket.set_reuseaddr(true)?;
    socket.bind((address, port.get()).into())?;
    socket.listen(1024)
}

async fn serve(listener: TcpListener, port: NonZeroU16) {
    loop {
        match listener.accept().await {
            Ok((inside, _)) => drop(tokio::task::spawn_local(carry(inside, port))),
            Err(error) => {
                tracing::error!("cannot accept at port {port} from a space: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn carry(mut inside: TcpStream, port: NonZeroU16) {
    let targets = LOOPBACK.map(|(address, _)| (address, port.get()).into());
    let Ok(mut outside) = TcpStream::connect(&targets[..]).await else {
        // A reset is the nearest to "connection refused" that an accepted connection can get.
        inside.set_zero_linger().ok();
        return;
    };
    inside
        .set_nodelay(true)
        .and_then(|()| outside.set_nodelay(true))
        .ok();
    // An end that is cut off is the peers' matter; both see it.
    copy_bidirectional(&mut inside, &mut outside).await.ok();
}
