//! TCP: each connection of a program inside is carried by a connection of the machine, which is made first.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType, connect,
    sendmsg, shutdown, socket_with, sockopt,
};
use slotmap::DefaultKey;
use smallvec::SmallVec;
use tokio::sync::oneshot;
use wharf_net::{Host, Instant, KnockId, Ready, Refusal, SocketId, Unreachable};
use wharf_port::Flow;

use super::buffers::{self, Buffers};
use super::engine::{Engine, Source};
use super::names::Query;
use super::outside::{self, Targets};

/// Bytes moved in each direction before others have their turn.
const SHARE: usize = 1 << 20;
/// Bytes of room below which the host's own word is waited for.
const ROOM_MIN: usize = 64 << 10;
/// Slices handed to the kernel in one call.
const SLICES: usize = 64;

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    machine: OwnedFd,
    stage: Stage,
    /// Whether the machine's socket is known to have nothing to read, or no room.
    readable: bool,
    writable: bool,
    /// Whether something has come that a read stops at, with more behind it: urgent data, an error, the end.
    marked: bool,
    /// Whether the machine has said all (its end of stream was read), and heard all (ours was sent).
    said: bool,
    heard: bool,
    /// Whether the program inside has said all.
    inside_said: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The machine's connection is being made.
    Connecting {
        knock: KnockId,
        flow: Flow,
        next: Targets,
    },
    /// The client's connection stands, and the host's into the space is being made.
    Arriving {
        socket: SocketId,
        admitted: oneshot::Sender<()>,
    },
    /// Both stand.
    Open(SocketId),
}

/// How a stream stands after bytes were moved.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing more can be moved now.
    Idle,
    /// There is more, after others had their turn.
    More,
    /// The connection was cut off by one side.
    Cut,
}

impl Engine {
    /// A program inside wants a connection: make the machine's first.
    pub(super) fn knock(&mut self, knock: KnockId, flow: Flow) {
        if self.names.serve(&flow) {
            return self.knock_for_names(knock);
        }
        match self.targets(flow.local.address()) {
            Ok(targets) => self.try_targets(knock, flow, targets),
            // Told first, so that the program is still there to be named; who is told has it refused.
            Err(Unreachable::Prohibited) if self.deny(flow, Some(knock)) => {}
            Err(verdict) => self
                .host
                .refuse(self.now, knock, Refusal::Unreachable(verdict)),
        }
    }

    fn knock_for_names(&mut self, knock: KnockId) {
        let pair = UnixStream::pair().and_then(|(near, far)| {
            near.set_nonblocking(true)?;
            far.set_nonblocking(true)?;
            Ok((near, far))
        });
        let Ok((near, far)) = pair else {
            return self.host.refuse(self.now, knock, Refusal::Reset);
        };
        self.names.ask(Query::Stream(far));
        if let Ok(socket) = self.host.admit(self.now, knock) {
            self.watch(Stream::new(near.into(), Stage::Open(socket)));
        }
    }

    /// Starts a connection to the first of `targets` for which that is possible.
    fn try_targets(&mut self, knock: KnockId, flow: Flow, mut targets: Targets) {
        let mut verdict = Errno::CONNREFUSED;
        while !targets.is_empty() {
            let target = targets.remove(0);
            match start(target, flow.local.port().number()) {
                Ok(machine) => {
                    let stage = Stage::Connecting {
                        knock,
                        flow,
                        next: targets,
                    };
                    return self.watch(Stream::new(machine, stage));
                }
                Err(error) => verdict = error,
            }
        }
        self.refuse(knock, verdict);
    }

    fn refuse(&mut self, knock: KnockId, error: Errno) {
        let refusal = match outside::verdict(error) {
            Some(Unreachable::Port) => Refusal::Reset,
            Some(verdict) => Refusal::Unreachable(verdict),
            // A time-out: the program inside has waited as long already.
            None if error == Errno::TIMEDOUT => Refusal::Silent,
            None => {
                tracing::warn!("cannot connect for a program inside: {error}");
                Refusal::Reset
            }
        };
        self.host.refuse(self.now, knock, refusal);
    }

    pub(super) fn watch(&mut self, stream: Stream) {
        let stage_socket = stream.socket();
        let key = self.sources.insert(Source::Stream(stream));
        let Some(Source::Stream(stream)) = self.sources.get(key) else {
            return;
        };
        let on = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI;
        if let Err(error) = self.poll.watch(&stream.machine, key, on) {
            tracing::error!("cannot watch a connection: {error}");
            return self.cut(key);
        }
        if let Some(socket) = stage_socket {
            self.by_socket.insert(socket, key);
        }
    }

    /// The machine's socket changed.
    pub(super) fn attend_stream(&mut self, key: DefaultKey, flags: EventFlags) {
        let Some(Source::Stream(stream)) = self.sources.get_mut(key) else {
            return;
        };
        let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        stream.readable |= broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        stream.writable |= broken || flags.contains(EventFlags::OUT);
        stream.marked |= broken || flags.intersects(EventFlags::PRI | EventFlags::RDHUP);
        if matches!(stream.stage, Stage::Connecting { .. }) {
            if stream.writable {
                self.connected(key, broken);
            }
            return;
        }
        // A guest is pumped only once it is admitted.
        self.pump(key);
    }

    /// The machine's connection stands, or can't be made.
    fn connected(&mut self, key: DefaultKey, broken: bool) {
        let Some(Source::Stream(stream)) = self.sources.get_mut(key) else {
            return;
        };
        let outcome = match broken {
            true => sockopt::socket_error(&stream.machine),
            false => Ok(Ok(())),
        };
        let Stage::Connecting { knock, flow, next } = &mut stream.stage else {
            return;
        };
        let (knock, flow, next) = (*knock, *flow, std::mem::take(next));
        match outcome {
            Ok(Ok(())) => match self.host.admit(self.now, knock) {
                Ok(socket) => {
                    stream.stage = Stage::Open(socket);
                    self.by_socket.insert(socket, key);
                }
                // The program gave up meanwhile.
                Err(_) => self.cut(key),
            },
            Ok(Err(error)) | Err(error) => {
                self.sources.remove(key);
                if next.is_empty() {
                    self.refuse(knock, error)
                } else {
                    self.try_targets(knock, flow, next)
                }
            }
        }
    }

    /// The host's socket changed.
    pub(super) fn stream_ready(&mut self, socket: SocketId, ready: Ready) {
        let Some(&key) = self.by_socket.get(&socket) else {
            return;
        };
        if ready.contains(Ready::FAILED) {
            return self.cut(key);
        }
        if ready.contains(Ready::CONNECTED) {
            self.admit_guest(key);
        }
        if (ready.contains(Ready::READ_CLOSED) || ready.contains(Ready::CLOSED))
            && let Some(Source::Stream(stream)) = self.sources.get_mut(key)
        {
            stream.inside_said = true;
        }
        self.pump(key);
    }

    /// The program has taken a guest's connection.
    fn admit_guest(&mut self, key: DefaultKey) {
        let Some(Source::Stream(stream)) = self.sources.get_mut(key) else {
            return;
        };
        let Stage::Arriving { socket, .. } = stream.stage else {
            return;
        };
        let before = std::mem::replace(&mut stream.stage, Stage::Open(socket));
        if let Stage::Arriving { admitted, .. } = before
            && admitted.send(()).is_err()
        {
            // The place was closed, or the daemon's thread gave up: nobody wants it any more.
            self.cut(key);
        }
    }

    /// Moves what can be moved, both ways, and ends what has ended.
    fn pump(&mut self, key: DefaultKey) {
        let Some(Source::Stream(stream)) = self.sources.get_mut(key) else {
            return;
        };
        let Stage::Open(socket) = stream.stage else {
            return;
        };
        let out = stream.push(&mut self.host, self.now, socket);
        let back = stream.pull(&mut self.host, self.now, socket, &mut self.buffers);
        if out == Outcome::Cut || back == Outcome::Cut {
            return self.cut(key);
        }
        if stream.said && stream.heard {
            self.part(socket);
            self.sources.remove(key);
            // What is still queued for the program, the host delivers alone.
            self.host.close(self.now, socket);
        } else if out == Outcome::More || back == Outcome::More {
            self.unfinished.push(key);
        }
    }

    /// One side was cut off: so is the other.
    fn cut(&mut self, key: DefaultKey) {
        let Some(Source::Stream(stream)) = self.sources.remove(key) else {
            return;
        };
        // Zero linger makes closing a reset; a stream to the name service has none, and needs none. Who couldn't be a guest
        // may still be let in otherwise.
        if !matches!(stream.stage, Stage::Arriving { .. }) {
            sockopt::set_socket_linger(&stream.machine, Some(std::time::Duration::ZERO)).ok();
        }
        match stream.stage {
            Stage::Connecting { knock, .. } => self.host.refuse(self.now, knock, Refusal::Reset),
            Stage::Open(socket) | Stage::Arriving { socket, .. } => {
                self.part(socket);
                self.host.abort(self.now, socket);
                self.host.close(self.now, socket);
            }
        }
    }
}

/// A connection to `target`, on its way.
fn start(target: IpAddr, port: u16) -> rustix::io::Result<OwnedFd> {
    let family = if target.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let machine = socket_with(family, SocketType::STREAM, flags, None)?;
    // What the program inside sent has waited for more already, if that was wanted.
    sockopt::set_tcp_nodelay(&machine, true)?;
    if target.is_loopback() {
        // There is no network to be careful of, and to be careful takes time: pacing (BBR) a third of the throughput.
        sockopt::set_tcp_congestion(&machine, "reno").ok();
    }
    match connect(&machine, &SocketAddr::new(target, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(machine),
        Err(error) => Err(error),
    }
}

impl Stream {
    pub(super) fn new(machine: OwnedFd, stage: Stage) -> Self {
        Self {
            machine,
            stage,
            readable: false,
            writable: false,
            marked: false,
            said: false,
            heard: false,
            inside_said: false,
        }
    }

    fn socket(&self) -> Option<SocketId> {
        match self.stage {
            Stage::Open(socket) | Stage::Arriving { socket, .. } => Some(socket),
            Stage::Connecting { .. } => None,
        }
    }

    /// From the program to the machine, straight from the frames that brought it.
    fn push(&mut self, host: &mut Host, now: Instant, socket: SocketId) -> Outcome {
        let mut moved = 0;
        while self.writable {
            let slices: SmallVec<[IoSlice<'_>; SLICES]> =
                host.chunks(socket).take(SLICES).map(IoSlice::new).collect();
            if slices.is_empty() {
                break;
            }
            if moved >= SHARE {
                return Outcome::More;
            }
            match sendmsg(
                &self.machine,
                &slices,
                &mut SendAncillaryBuffer::default(),
                SendFlags::NOSIGNAL,
            ) {
                Ok(sent) => {
                    drop(slices);
                    host.consume(now, socket, sent);
                    moved += sent;
                }
                Err(Errno::AGAIN) => self.writable = false,
                Err(_) => return Outcome::Cut,
            }
        }
        if self.inside_said && !self.heard && host.chunks(socket).next().is_none() {
            // If the machine's side is gone, reading it says so; and if it has said all, closing says this.
            if !self.said {
                shutdown(&self.machine, Shutdown::Write).ok();
            }
            self.heard = true;
        }
        Outcome::Idle
    }

    /// From the machine to the program.
    fn pull(
        &mut self,
        host: &mut Host,
        now: Instant,
        socket: SocketId,
        buffers: &mut Buffers,
    ) -> Outcome {
        let mut moved = 0;
        while self.readable && !self.said {
            let room = host.room(socket);
            // The host tells when there is room for half a window again: what is less is not worth a read.
            if room < ROOM_MIN {
                break;
            }
            if moved >= SHARE {
                return Outcome::More;
            }
            match buffers.receive(self.machine.as_fd(), room) {
                Ok(bytes) if bytes.is_empty() => {
                    self.said = true;
                    host.shutdown(now, socket);
                }
                Ok(bytes) => {
                    moved += bytes.len();
                    // Less than there was room for is all there was (epoll(7)); what comes from now on is told anew.
                    self.readable = self.marked || bytes.len() >= buffers::READ_MIN;
                    // There is room for all of it; a connection that has just failed says so by itself.
                    host.write(now, socket, bytes).ok();
                }
                Err(Errno::AGAIN) => self.readable = false,
                Err(_) => return Outcome::Cut,
            }
        }
        Outcome::Idle
    }
}
