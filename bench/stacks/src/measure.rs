//! Processor time, turns and medians, and the table that they go into.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Turns of which the median is taken, after one that is not counted.
const TURNS: usize = 5;
const BATCHES: usize = 21;
const BATCH: Duration = Duration::from_millis(10);

/// Processor time of this process, in which other work on the machine does not count. All that is measured is done by one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Duration);

impl Clock {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let time = Duration::try_from(time);
        Self(time.expect("a process has not run for less than no time"))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0 - self.0
    }
}

/// Measures in turns, so that what else the machine does falls on everybody; the medians.
pub(crate) fn median_of_turns<const N: usize>(
    mut measures: [&mut dyn FnMut() -> f64; N],
) -> [f64; N] {
    let mut samples: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for turn in 0..=TURNS {
        for (measure, samples) in measures.iter_mut().zip(&mut samples) {
            let sample = measure();
            if turn > 0 {
                samples.push(sample);
            }
        }
    }
    samples.map(median)
}

/// Nanoseconds of one call, when it is made again and again: the median of batches.
pub(crate) fn batches(mut call: impl FnMut()) -> f64 {
    let start = Clock::now();
    let mut count = 0_u32;
    while start.elapsed() < BATCH {
        call();
        count += 1;
    }
    let times = (0..BATCHES).map(|_| {
        let start = Clock::now();
        (0..count).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / f64::from(count)
    });
    median(times.collect())
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Rows of Markdown: what, the figure, what it is beside others, what it should reach.
#[derive(Default)]
pub(crate) struct Report(Vec<[String; 4]>);

impl Report {
    pub(crate) fn row(
        &mut self,
        what: &str,
        figure: String,
        beside: impl Into<String>,
        reach: &str,
    ) {
        eprintln!("{what}: {figure}");
        self.0
            .push([what.to_owned(), figure, beside.into(), reach.to_owned()]);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | measured | compared | to reach |\n|---|---|---|---|"
        )?;
        for [what, figure, beside, reach] in &self.0 {
            writeln!(f, "| {what} | {figure} | {beside} | {reach} |")?;
        }
        Ok(())
    }
}
