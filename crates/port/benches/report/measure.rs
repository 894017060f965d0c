//! Taking times, and the table that they go into.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Batches of which the fastest counts: what others do on the machine only ever adds.
const BATCHES: usize = 101;
const BATCH: Duration = Duration::from_millis(5);
const CALLS: usize = 100_000;

/// Nanoseconds of one call, when it is made again and again: those of the fastest batch.
pub(crate) fn batches<T>(mut call: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < BATCH {
        black_box(call());
        count += 1;
    }
    let times = (0..BATCHES).map(|_| {
        let start = Instant::now();
        for _ in 0..count {
            black_box(call());
        }
        start.elapsed().as_nanos() as f64 / f64::from(count)
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Nanoseconds of single calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Takes the time of each call, less what looking at the clock takes.
pub(crate) fn calls<T>(call: impl FnMut() -> T) -> Calls {
    some_calls(CALLS, call)
}

/// Like [`calls`], for calls that take longer.
pub(crate) fn some_calls<T>(count: usize, mut call: impl FnMut() -> T) -> Calls {
    let clock = times(count, || ()).median;
    for _ in 0..count / 10 {
        black_box(call());
    }
    let Calls { median, p99 } = times(count, call);
    Calls {
        median: (median - clock).max(0.0),
        p99: (p99 - clock).max(0.0),
    }
}

fn times<T>(count: usize, mut call: impl FnMut() -> T) -> Calls {
    let mut times: Vec<u64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            black_box(call());
            start.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    Calls {
        median: times[count / 2] as f64,
        p99: times[count * 99 / 100] as f64,
    }
}

/// Rows of Markdown.
pub(crate) struct Report(Vec<[String; 4]>);

impl Report {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Something that is no time.
    pub(crate) fn fact(&mut self, what: &str, value: &str, reach: &str) {
        self.0.push([what, value, "", reach].map(str::to_owned));
    }

    /// A time, what it is compared with, and what it should reach.
    pub(crate) fn row(&mut self, what: &str, time: f64, ratio: &str, reach: &str) {
        self.fact(what, &nanoseconds(time), reach);
        if let Some(row) = self.0.last_mut() {
            ratio.clone_into(&mut row[2]);
        }
    }

    /// Median and p99 of a choice, compared with those of an almost empty range.
    pub(crate) fn calls(&mut self, what: &str, calls: Calls, base: Calls) {
        let ratio = format!(
            "{:.2} ×, p99 {:.2} ×",
            calls.median / base.median,
            calls.p99 / base.p99
        );
        self.fact(what, &both(calls), "1.5 ×, p99 3 ×");
        if let Some(row) = self.0.last_mut() {
            row[2] = ratio;
        }
    }
}

/// `median, p99 so much`.
pub(crate) fn both(calls: Calls) -> String {
    format!(
        "{}, p99 {}",
        nanoseconds(calls.median),
        nanoseconds(calls.p99)
    )
}

fn nanoseconds(time: f64) -> String {
    match time {
        ..10_000.0 => format!("{time:.0} ns"),
        _ => format!("{:.1} µs", time / 1e3),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | measured | compared | to reach |\n|---|---|---|---|"
        )?;
        for [what, value, ratio, reach] in &self.0 {
            writeln!(f, "| {what} | {value} | {ratio} | {reach} |")?;
        }
        Ok(())
    }
}
