//! How fast the table answers, and that it does not matter how much it holds.
//!
//! `cargo bench -p wharf-port`. Each group compares sizes in one run; the memory per flow is printed first.

#![allow(
    missing_docs,
    reason = "the macros of the bench harness make public items"
)]

mod workload;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wharf_port::{Endpoint, PortRange};

use workload::*;

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
