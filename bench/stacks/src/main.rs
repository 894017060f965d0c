//! What a TCP/IP stack costs: wharf-net beside smoltcp, tcp_ip and the kernel, over memory, in one run, as a Markdown table.
//!
//! `cargo run --release` in this directory; words choose measures: `stream`, `trips`, `datagrams`, `openings`, `idle`,
//! `million`. `alone` with one of `stream`, `trains`, `trips`, `openings`, `datagrams` runs wharf-net's part once, for a
//! profiler, and `beside` with one of `stream`, `trips`, `openings` smoltcp's. Each contestant is driven in one thread; they
//! take turns, and the table has medians of processor time. On a machine that is busy the ratios mean more than the figures.

mod datagrams;
mod idle;
mod kernel;
mod measure;
mod ours;
mod smol;
mod tcpip;
mod wire;

use std::time::Duration;

use measure::{Report, median_of_turns};

/// Octets of one stream's measure.
const STREAM: usize = 256 << 20;
/// Round trips of one measure.
const TRIPS: usize = 100_000;
/// Datagrams of one measure that is run alone.
const DATAGRAMS: usize = 100_000;
/// Connections of one measure.
const OPENINGS: usize = 10_000;
/// Octets of one write, and of one read.
pub(crate) const PIECE: usize = 64 << 10;
/// Octets of a request, and of its response.
pub(crate) const REQUEST: usize = 64;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| match words.is_empty() {
        true => name != "million",
        false => words.iter().any(|word| word == name),
    };
    if let [first, measure] = &words[..] {
        match first.as_str() {
            "alone" => return alone(measure),
            "beside" => return beside(measure),
            _ => {}
        }
    }
    let mut report = Report::default();
    if wanted("idle") {
        idle::measure(&mut report, 100_000);
    }
    if wanted("million") {
        idle::measure(&mut report, 1_000_000);
    }
    if wanted("stream") {
        streams(&mut report);
    }
    if wanted("trips") {
        trips(&mut report);
    }
    if wanted("datagrams") {
        datagrams::measure(&mut report);
    }
    if wanted("openings") {
        openings(&mut report);
    }
    print!("{report}");
}

fn alone(measure: &str) {
    let time = match measure {
        "stream" => ours::stream(STREAM, wire::PLAIN),
        "trains" => ours::stream(STREAM, wire::TRAINS),
        "trips" => ours::trips(TRIPS),
        "datagrams" => datagrams::alone(DATAGRAMS),
        _ => ours::openings(OPENINGS),
    };
    eprintln!("{measure}: {time:.2?}");
}

fn beside(measure: &str) {
    let time = match measure {
        "stream" => smol::stream(STREAM),
        "trips" => smol::trips(TRIPS),
        _ => smol::openings(OPENINGS),
    };
    eprintln!("smoltcp's {measure}: {time:.2?}");
}

fn streams(report: &mut Report) {
    let rate = |time: Duration| STREAM as f64 * 8.0 / time.as_secs_f64() / 1e9;
    let [plain, trains, smol, tcpip] = median_of_turns([
        &mut || rate(ours::stream(STREAM, wire::PLAIN)),
        &mut || rate(ours::stream(STREAM, wire::TRAINS)),
        &mut || rate(smol::stream(STREAM)),
        &mut || rate(tcpip::stream(STREAM)),
    ]);
    let show = |rate: f64| format!("{rate:.2} Gbit/s");
    let best = smol.max(tcpip);
    let beside = |rate: f64| format!("{:.2} × the better", rate / best);
    let what = "one stream, MTU 1500";
    report.row(&format!("{what}: smoltcp"), show(smol), "", "");
    report.row(&format!("{what}: tcp_ip"), show(tcpip), "", "");
    report.row(
        &format!("{what}: wharf-net, no offload"),
        show(plain),
        beside(plain),
        "2 ×",
    );
    report.row(
        &format!("{what}: wharf-net, trains"),
        show(trains),
        beside(trains),
        "5 ×",
    );
}

fn trips(report: &mut Report) {
    let each = |time: Duration| time.as_nanos() as f64 / TRIPS as f64;
    let [ours, smol, tcpip] = median_of_turns([
        &mut || each(ours::trips(TRIPS)),
        &mut || each(smol::trips(TRIPS)),
        &mut || each(tcpip::trips(TRIPS)),
    ]);
    let show = |time: f64| format!("{time:.0} ns");
    let what = "64 octets there and back";
    report.row(&format!("{what}: smoltcp"), show(smol), "", "");
    report.row(&format!("{what}: tcp_ip"), show(tcpip), "", "");
    let beside = format!("the better takes {:.2} ×", smol.min(tcpip) / ours);
    report.row(&format!("{what}: wharf-net"), show(ours), beside, "1 ×");
}

fn openings(report: &mut Report) {
    let rate = |time: Duration| OPENINGS as f64 / time.as_secs_f64();
    let [ours, smol, kernel] = median_of_turns([
        &mut || rate(ours::openings(OPENINGS)),
        &mut || rate(smol::openings(OPENINGS)),
        &mut || rate(kernel::openings(OPENINGS)),
    ]);
    let show = |rate: f64| format!("{rate:.0} a second");
    let what = "connections opened and closed";
    report.row(
        &format!("{what}: the kernel's loopback"),
        show(kernel),
        "",
        "",
    );
    report.row(
        &format!("{what}: smoltcp, one at a time"),
        show(smol),
        "",
        "",
    );
    let beside = format!(
        "{:.2} × the kernel, {:.2} × smoltcp",
        ours / kernel,
        ours / smol
    );
    report.row(&format!("{what}: wharf-net"), show(ours), beside, "");
}
