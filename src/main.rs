//! Tries the name front and the name service by hand: `wharf NAME=PORT...` serves ports of the machine as if they
//! were ports of spaces.

mod dns;
mod name;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::LocalSet;

struct Town(Vec<(String, u16)>);

impl name::Spaces for Rc<Town> {
    fn find(&self, name: &str) -> Option<name::SpaceRef> {
        name::Spaces::all(self).into_iter().find(|s| s.name == name)
    }

    fn all(&self) -> Vec<name::SpaceRef> {
        let mut all: Vec<name::SpaceRef> = Vec::new();
        for (id, (name, _)) in (0..).zip(&self.0) {
            if all.iter().all(|s| s.name != *name) {
                let name = name.clone();
                let directory = format!("/home/me/{name}").into();
                all.push(name::SpaceRef {
                    id,
                    name,
                    directory,
                });
            }
        }
        all
    }

    async fn listeners(&self, space: &name::SpaceRef) -> Vec<name::PortInfo> {
        let ports = self.0.iter().filter(|(name, _)| *name == space.name);
        ports
            .map(|(_, port)| name::PortInfo {
                port: *port,
                addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                program: "server".into(),
                listener: u64::from(*port),
            })
            .collect()
    }

    fn dial(
        &self,
        _: &name::SpaceRef,
        port: &name::PortInfo,
    ) -> impl Future<Output = io::Result<TcpStream>> {
        TcpStream::connect((port.addresses[0], port.port))
    }
}

impl dns::Spaces for Rc<Town> {
    fn addresses(&self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let known = self.0.iter().any(|(n, _)| n == name);
        known.then_some((Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST))
    }

    fn name(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn gateway(&self) -> (Ipv4Addr, Ipv6Addr) {
        (Ipv4Addr::new(10, 77, 0, 1), Ipv6Addr::LOCALHOST)
    }
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let arguments = std::env::args().skip(1);
        let spaces = arguments.filter_map(|argument| {
            let (name, port) = argument.split_once('=')?;
            let name = if name::is_label(name) && !name::is_reserved(name) {
                name.to_owned()
            } else {
                name::label(name)
            };
            Some((name, port.parse().ok()?))
        });
        let town = Rc::new(Town(spaces.collect()));
        let front = name::Front::new(Rc::clone(&town));
        println!("{front:?}, {} clients", name::CLIENTS_MAX);
        for address in ["127.0.0.1:7070", "[::1]:7070"] {
            let listener = TcpListener::bind(address).await?;
            tokio::task::spawn_local(Rc::clone(&front).serve(listener));
        }
        let conf = dns::ResolvConf::new("/etc/resolv.conf");
        let resolver = Rc::new(dns::Resolver::new(town, move || conf.current()));
        println!("{resolver:?}, {} at once", dns::FORWARDS_MAX);
        let address = "127.0.0.1:7053";
        let listener = TcpListener::bind(address).await?;
        tokio::task::spawn_local(Rc::clone(&resolver).serve_tcp(listener));
        let socket = UdpSocket::bind(address).await?;
        tokio::task::spawn_local(Rc::clone(&resolver).serve_udp(socket));
        std::future::pending::<()>().await;
        println!("{:?} {:?}", resolver.counts(), front.forget(0));
        Ok(())
    })
}
