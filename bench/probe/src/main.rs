//! The bench's own client and server: round trips, whole connections, datagrams, crowds of idle connections; and a bad wire.
//!
//! Both sides are plain blocking sockets with `TCP_NODELAY`, so that what is measured is the way between them. It is
//! *not* a load generator: throughput is iperf3's part (see `bench/run`).

mod calls;
mod client;
mod crowd;
mod datagrams;
mod floor;
mod server;
mod summary;
mod sys;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};

use summary::Summary;
use wharf_link::Impairment;

/// Bytes of a request, and of its response.
const SIZE: usize = 64;
/// The first byte of a request after whose response the server closes.
const LAST: u8 = 1;

/// Measures round trips and connections per second; results are one line of JSON, times in nanoseconds.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests until the standard input ends; says its port for TCP and UDP, and another for trains of datagrams
    Serve {
        /// Where to listen; port 0 chooses one
        address: SocketAddr,
    },
    /// Send 64-byte requests over one connection, each when the former was answered
    Latency(Load),
    /// Connect, ask, be answered, see the server close; then again
    Connections(Load),
    /// Send datagrams as fast as it goes; prints how many arrived per second
    Datagrams {
        /// The server; for trains at its second port
        address: SocketAddr,
        /// How long, in seconds
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
        /// Octets of a datagram
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Datagrams that are sent by one call
        #[arg(long, default_value_t = 1)]
        train: usize,
        /// Have the server send
        #[arg(long)]
        into: bool,
    },
    /// Accept at several ports and keep what comes, until the standard input ends; says the ports
    Hold {
        /// Where to listen
        address: SocketAddr,
        /// How many ports
        #[arg(long, default_value_t = 8)]
        ports: usize,
    },
    /// Make idle connections to what `hold` said, and measure an active one beside them
    Crowd {
        /// The server of the active one
        address: SocketAddr,
        /// The ports of the idle ones
        #[arg(long, value_delimiter = ',', required = true)]
        ports: Vec<u16>,
        /// How many
        #[arg(long)]
        count: usize,
    },
    /// Make two TAPs, `near` and `far`, and carry frames between them until the standard input ends
    Wire {
        /// Delay of each way, in milliseconds
        #[arg(long, default_value_t = 0.0)]
        delay: f64,
        /// The part of all frames that is lost, each way
        #[arg(long, default_value_t = 0.0)]
        loss: f64,
    },
    /// Time single system calls: binding, and others
    Calls {
        /// Under what, for comparison
        #[arg(long)]
        under: Option<floor::Floor>,
    },
    /// Have every call go on that arrives at standard input
    #[command(hide = true)]
    Answer,
}

#[derive(Debug, clap::Args)]
struct Load {
    /// The server
    address: SocketAddr,
    /// How long, in seconds
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How many clients at once
    #[arg(long, default_value_t = 1)]
    at_once: usize,
}

fn main() -> std::io::Result<()> {
    match Cli::parse().command {
        Command::Serve { address } => server::serve(address),
        Command::Latency(load) => report(&load, client::round_trips),
        Command::Connections(load) => report(&load, client::connections),
        Command::Datagrams {
            address,
            seconds,
            size,
            train,
            into,
        } => {
            let load = datagrams::Load {
                size,
                train,
                time: duration(seconds)?,
            };
            let measure = if into {
                datagrams::inward
            } else {
                datagrams::outward
            };
            println!("{}", measure(address, load)?);
            Ok(())
        }
        Command::Hold { address, ports } => crowd::hold(address, ports),
        Command::Crowd {
            address,
            ports,
            count,
        } => {
            println!("{}", crowd::join(address, &ports, count)?);
            Ok(())
        }
        Command::Wire { delay, loss } => wire::carry(Impairment {
            delay: duration(delay / 1000.0)?,
            loss,
            ..Impairment::default()
        }),
        Command::Answer => floor::answer(),
        Command::Calls { under } => {
            let _answering = under.map(floor::take_on).transpose()?;
            println!("{}", calls::measure()?);
            Ok(())
        }
    }
}

fn duration(seconds: f64) -> std::io::Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(std::io::Error::other)
}

fn report(load: &Load, measure: client::Measure) -> std::io::Result<()> {
    let summary: Summary =
        client::at_once(load.at_once, load.address, duration(load.seconds)?, measure)?;
    println!("{}", summary.to_json());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_connections_are_counted_against_the_server() {
        let (listener, address) = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        server::accept_in_background(listener);
        let duration = Duration::from_millis(50);
        for measure in [client::round_trips as client::Measure, client::connections] {
            let summary = client::at_once(2, address, duration, measure).unwrap();
            assert!(summary.count() > 0, "{summary:?}");
            assert_eq!(summary.failed(), 0, "{summary:?}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error_and_no_result() {
        let (listener, address) = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        drop(listener);
        for measure in [client::round_trips as client::Measure, client::connections] {
            client::at_once(1, address, Duration::from_millis(50), measure).unwrap_err();
        }
    }
}
