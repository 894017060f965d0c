//! A bad wire: two TAPs of this network namespace, and what carries frames between them, late and not all of them.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use wharf_link::{Capabilities, Impaired, Impairment, Link, Slots, Tap};

/// The devices' names.
const ENDS: [&str; 2] = ["near", "far"];

/// Carries frames until the standard input ends.
pub(crate) fn carry(impairment: Impairment) -> io::Result<()> {
    let taps = ENDS.map(|name| {
        // Without offload: what is lost is a packet, not a train.
        let tap = Tap::open(name, 1500).and_then(|tap| tap.limit(Capabilities::NONE));
        tap.map_err(io::Error::other)
    });
    let [near, far] = taps;
    let mut wire = Wire {
        start: Instant::now(),
        ends: [
            Impaired::new(near?, impairment, 1),
            Impaired::new(far?, impairment, 2),
        ],
        slots: Slots::default(),
    };
    println!("ready");
    let input = io::stdin();
    let flags = fcntl_getfl(&input)?;
    fcntl_setfl(&input, flags | OFlags::NONBLOCK)?;
    let mut fds = vec![input.as_fd().try_clone_to_owned()?];
    for end in &wire.ends {
        fds.push(end.as_fd().try_clone_to_owned()?);
    }
    while !ended(&fds[0])? {
        wire.turn()?;
        wire.wait(&fds)?;
    }
    Ok(())
}

fn ended(input: &OwnedFd) -> io::Result<bool> {
    match rustix::io::read(input, &mut [0; 64]) {
        Ok(0) => Ok(true),
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

struct Wire {
    start: Instant,
    ends: [Impaired<Tap>; 2],
    slots: Slots,
}

impl Wire {
    fn turn(&mut self) -> io::Result<()> {
        for end in 0..2 {
            loop {
                match self.slots.receive(&mut self.ends[end]) {
                    Ok(frame) => {
                        let other = &mut self.ends[1 - end];
                        other.advance(self.start.elapsed())?;
                        other.send(&[IoSlice::new(&frame)])?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        for end in &mut self.ends {
            end.advance(self.start.elapsed())?;
        }
        Ok(())
    }

    fn wait(&self, fds: &[OwnedFd]) -> io::Result<()> {
        let due = self.ends.iter().filter_map(Impaired::deadline).min();
        let patience = due.map(|at| at.saturating_sub(self.start.elapsed()));
        let patience = patience.unwrap_or(Duration::from_secs(1));
        let mut fds: Vec<_> = fds
            .iter()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
