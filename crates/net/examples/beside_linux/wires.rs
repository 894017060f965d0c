//! The wire between two kernels.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wharf_link::{Capabilities, Impaired, Impairment, Link, Slots, Tap};

use crate::namespace::{Elsewhere, configure, run};
use crate::{FAR, NEAR};

/// Something that has to be driven while it is measured.
pub(crate) trait Pump {
    /// Moves what can be moved.
    fn turn(&mut self);
    /// Waits for the next thing to happen, or a moment.
    fn wait(&self);
}

/// A TAP without offload: what is lost is a packet, not a train.
pub(crate) fn tap(name: &str) -> Tap {
    let tap = Tap::open(name, 1500).unwrap();
    tap.limit(Capabilities::NONE).unwrap()
}

/// Nothing, if there is nothing to receive.
pub(crate) fn received<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result.unwrap()),
    }
}

/// Waits until one of these can be read, or so long.
pub(crate) fn wait_for(fds: &[OwnedFd], patience: Option<Duration>) {
    let patience = patience.unwrap_or(MOMENT).min(MOMENT);
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    poll(&mut fds, Some(&Timespec::try_from(patience).unwrap())).unwrap();
}

const MOMENT: Duration = Duration::from_millis(10);

/// Both ends' TAPs, and what carries frames between them.
pub(crate) struct Between {
    start: Instant,
    fds: Vec<OwnedFd>,
    ends: [Impaired<Tap>; 2],
    slots: Slots,
}

impl Between {
    pub(crate) fn new(elsewhere: &Elsewhere) -> Self {
        let taps = ["near", "far"].map(tap);
        run(&["ip", "link", "set", "lo", "up"]);
        run(&["ip", "link", "set", "far", "netns", elsewhere.pid()]);
        configure(&[], "near", NEAR);
        configure(&elsewhere.way(), "far", FAR);
        let fds = taps
            .iter()
            .map(|tap| tap.as_fd().try_clone_to_owned().unwrap())
            .collect();
        let [near, far] = taps;
        let ends = [(near, 1), (far, 2)];
        Self {
            start: Instant::now(),
            fds,
            ends: ends.map(|(tap, seed)| Impaired::new(tap, Impairment::default(), seed)),
            slots: Slots::default(),
        }
    }

    pub(crate) fn impair(&mut self, impairment: Impairment) {
        self.ends.iter_mut().for_each(|end| end.impair(impairment));
    }
}

impl Pump for Between {
    fn turn(&mut self) {
        for end in 0..2 {
            while let Some(frame) = received(self.slots.receive(&mut self.ends[end])) {
                let other = &mut self.ends[1 - end];
                other.advance(self.start.elapsed()).unwrap();
                other.send(&[IoSlice::new(&frame)]).unwrap();
            }
        }
        for end in &mut self.ends {
            end.advance(self.start.elapsed()).unwrap();
        }
    }

    fn wait(&self) {
        let due = self.ends.iter().filter_map(Impaired::deadline).min();
        wait_for(
            &self.fds,
            due.map(|at| at.saturating_sub(self.start.elapsed())),
        );
    }
}
