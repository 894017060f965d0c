//! What the table costs, in one run, as a Markdown table: the targets of its size and speed, and others beside it.
//!
//! `cargo bench -p wharf-port --bench report`; with `-- flows`, `-- binding` and so on, that part alone. Times are those of the
//! fastest of many batches, where single calls are timed ("p99") their median. What the kernel takes is measured in a
//! network namespace made for it, by this program run again under `unshare`; nothing of the machine's own is changed.
//! On a machine that is busy the ratios mean more than the times.

mod kernel;
mod measure;
mod rival;
#[path = "../workload/mod.rs"]
mod workload;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use wharf_port::table::Config;
use wharf_port::{Endpoint, Hold, Local, Port, PortRange, Protocol, Table};

use measure::{Calls, Report, batches, calls};
use workload::*;

/// So many ports of the others' addresses are taken.
const PORTS: u32 = 50_000;
const FLOWS: u32 = 1_000_000;
const CROWD: u32 = 100_000;

type Part = fn(&mut Report);

/// What is measured, by the name with which one part alone can be asked for. Flows first, so that the memory is that table's only.
const PARTS: [(&str, Part); 6] = [
    ("flows", flows),
    ("binding", binding),
    ("conflicts", conflicts),
    ("choice", choice),
    ("kernel", kernel::beside),
    ("rival", rival::beside),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|word| word == kernel::CHILD) {
        return kernel::child();
    }
    // `cargo test` runs benches too, and means to be quick.
    if !arguments.iter().any(|word| word == "--bench") {
        return;
    }
    let mut report = Report::new();
    for (name, part) in PARTS {
        let asked = arguments.iter().any(|word| word == name);
        if asked
            || !PARTS
                .iter()
                .any(|(name, _)| arguments.iter().any(|word| word == name))
        {
            part(&mut report);
        }
    }
    print!("{report}");
}

/// `who`, and what a million flows weigh.
fn flows(report: &mut Report) {
    let before = resident();
    let mut table = table();
    let listener = listener(&mut table);
    for number in 0..FLOWS {
        let accepted = table.accept(listener, &flow_from(number), u64::from(number));
        accepted.expect("the flow is free");
    }
    let each = (resident() - before) / FLOWS as usize;
    report.fact(
        "memory for each of 1,000,000 flows",
        &format!("{each} bytes"),
        "128 bytes",
    );

    let miss = cache_miss(FLOWS as usize * 120 / 8);
    let keyed = keyed_hash();
    let base = miss + keyed;
    report.row("one cache miss in as much memory", miss, "", "");
    report.row("one keyed hash of a flow", keyed, "", "");
    for (name, from) in [("hit", 0), ("miss", FLOWS)] {
        let mut scatter = Scatter(3);
        let time = batches(|| {
            let flow = flow_from(from + scatter.below(FLOWS as usize) as u32);
            table.who(&flow).map(|found| *found.owner)
        });
        let what = format!("who among 1,000,000 flows, {name}, random order");
        let ratio = format!("{:.2} × (cache miss + hash)", time / base);
        report.row(&what, time, &ratio, "150 ns");
    }
}

/// A read at a random place, which waits for the one before it.
fn cache_miss(words: usize) -> f64 {
    let memory: Vec<u64> = vec![1; words];
    let (mut scatter, mut last) = (Scatter(5), 0);
    batches(|| {
        last = memory[scatter.below(words - 1) ^ (last as usize & 1)];
        last
    })
}

fn keyed_hash() -> f64 {
    use std::hash::BuildHasher;
    // The same work as the table's: five words through SipHash-1-3.
    let keyed = std::hash::RandomState::new();
    let mut count = 0_u64;
    batches(|| {
        count += 1;
        keyed.hash_one([count, 2, 3, 4, 5])
    })
}

fn binding(report: &mut Report) {
    let miss = cache_miss(FLOWS as usize * 120 / 8);
    let mut first = [None; 2];
    for others in [0, 1_000, FLOWS] {
        let mut table = table();
        for number in 0..others {
            let to = local(address(11, number / PORTS), 1 + (number % PORTS) as u16);
            bound(&mut table, to);
        }
        let mut time = |ports: usize| {
            let mut scatter = Scatter(1);
            batches(|| {
                let to = local(LOCAL, 1 + scatter.below(ports) as u16);
                let hold = bound(&mut table, to);
                table.release(hold)
            })
        };
        let spreads = [(PORTS as usize, "any port"), (64, "one of 64 ports")];
        for ((ports, which), first) in spreads.into_iter().zip(&mut first) {
            let time = time(ports);
            let what = format!("bind + release, {which}, among {}", grouped(others));
            let none = *first.get_or_insert(time);
            let mut ratio = format!("{:.2} × none, {:.1} M/s", time / none, 1e3 / time);
            if others == FLOWS && ports > 64 {
                // Two are waited for: the port, and the group that leads there.
                let misses = (time - none) / miss;
                ratio += &format!("; the difference is {misses:.1} cache misses");
            }
            report.row(
                &what,
                time,
                &ratio,
                "5 M/s, 1.5 ×, cache misses allowed for",
            );
        }
    }
}

fn conflicts(report: &mut Report) {
    let mut first = [None; 2];
    for count in [0, CROWD] {
        let mut table = table();
        let listener = listener(&mut table);
        for number in 0..count {
            let accepted = table.accept(listener, &flow_from(number), 1);
            accepted.expect("the flow is free");
        }
        let newcomer = table.open(TCP, 2);
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        for (which, (name, to)) in [("its address", LOCAL), ("the wildcard", all)]
            .into_iter()
            .enumerate()
        {
            let to = local(to, 80);
            let time = batches(|| table.bind(newcomer, black_box(to)).is_err());
            let what = format!(
                "conflict at {name} of a port with {} connections",
                grouped(count)
            );
            let ratio = format!("{:.2} × none", time / *first[which].get_or_insert(time));
            report.row(&what, time, &ratio, "1.5 ×");
        }
    }
}

fn choice(report: &mut Report) {
    let mut first: Option<Calls> = None;
    for share in [100, 5_000, 9_900, 9_999] {
        let mut table = filled(free_at(share));
        let calls = calls(|| open_bind_release(&mut table));
        let base = *first.get_or_insert(calls);
        report.calls(
            &format!("bind to port 0, {} taken", percent(share)),
            calls,
            base,
        );
    }
    let mut first: Option<Calls> = None;
    for share in [100, 5_000, 9_900, 9_999] {
        let taken = PortRange::LINUX.count() - free_at(share);
        let (mut table, remote) = connected(PortRange::LINUX, taken);
        let calls = calls(|| connect_release(&mut table, remote));
        let base = *first.get_or_insert(calls);
        report.calls(&format!("connect, {} taken", percent(share)), calls, base);
    }
}

fn open_bind_release(table: &mut Table<u64>) {
    let hold = table.open(TCP, 0);
    let to = Local {
        address: LOCAL,
        port: None,
    };
    table.bind(hold, to).expect("a port is free");
    table.release(hold);
}

fn connect_release(table: &mut Table<u64>, remote: Endpoint) {
    let hold = table.open(TCP, 0);
    table.connect(hold, LOCAL, remote).expect("a port is free");
    table.release(hold);
}

/// A table with so many connections from the range to one peer.
fn connected(range: PortRange, taken: u32) -> (Table<u64>, Endpoint) {
    let mut config = Config::new([42; 32]);
    config.ephemeral = range;
    let mut table = Table::new(&config);
    let remote = Endpoint::new(address(12, 1), port(443));
    for _ in 0..taken {
        let hold = table.open(TCP, 0);
        table.connect(hold, LOCAL, remote).expect("a port is free");
    }
    (table, remote)
}

/// A table with so many ports of the range bound by choice.
fn chosen(range: PortRange, taken: u32) -> Table<u64> {
    let mut config = Config::new([42; 32]);
    config.ephemeral = range;
    let mut table = Table::new(&config);
    for _ in 0..taken {
        let _: Hold = table.open_bind(LOCAL).expect("a port is free");
    }
    table
}

fn percent(share: u32) -> String {
    format!("{} %", f64::from(share) / 100.0)
}

/// A number with commas between thousands.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Listeners at so many endpoints, and how a segment for one of them looks to the table.
fn listeners(count: u32) -> (Table<u64>, impl Fn(u32) -> wharf_port::Flow) {
    let mut table = table();
    for number in 0..count {
        let hold = bound(&mut table, at_endpoint(number));
        table.listen(hold).expect("nobody else listens");
    }
    let flow = |number| {
        let Local { address, port } = at_endpoint(number);
        wharf_port::Flow {
            protocol: Protocol::Tcp,
            local: Endpoint::new(address, port.unwrap_or(Port::MAX)),
            remote: Endpoint::new(workload::address(12, 1), workload::port(40_000)),
        }
    };
    (table, flow)
}

/// Different endpoints on two addresses.
fn at_endpoint(number: u32) -> Local {
    local(address(10, 1 + number / PORTS), 1 + (number % PORTS) as u16)
}
