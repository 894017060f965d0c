//! How connections begin: with a SYN to be answered, with the acknowledgment of a SYN cookie, or with a SYN of ours. RFC 9293 §3.5,
//! RFC 4987, RFC 6528, RFC 6191.

use alloc::boxed::Box;
use alloc::sync::Arc;
use bytes::Bytes;
use core::net::IpAddr;
use wharf_port::Flow;
use wharf_port::table::Hold;

use super::Host;
use super::event::SocketId;
use super::sockets::{Keeper, Options, Role, Socket, Stream};
use crate::discard::Discard;
use crate::tcp::{self, Connection, Handshake, Setup};
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, SeqNum};

/// A SYN to be answered.
#[derive(Debug)]
pub(super) struct Syn {
    pub(super) flow: Flow,
    pub(super) control: Control,
    /// What text it carries.
    pub(super) text: Bytes,
    pub(super) isn_after: Option<SeqNum>,
}

/// Octets of text in a SYN that are kept until its connection is answered for; the peer sends the rest again.
const MAX_SYN_TEXT: usize = 2048;

/// The text of a SYN, in a buffer of its own: it may wait for long, and there may be many.
pub(super) fn syn_text(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&text[..text.len().min(MAX_SYN_TEXT)])
}

/// A segment's payload and TCP options in packets of `mtu` octets to this address.
pub(super) fn mss(mtu: u16, remote: IpAddr) -> u16 {
    mtu - 20 - if remote.is_ipv4() { 20 } else { 40 }
}

/// The packets that hold as much to this address.
pub(super) fn mtu(mss: u16, remote: IpAddr) -> u16 {
    mss.saturating_add(20 + if remote.is_ipv4() { 20 } else { 40 })
}

impl Host {
    /// Makes the connection that answers a SYN.
    pub(super) fn answer_syn(
        &mut self,
        now: Instant,
        (id, hold): (SocketId, Hold),
        syn: Syn,
        keeper: Keeper,
        options: Options,
    ) {
        let Syn {
            flow,
            control,
            text,
            isn_after,
        } = syn;
        let setup = self.setup(now, &flow, isn_after);
        let config = self.tcp_config(&options);
        let connection = Connection::accept(now, &config, &setup, &control, text);
        self.begin(
            now,
            (id, hold),
            Stream {
                connection,
                flow,
                keeper,
            },
            options,
        );
    }

    /// Answers a SYN that a listener has no room to remember.
    pub(super) fn answer_with_cookie(
        &mut self,
        now: Instant,
        flow: &Flow,
        syn: &Control,
        listener: SocketId,
    ) {
        let Some(options) = self.sockets.find(listener).map(Socket::options) else {
            return;
        };
        let config = self.tcp_config(&options);
        let setup = self.setup(now, flow, None);
        let offer = tcp::Offer::new(now, &config, &setup);
        let answer = self.keys.cookies().answer(now, flow, syn, &offer);
        self.send_control(now, flow, answer);
    }

    /// What handshake a segment for a listener completes by acknowledging a cookie.
    pub(super) fn cookie(
        &self,
        now: Instant,
        flow: &Flow,
        segment: &Control,
        listener: SocketId,
    ) -> Option<Handshake> {
        let Role::Listener(queue) = &self.sockets.find(listener)?.role else {
            return None;
        };
        let possible = !segment.flags.intersects(Flags::SYN | Flags::RST)
            && queue.cookies_until.is_some_and(|until| now < until);
        if !possible {
            return None;
        }
        self.keys.cookies().check(now, flow, segment)
    }

    /// Makes the connection whose handshake a cookie remembered.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        flow: &Flow,
        segment: &Control,
        (id, handshake): (SocketId, Handshake),
    ) -> Result<(), Discard> {
        let name = self.sockets.next().ok_or(Discard::SocketLimit)?;
        let Some(socket) = self.sockets.find_mut(id) else {
            return Err(Discard::NoSocket);
        };
        let (hold, options) = (socket.hold, socket.options());
        let Role::Listener(listener) = &mut socket.role else {
            return Err(Discard::NoSocket);
        };
        if listener.queue.len() > listener.backlog {
            return Err(Discard::Backlog); // The peer sends again what it has to say.
        }
        let Ok(accepted) = self.table.accept(hold, flow, name) else {
            return Err(Discard::NoSocket);
        };
        listener.half_open += 1;
        let setup = Setup {
            isn: segment.ack.back(1),
            ..self.setup(now, flow, None)
        };
        let config = self.tcp_config(&options);
        let stream = Stream {
            connection: Connection::resume(now, &config, &setup, &handshake),
            flow: *flow,
            keeper: Keeper::Handshake(id),
        };
        self.begin(now, (name, accepted), stream, options);
        Ok(())
    }

    /// Gives a new connection its socket.
    fn begin(
        &mut self,
        now: Instant,
        (id, hold): (SocketId, Hold),
        mut stream: Stream,
        options: Options,
    ) {
        apply(&mut stream.connection, now, &options);
        let domain = super::own::domain_of(stream.flow.local.address());
        let mut socket = Socket::new(hold, domain, Role::Stream(stream));
        socket.options = (options != Options::default()).then(|| Box::new(options));
        self.sockets.insert(id, socket);
        self.settle(id);
    }

    /// Makes the connection of a socket that opens actively.
    pub(super) fn open_stream(&mut self, now: Instant, id: SocketId, flow: Flow) {
        let setup = self.setup(now, &flow, None);
        let Some(options) = self.sockets.find(id).map(Socket::options) else {
            return;
        };
        let mut connection = Connection::connect(now, &self.tcp_config(&options), &setup);
        apply(&mut connection, now, &options);
        if let Some(socket) = self.sockets.find_mut(id) {
            socket.role = Role::Stream(Stream {
                connection,
                flow,
                keeper: Keeper::Caller,
            });
        }
        self.settle(id);
    }

    /// How a connection with these options behaves. Those without any share one.
    fn tcp_config(&self, options: &Options) -> Arc<tcp::Config> {
        if *options == Options::default() {
            return Arc::clone(&self.tcp);
        }
        let mut config = tcp::Config::clone(&self.tcp);
        if let Some(nodelay) = options.nodelay {
            config.nodelay = nodelay;
        }
        if let Some(congestion) = options.congestion {
            config.congestion = congestion;
        }
        if let Some(octets) = options.receive_buffer {
            (config.receive_initial, config.receive_max) = (octets, octets);
        }
        if let Some(octets) = options.send_buffer {
            (config.send_initial, config.send_max) = (octets, octets);
        }
        Arc::new(config)
    }

    fn setup(&self, now: Instant, flow: &Flow, isn_after: Option<SeqNum>) -> Setup {
        let mut isn = self.keys.isn(now, flow);
        if let Some(after) = isn_after.filter(|after| !isn.after(*after)) {
            // RFC 6191 §2: beyond anything that the old connection has used.
            isn = after + (1 << 16);
        }
        let remote = flow.remote.address();
        let mtu = match self.routes.is_internal(remote) {
            true => u16::MAX,
            false => self.routes.first_mtu(flow.local.address(), remote),
        };
        Setup {
            isn,
            timestamp_offset: self.keys.timestamp_offset(flow),
            mss: mss(mtu, remote),
            default_mss: default_mss(remote),
        }
    }
}

/// What a peer that announces no segment size takes. RFC 9293 §3.7.1.
fn default_mss(remote: IpAddr) -> u16 {
    if remote.is_ipv4() { 536 } else { 1220 }
}

fn apply(connection: &mut Connection, now: Instant, options: &Options) {
    if options.cork {
        connection.set_cork(true);
    }
    if let Some(keepalive) = options.keepalive {
        connection.set_keepalive(now, keepalive);
    }
    if let Some(timeout) = options.user_timeout {
        connection.set_user_timeout(now, timeout);
    }
}
