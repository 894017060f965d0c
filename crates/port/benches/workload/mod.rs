//! Tables filled in the ways that the benches ask about.

#![allow(dead_code, reason = "each bench uses its part")]

use std::net::{IpAddr, Ipv4Addr};

use wharf_port::table::{Config, Request};
use wharf_port::{Domain, Endpoint, Flow, Hold, Local, Port, PortRange, Protocol, Table};

pub(crate) const TCP: Request = Request::new(Protocol::Tcp, Domain::V4);
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

pub(crate) fn table() -> Table<u64> {
    Table::new(&Config::new([42; 32]))
}

pub(crate) fn port(number: u16) -> Port {
    Port::new(number).expect("not zero")
}

pub(crate) fn address(block: u8, number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::from(block) << 24 | number))
}

pub(crate) fn local(address: IpAddr, number: u16) -> Local {
    Local {
        address,
        port: Some(port(number)),
    }
}

/// An order that caches and prefetchers can't foresee.
pub(crate) struct Scatter(pub(crate) u64);

impl Scatter {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((u128::from(self.0) * limit as u128) >> 64) as usize
    }
}

pub(crate) fn bound(table: &mut Table<u64>, to: Local) -> Hold {
    let hold = table.open(TCP, 0);
    table.bind(hold, to).expect("the place is free");
    hold
}

pub(crate) fn listener(table: &mut Table<u64>) -> Hold {
    let hold = bound(table, local(LOCAL, 80));
    table.listen(hold).expect("nobody else listens");
    hold
}

pub(crate) fn flow_from(number: u32) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        local: Endpoint::new(LOCAL, port(80)),
        remote: Endpoint::new(
            address(100, number / 60_000),
            port(1 + (number % 60_000) as u16),
        ),
    }
}

/// A table in which all but so many of the range's ports are taken.
pub(crate) fn filled(free: u32) -> Table<u64> {
    let mut table = table();
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut holds = Vec::new();
    for _ in 0..PortRange::LINUX.count() {
        let hold = table.open(TCP, 0);
        table
            .bind(
                hold,
                Local {
                    address: LOCAL,
                    port: None,
                },
            )
            .expect("a port is free");
        holds.push(hold);
    }
    assert!(table.open_bind(all).is_err());
    let mut scatter = Scatter(9);
    for _ in 0..free {
        table.release(holds.swap_remove(scatter.below(holds.len())));
    }
    table
}

pub(crate) trait OpenBind {
    fn open_bind(&mut self, address: IpAddr) -> Result<Hold, ()>;
}

impl OpenBind for Table<u64> {
    fn open_bind(&mut self, address: IpAddr) -> Result<Hold, ()> {
        let hold = self.open(TCP, 0);
        match self.bind(
            hold,
            Local {
                address,
                port: None,
            },
        ) {
            Ok(_) => Ok(hold),
            Err(_) => {
                self.release(hold);
                Err(())
            }
        }
    }
}

/// How many ports of Linux's range are free at these shares taken, in hundredths of a percent.
pub(crate) fn free_at(share: u32) -> u32 {
    (PortRange::LINUX.count() * (10_000 - share)).div_ceil(10_000)
}

/// Bytes of memory that this process has in use.
pub(crate) fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
