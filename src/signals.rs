//! The signals that `wharf run` catches, and where they came from.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
    SIGWINCH,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// Every signal that has a meaning for a program in a terminal or under a supervisor.
const CAUGHT: [i32; 11] = [
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
    SIGWINCH,
];

/// One caught signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// The kernel sent it: the terminal, or a child's change.
    FromKernel,
    /// A process sent it to this one.
    FromProcess(Signal),
}

/// The caught signals, in a socket that can be polled.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
}

impl Signals {
    /// Catches from now on. What was ignored at the start (nohup) stays ignored, here and in the program.
    pub(crate) fn catch() -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status")?);
        let caught = CAUGHT
            .into_iter()
            .filter(|signal| ignored >> (signal - 1) & 1 == 0 || *signal == SIGCHLD);
        let (read, write) = UnixStream::pair()?;
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), caught)?;
        Ok(Self { delivery })
    }

    /// What has been caught since the last call.
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = Caught> {
        self.delivery.pending().map(Caught::from)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

impl From<Origin> for Caught {
    fn from(origin: Origin) -> Self {
        match (origin.cause, Signal::from_named_raw(origin.signal)) {
            (Cause::Sent(_), Some(signal)) => Self::FromProcess(signal),
            _ => Self::FromKernel,
        }
    }
}

/// The set of ignored signals, bit n-1 for signal n, out of /proc/self/status.
fn ignored(status: &str) -> u64 {
    let hexadecimal = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    hexadecimal
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), 1 << (SIGHUP - 1) | 1 << 12);
        assert_eq!(ignored(""), 0);
    }
}
