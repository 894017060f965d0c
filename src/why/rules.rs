//! What the machine's settings say about a port number, whoever has it.
//!
//! To have read: the kernel's `Documentation/networking/ip-sysctl.rst`.

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::ops::RangeInclusive;

use rustix::thread::{CapabilitySet, capabilities};

/// The settings of the network namespace that this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// Ports below this want a privilege.
    pub(super) unprivileged_from: u16,
    /// Where the kernel chooses ports of connections from.
    pub(super) chosen: RangeInclusive<u16>,
    /// Ports that the kernel doesn't choose.
    pub(super) reserved: Vec<RangeInclusive<u16>>,
    /// Whether this process has the privilege.
    pub(super) privileged: bool,
}

impl Rules {
    /// Reads them; what can't be read is as the kernel has it in the beginning.
    pub(super) fn here() -> Self {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default()
        };
        let held = capabilities(None).map(|sets| sets.effective);
        Self {
            unprivileged_from: read("ip_unprivileged_port_start")
                .trim()
                .parse()
                .unwrap_or(1024),
            chosen: range(&read("ip_local_port_range")).unwrap_or(32768..=60999),
            reserved: list(&read("ip_local_reserved_ports")),
            privileged: held.is_ok_and(|held| held.contains(CapabilitySet::NET_BIND_SERVICE)),
        }
    }

    /// Whether binding this port wants a privilege.
    pub(super) fn is_system(&self, port: u16) -> bool {
        port < self.unprivileged_from
    }

    /// Whether the kernel never chooses this port by itself.
    pub(super) fn is_reserved(&self, port: u16) -> bool {
        self.reserved.iter().any(|range| range.contains(&port))
    }

    /// Whether the kernel may give this port to a connection.
    pub(super) fn may_be_chosen(&self, port: u16) -> bool {
        self.chosen.contains(&port) && !self.is_reserved(port)
    }
}

/// Whether a port of this address can be had here at all.
pub(super) fn has(address: IpAddr) -> bool {
    let unknown = |error: io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    address.is_loopback() || !UdpSocket::bind((address, 0)).is_err_and(unknown)
}

/// Two numbers with blanks between.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

/// Numbers and ranges with commas between: `3000,8000-8010`.
fn list(text: &str) -> Vec<RangeInclusive<u16>> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.trim().split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_the_kernel_writes_them() {
        assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(range(""), None);
        assert_eq!(list("\n"), []);
        assert_eq!(list("3000,8000-8010\n"), [3000..=3000, 8000..=8010]);
        let rules = Rules {
            unprivileged_from: 1024,
            chosen: 3000..=9000,
            reserved: list("8000-8010"),
            privileged: false,
        };
        assert!(rules.is_system(80) && !rules.is_system(1024));
        assert!(rules.is_reserved(8010) && !rules.may_be_chosen(8010));
        assert!(rules.may_be_chosen(3000) && !rules.may_be_chosen(2999));
    }
}
