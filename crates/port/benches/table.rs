//! How fast the table answers, and that it does not matter how much it holds.
//!
//! `cargo bench -p wharf-port`. Each group compares sizes in one run; the memory per flow is printed first.

#![allow(
    missing_docs,
    reason = "the macros of the bench harness make public items"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wharf_port::table::{Config, Request};
use wharf_port::{Domain, Endpoint, Flow, Hold, Local, Port, PortRange, Protocol, Table};

const TCP: Request = Request::new(Protocol::Tcp, Domain::V4);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn table() -> Table<u64> {
    Table::new(&Config::new([42; 32]))
}

fn port(number: u16) -> Port {
    Port::new(number).expect("not zero")
}

fn address(block: u8, number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::from(block) << 24 | number))
}

fn local(address: IpAddr, number: u16) -> Local {
    Local {
        address,
        port: Some(port(number)),
    }
}

/// An order that caches and prefetchers can't foresee.
struct Scatter(u64);

impl Scatter {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((u128::from(self.0) * limit as u128) >> 64) as usize
    }
}

fn bound(table: &mut Table<u64>, to: Local) -> Hold {
    let hold = table.open(TCP, 0);
    table.bind(hold, to).expect("the place is free");
    hold
}

fn listener(table: &mut Table<u64>) -> Hold {
    let hold = bound(table, local(LOCAL, 80));
    table.listen(hold).expect("nobody else listens");
    hold
}

fn flow_from(number: u32) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        local: Endpoint::new(LOCAL, port(80)),
        remote: Endpoint::new(
            address(100, number / 60_000),
            port(1 + (number % 60_000) as u16),
        ),
    }
}

fn bind_and_release(c: &mut Criterion) {
    let mut group = c.benchmark_group("bind and release a specific endpoint among");
    group.throughput(Throughput::Elements(1));
    for others in [0_u32, 1_000, 1_000_000] {
        let mut table = table();
        for number in 0..others {
            bound(
                &mut table,
                local(address(11, number / 50_000), 1 + (number % 50_000) as u16),
            );
        }
        group.bench_function(BenchmarkId::from_parameter(others), |b| {
            let mut scatter = Scatter(1);
            b.iter(|| {
                let to = local(LOCAL, 1 + scatter.below(50_000) as u16);
                let hold = bound(&mut table, to);
                table.release(hold)
            });
        });
    }
}

fn conflict(c: &mut Criterion) {
    let mut group = c.benchmark_group("conflict on a port with connections");
    for count in [0, 100_000] {
        let mut table = table();
        let listener = listener(&mut table);
        for number in 0..count {
            table
                .accept(listener, &flow_from(number), 1)
                .expect("the flow is free");
        }
        let newcomer = table.open(TCP, 2);
        for (name, to) in [
            ("same", local(LOCAL, 80)),
            ("wildcard", local(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80)),
        ] {
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| table.bind(newcomer, black_box(to)).is_err());
            });
        }
    }
}

/// A table in which all but so many of the range's ports are taken.
fn filled(free: u32) -> Table<u64> {
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

trait OpenBind {
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
fn free_at(share: u32) -> u32 {
    (PortRange::LINUX.count() * (10_000 - share)).div_ceil(10_000)
}

const SHARES: [u32; 5] = [100, 5_000, 9_900, 9_999, 10_000];

fn choose_for_bind(c: &mut Criterion) {
    let mut group = c.benchmark_group("bind to port 0 with this many of 10,000 taken");
    for share in SHARES {
        let mut table = filled(free_at(share));
        group.bench_function(BenchmarkId::from_parameter(share), |b| {
            b.iter(|| {
                if let Ok(hold) = table.open_bind(LOCAL) {
                    table.release(hold);
                }
            });
        });
    }
}

fn choose_for_connect(c: &mut Criterion) {
    let mut group = c.benchmark_group("connect with this many of 10,000 taken");
    let remote = Endpoint::new(address(12, 1), port(443));
    for share in SHARES {
        let mut table = table();
        let taken = PortRange::LINUX.count() - free_at(share);
        for _ in 0..taken {
            let hold = table.open(TCP, 0);
            table.connect(hold, LOCAL, remote).expect("a port is free");
        }
        group.bench_function(BenchmarkId::from_parameter(share), |b| {
            b.iter(|| {
                let hold = table.open(TCP, 0);
                let connected = table.connect(hold, LOCAL, remote).is_ok();
                table.release(hold);
                connected
            });
        });
    }
}

/// Bytes of memory that this process has in use.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

fn who(c: &mut Criterion) {
    const FLOWS: u32 = 1_000_000;
    let before = resident();
    let mut table = table();
    let listener = listener(&mut table);
    for number in 0..FLOWS {
        table
            .accept(listener, &flow_from(number), u64::from(number))
            .expect("the flow is free");
    }
    println!(
        "memory: {} bytes for each of {FLOWS} flows",
        (resident() - before) / FLOWS as usize
    );

    let mut group = c.benchmark_group("who among a million flows");
    for (name, from) in [("hit", 0), ("miss", FLOWS)] {
        group.bench_function(name, |b| {
            let mut scatter = Scatter(3);
            b.iter(|| {
                let flow = flow_from(from + scatter.below(FLOWS as usize) as u32);
                table.who(&flow).map(|found| *found.owner)
            });
        });
    }
    // What the hardware asks for: a read at a random place of as much memory as the table has.
    let memory: Vec<u64> = vec![1; FLOWS as usize * 120 / 8];
    group.bench_function("one cache miss, for comparison", |b| {
        let mut scatter = Scatter(5);
        let mut last = 0;
        b.iter(|| {
            last = memory[(scatter.below(memory.len() - 1)) ^ (last as usize & 1)];
            last
        });
    });
    group.bench_function("accept and release", |b| {
        let mut scatter = Scatter(4);
        b.iter(|| {
            let flow = flow_from(FLOWS + scatter.below(FLOWS as usize) as u32);
            let hold = table.accept(listener, &flow, 7).expect("the flow is free");
            table.release(hold)
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = who, bind_and_release, conflict, choose_for_bind, choose_for_connect
}
criterion_main!(benches);
