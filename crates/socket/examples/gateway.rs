//! A gateway for a virtual machine: whatever TCP server this machine reaches, the guest reaches too, without privileges.
//!
//! ```text
//! cargo run -p wharf-socket --example gateway -- net.sock &
//! qemu-system-x86_64 -netdev stream,id=n,server=off,addr.type=unix,addr.path=net.sock -device virtio-net,netdev=n …
//! ```
//!
//! In the guest: address 10.0.0.2/24, gateway 10.0.0.1.

use std::error::Error;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Arrival, Config, Gateway, Knock, QemuServer, Stack, Unreachable};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("the socket's path is missing")?;
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, 1]), Stack::seed());
    config.addresses = vec!["10.0.0.1/24".parse()?];
    config.accept_anything = true;
    let gateway = Gateway::new(&Stack::start(QemuServer::bind(path, 1500)?, config));
    loop {
        match gateway.arrival().await? {
            Arrival::Knock(knock) => drop(tokio::spawn(relay(knock))),
            Arrival::Datagram { flow, .. } => gateway.reject(flow, Unreachable::Prohibited),
            Arrival::Echo(echo) => gateway.reply(echo)?,
            _ => {}
        }
    }
}

/// Connects where the guest wants to, and only then answers it: what is refused outside is refused inside.
async fn relay(knock: Knock) -> std::io::Result<(u64, u64)> {
    let mut outside = TcpStream::connect(SocketAddr::from(knock.flow().local)).await?;
    let mut inside = knock.admit().await?;
    copy_bidirectional(&mut inside, &mut outside).await
}
