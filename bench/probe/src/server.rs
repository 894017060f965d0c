//! Answers each request with itself, and closes after one that asks for it.
//!
//! The server closes first, so that TIME-WAIT is on its side and a client never runs out of local ports.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};

use crate::{LAST, SIZE, datagrams};

/// Connections served at once.
const THREADS: usize = 64;

/// Serves until the standard input ends, so that a server whose bench died ends, too.
pub(crate) fn serve(address: SocketAddr) -> io::Result<()> {
    let (listener, address) = listen(address)?;
    accept_in_background(listener);
    datagrams::serve_in_background(UdpSocket::bind(address)?);
    let trains = UdpSocket::bind(SocketAddr::new(address.ip(), 0))?;
    setsockopt(&trains, sockopt::UdpGroSegment, &true)?;
    println!("{} {}", address.port(), trains.local_addr()?.port());
    datagrams::serve_in_background(trains);
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Listens at `address`, and says where that is.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Accepts in threads that stand ready, so that no connection waits for one to start.
pub(crate) fn accept_in_background(listener: TcpListener) {
    let listener = Arc::new(listener);
    for _ in 0..THREADS {
        let listener = Arc::clone(&listener);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that goes away in the middle has counted that itself.
                answer(client).ok();
            }
        });
    }
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut request = [0; SIZE];
    loop {
        client.read_exact(&mut request)?;
        client.write_all(&request)?;
        if request[0] == LAST {
            return Ok(());
        }
    }
}
