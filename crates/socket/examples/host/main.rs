//! An ordinary host at the end of a link, for whoever plays the rest of its network.
//!
//! The link is a Unix socket, on which each Ethernet frame follows its length, four bytes with the most significant first (what QEMU's
//! `-netdev stream` speaks), or a TAP. The host always offers echo on port 7 (TCP and UDP), discard on 9 and chargen on 19 (TCP),
//! and does what it is told over a second socket, one JSON object a line: see `control.rs`.
//!
//! ```text
//! cargo run --release -p wharf-socket --example host -- \
//!     --link unix:L.sock --control C.sock --address 10.0.0.2/24 --address fd00::2/64 --gateway 10.0.0.1
//! ```

mod control;
mod handles;
mod options;
mod services;
mod words;

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use wharf_link::{Capabilities, Tap};
use wharf_net::tcp::Algorithm;
use wharf_net::wire::ethernet::Mac;
use wharf_net::{Cidr, Config, ErrorRate, Route};
use wharf_socket::{Descriptor, QemuServer, Stack};

use services::Service;

/// A host at the end of a link, which does as an examiner says.
#[derive(Debug, Parser)]
struct Arguments {
    /// unix:PATH, where a peer connects, or tap:NAME.
    #[arg(long)]
    link: Where,
    /// The Unix socket that commands come over.
    #[arg(long)]
    control: Option<PathBuf>,
    /// The host's hardware address.
    #[arg(long, default_value = "02:77:00:00:00:02", value_parser = mac)]
    mac: Mac,
    /// An address of the host's, with its network's prefix length; may be given again.
    #[arg(long)]
    address: Vec<Cidr>,
    /// The neighbour that leads everywhere else; may be given again, for the other family.
    #[arg(long)]
    gateway: Vec<IpAddr>,
    /// The largest packet that the link carries, in bytes.
    #[arg(long, default_value_t = 1500)]
    mtu: u16,
    /// Send ICMP errors at any rate but that of a flood: up to 10,000 a second.
    #[arg(long)]
    no_icmp_limit: bool,
    /// How connections share the way.
    #[arg(long, default_value = "cubic")]
    congestion: Congestion,
    /// Leave checksums and segmentation to the TAP.
    #[arg(long)]
    offload: bool,
    /// One more service: tcp-echo:PORT, udp-echo:PORT, tcp-discard:PORT or tcp-chargen:PORT; may be given again.
    #[arg(long)]
    serve: Vec<Service>,
}

#[derive(Clone, Debug)]
enum Where {
    Unix(PathBuf),
    Tap(String),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Congestion {
    Reno,
    Cubic,
    Bbr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let config = config(&arguments);
    let stack = match &arguments.link {
        Where::Unix(path) => Stack::start(QemuServer::bind(path, arguments.mtu)?, config),
        Where::Tap(name) => {
            let mut tap = Tap::open(name, arguments.mtu)?;
            if !arguments.offload {
                tap = tap.limit(Capabilities::NONE)?;
            }
            Stack::start(Descriptor::new(tap)?, config)
        }
    };
    for service in Service::STANDARD.iter().chain(&arguments.serve) {
        service.start(&stack).await?;
    }
    if let Some(path) = &arguments.control {
        tokio::spawn(control::serve(stack.clone(), control::listen(path)?));
    }
    Err(stack.ended().await.into())
}

fn config(arguments: &Arguments) -> Config {
    let mut config = Config::new(arguments.mac, Stack::seed());
    config.addresses = arguments.address.clone();
    if arguments.no_icmp_limit {
        config.icmp_errors = ErrorRate::TRUSTED;
    }
    config.tcp.congestion = match arguments.congestion {
        Congestion::Reno => Algorithm::Reno,
        Congestion::Cubic => Algorithm::Cubic,
        Congestion::Bbr => Algorithm::Bbr,
    };
    config.routes = arguments.gateway.iter().copied().map(default).collect();
    config
}

/// The way to everywhere through `gateway`.
fn default(gateway: IpAddr) -> Route {
    let everything = match gateway {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let network = Cidr::new(everything, 0).expect("a prefix of length 0 is one of every family");
    Route { network, gateway }
}

fn mac(text: &str) -> Result<Mac, String> {
    let parts: Result<Vec<u8>, _> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect();
    let octets = parts.ok().and_then(|parts| parts.try_into().ok());
    octets
        .map(Mac)
        .ok_or("six hexadecimal octets with colons in between".to_owned())
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tap", name)) => Ok(Self::Tap(name.to_owned())),
            _ => Err("unix:PATH or tap:NAME".to_owned()),
        }
    }
}
