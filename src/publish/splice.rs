//! Bytes between two connected sockets of the machine, without a copy into this process: splice(2).

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that a pipe holds as it is made: `pipe(7)`.
const PIPE: usize = 64 << 10;
/// Bytes that the pipe of a bulk transfer holds; more was no faster.
const PIPE_OF_BULK: usize = 512 << 10;

/// Carries both directions until both have ended; each end hears of the other's as it was, in order or cut off.
pub(crate) async fn carry(one: TcpStream, other: TcpStream) {
    for stream in [&one, &other] {
        // What one end sends is never held back for more of it; the ends themselves decide.
        stream.set_nodelay(true).ok();
    }
    let outcome = tokio::try_join!(half(&one, &other), half(&other, &one));
    if outcome.is_err() {
        // Dropped now, they are reset.
        for stream in [&one, &other] {
            stream.set_zero_linger().ok();
        }
    }
}

/// Carries one direction to its end.
async fn half(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut pipe = Pipe::new()?;
    loop {
        let mut held = from
            .async_io(Interest::READABLE, || {
                Ok(splice(from, None, &pipe.tail, None, pipe.room, FLAGS)?)
            })
            .await?;
        if held == 0 {
            return match rustix::net::shutdown(to, rustix::net::Shutdown::Write) {
                // It has closed, and knows.
                Err(rustix::io::Errno::NOTCONN) => Ok(()),
                outcome => Ok(outcome?),
            };
        }
        let full = held == pipe.room;
        while held > 0 {
            held -= to
                .async_io(Interest::WRITABLE, || {
                    Ok(splice(&pipe.head, None, to, None, held, FLAGS)?)
                })
                .await?;
        }
        if full {
            pipe.grow();
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Where bytes are between two sockets. It is empty whenever it is read into.
struct Pipe {
    head: OwnedFd,
    tail: OwnedFd,
    room: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (head, tail) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self {
            head,
            tail,
            room: PIPE,
        })
    }

    /// Makes room for bulk, unless this user's pipes hold as much as they may.
    fn grow(&mut self) {
        if self.room < PIPE_OF_BULK && fcntl_setpipe_size(&self.tail, PIPE_OF_BULK).is_ok() {
            self.room = PIPE_OF_BULK;
        }
    }
}
