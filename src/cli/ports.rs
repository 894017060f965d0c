//! What can be typed about single ports.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use wharf_port::PortRange;

use crate::place::Place;

/// How a port is named.
pub(super) const PLACE: &str = "PORT|ADDR:PORT|SPACE:PORT|URL";

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The port: of here, of an address, of a space, or with `.:` of this directory's space; udp/PORT too
    #[arg(value_name = PLACE)]
    pub(crate) place: Place,

    /// How long, such as 500ms, 30s, 2m; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) timeout: Duration,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).multiple(true))]
pub(crate) struct Assert {
    /// The port: of here, of an address, of a space, or with `.:` of this directory's space; udp/PORT too
    #[arg(value_name = PLACE)]
    pub(crate) place: Place,

    /// It works in this directory or below
    #[arg(long, value_name = "DIR", group = "whose")]
    pub(crate) cwd: Option<PathBuf>,

    /// It is in this space
    #[arg(long, value_name = "NAME", group = "whose")]
    pub(crate) space: Option<String>,

    /// It is this process, or was started by it
    #[arg(long, value_name = "PID", group = "whose")]
    pub(crate) pid: Option<i32>,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Free {
    /// Choose among these ports
    #[arg(value_name = "RANGE", default_value = "10000-29999")]
    pub(crate) range: PortRange,

    /// How many
    #[arg(short = 'n', long = "count", value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=400))]
    pub(crate) count: u16,

    /// Ports of UDP
    #[arg(short, long)]
    pub(crate) udp: bool,

    /// Start CMD with sockets that have the ports, as LISTEN_FDS says
    #[arg(long, requires = "command")]
    pub(crate) hold: bool,

    /// The address to hold them at
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), requires = "hold")]
    pub(crate) at: IpAddr,

    /// Print JSON (docs/json.md)
    #[arg(long, conflicts_with = "hold")]
    pub(crate) json: bool,

    /// The program and its arguments
    #[arg(last = true, requires = "hold", value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only of this space, which need not run yet
    pub(crate) space: Option<String>,

    /// First what has happened since then: 14:00, "2026-03-01 14:00", or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only what has happened, without waiting for more
    #[arg(long)]
    pub(crate) no_follow: bool,

    /// Print one JSON object a line (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

/// A time as people write it: `30s`, `2m 30s`; a number alone is seconds.
fn time(text: &str) -> Result<Duration, String> {
    let written = match text.parse::<u32>() {
        Ok(seconds) => Ok(SignedDuration::from_secs(seconds.into())),
        Err(_) => text.parse::<SignedDuration>(),
    };
    written
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "a time is wanted, such as 500ms, 30s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "soon", "-3s", "3x"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
