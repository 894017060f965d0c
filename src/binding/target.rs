//! The program whose call waits: its memory and its descriptors, as far as they may be seen.
//!
//! Everything is found by the number of a thread. That it was that thread and not a later one of the same number is known
//! only when the call still waits afterwards ([`super::notify::Listener::waits`]).

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::call::{Call, Decoded, Which};
use super::socket::Place;
use crate::list;

/// `PIDFD_THREAD`: the descriptor stands for a thread (since Linux 6.9).
const OF_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
/// `sizeof(struct sockaddr_storage)`: a longer address is refused by the kernel before it is read.
const LONGEST_ADDRESS: usize = 128;

/// The memory of the program that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    thread: Pid,
}

/// The descriptors of a program, by a handle that stands for its thread and for no later one of the same number.
#[derive(Debug)]
pub(super) struct Descriptors {
    thread: Pid,
    pidfd: OwnedFd,
}

impl Descriptors {
    fn open(thread: Pid) -> rustix::io::Result<Self> {
        let pidfd = match pidfd_open(thread, OF_THREAD) {
            // An older kernel: by its process, with which a thread shares its descriptors.
            Err(Errno::INVAL) => {
                let process = list::process_of_thread(thread).ok_or(Errno::SRCH)?;
                pidfd_open(process, PidfdFlags::empty())?
            }
            opened => opened?,
        };
        Ok(Self { thread, pidfd })
    }

    fn duplicate(&self, number: i32) -> rustix::io::Result<OwnedFd> {
        pidfd_getfd(&self.pidfd, number, PidfdGetfdFlags::empty())
    }
}

/// An address as the program gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    bytes: [u8; LONGEST_ADDRESS],
    length: usize,
}

impl Address {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The port: in the third and fourth byte, of IPv4 and of IPv6.
    pub(super) fn port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The place that it asks for; `None` if it is of no Internet family, or leaves the port open.
    pub(super) fn place(&self) -> Option<Place> {
        let family = u16::from_ne_bytes([self.bytes[0], self.bytes[1]]);
        let address = if i32::from(family) == libc::AF_INET {
            let four: [u8; 4] = self.bytes[4..8].try_into().ok()?;
            IpAddr::from(four)
        } else if i32::from(family) == libc::AF_INET6 {
            let sixteen: [u8; 16] = self.bytes[8..24].try_into().ok()?;
            IpAddr::from(sixteen)
        } else {
            return None;
        };
        Place::new(address, self.port())
    }
}

impl Target {
    /// The program of the thread with this number; `None` if it can't be seen from here.
    pub(super) fn of(thread: i32) -> Option<Self> {
        Pid::from_raw(thread).map(|thread| Self { thread })
    }

    /// A duplicate of one of its descriptors. `last` is what was opened for the call before: most often that was the same
    /// program's, and to open a program takes longer than all that is asked about a socket.
    pub(super) fn descriptor(
        self,
        number: i32,
        last: &mut Option<Descriptors>,
    ) -> rustix::io::Result<OwnedFd> {
        if let Some(same) = last.as_ref().filter(|last| last.thread == self.thread) {
            match same.duplicate(number) {
                // It has ended, and the number is another's now.
                Err(Errno::SRCH) => {}
                found => return found,
            }
        }
        last.insert(Descriptors::open(self.thread)?)
            .duplicate(number)
    }

    /// The call, with arguments that lie in its memory; `None` if they can't be read.
    pub(super) fn resolve(self, decoded: Decoded) -> Option<Call> {
        let (which, block) = match decoded {
            Decoded::Direct(call) => return Some(call),
            Decoded::Indirect { which, block } => (which, block),
        };
        let count = match which {
            Which::Bind => 3,
            Which::Listen => 2,
        };
        let mut bytes = [0; 12];
        let words = &mut bytes[..4 * count];
        self.read(block, words)?;
        let mut arguments = [0; 3];
        for (argument, word) in arguments.iter_mut().zip(words.chunks_exact(4)) {
            *argument = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]).into();
        }
        Some(which.with(arguments))
    }

    /// An address; `None` if it can't be read, or is longer than any.
    pub(super) fn address(self, place: u64, length: u32) -> Option<Address> {
        let mut address = Address {
            bytes: [0; LONGEST_ADDRESS],
            length: usize::try_from(length).ok()?,
        };
        self.read(place, address.bytes.get_mut(..address.length)?)?;
        Some(address)
    }

    /// Fills the buffer from the program's memory, wholly or not at all.
    fn read(self, place: u64, buffer: &mut [u8]) -> Option<()> {
        let len = buffer.len();
        let base = usize::try_from(place).ok()?;
        let thread = nix::unistd::Pid::from_raw(self.thread.as_raw_pid());
        let read = process_vm_readv(
            thread,
            &mut [IoSliceMut::new(buffer)],
            &[RemoteIoVec { base, len }],
        );
        (read == Ok(len)).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_number_that_was_an_ended_programs_is_opened_anew() {
        let mut ended = Command::new("true").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&ended), PidfdFlags::empty()).unwrap();
        ended.wait().unwrap();
        let thread = rustix::thread::gettid();
        let mut last = Some(Descriptors { thread, pidfd });
        let this = Target::of(thread.as_raw_pid()).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        let found = this.descriptor(number, &mut last).unwrap();
        let inode = |file: &dyn std::os::fd::AsFd| rustix::fs::fstat(file.as_fd()).unwrap().st_ino;
        assert_eq!(inode(&found), inode(&file));
        // Now it is the right one that is kept.
        assert!(last.unwrap().duplicate(number).is_ok());
    }
}
