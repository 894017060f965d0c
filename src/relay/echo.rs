//! Pings: an echo request from inside goes out by a ping socket of the machine, and its answer comes back.
//!
//! Where the machine lets its users have no ping sockets (`net.ipv4.ping_group_range`), root's raw sockets do, and
//! pings of the machine's own addresses need neither; all else is answered "prohibited" at once.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use bytes::{BufMut, Bytes, BytesMut};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send,
    socket_with,
};
use slotmap::DefaultKey;

use super::association::{Association, Name, SHARE};
use super::datagram::hear_errors;
use super::engine::{Engine, Source};
use super::outside;

/// One session of ping(8): who asks whom, under which mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ping {
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    pub(super) ident: u16,
}

/// Who completes the ICMP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    /// The kernel, with a mark of its own.
    PingSocket,
    /// We.
    RawSocket,
}

/// Bytes of the header of an echo message. RFC 792, RFC 4443 §4.1.
const HEADER: usize = 8;

impl Engine {
    /// An echo request from inside.
    pub(super) fn echo_out(&mut self, ping: Ping, sequence: u16, payload: Bytes) {
        let [by_ping, by_raw] =
            [Sender::PingSocket, Sender::RawSocket].map(|sender| Name::Pings(ping, sender));
        let known = self.associations.touch(&by_ping, self.now);
        let known = known.or_else(|| self.associations.touch(&by_raw, self.now));
        let key = match known.map_or_else(|| self.open_ping(ping), Ok) {
            Ok(key) => key,
            Err(Errno::ACCESS | Errno::PERM) if is_of_the_machine(ping.local) => {
                self.host
                    .echo_reply(
                        self.now,
                        ping.local,
                        ping.remote,
                        ping.ident,
                        sequence,
                        payload,
                    )
                    .ok();
                return;
            }
            Err(error) => return self.reject_ping(ping, sequence, error),
        };
        let Some(Source::Association(association)) = self.sources.get(key) else {
            return;
        };
        let Name::Pings(_, sender) = association.name else {
            return;
        };
        let request = request(ping, sender, sequence, &payload);
        if let Err(error) = send(&association.machine, &request, SendFlags::NOSIGNAL) {
            self.reject_ping(ping, sequence, error);
            self.clear_errors(key);
        }
    }

    fn reject_ping(&mut self, ping: Ping, sequence: u16, error: Errno) {
        if let Some(verdict) = outside::verdict(error) {
            self.host.reject_echo(
                self.now,
                ping.local,
                ping.remote,
                ping.ident,
                sequence,
                verdict,
            );
        }
    }

    fn open_ping(&mut self, ping: Ping) -> rustix::io::Result<DefaultKey> {
        self.targets(ping.local).map_err(outside::errno)?;
        let (machine, sender) = open(ping.local)?;
        self.associate(Association {
            machine,
            name: Name::Pings(ping, sender),
        })
    }

    /// Answers from the machine's network.
    pub(super) fn echoes_in(&mut self, key: DefaultKey, ping: Ping, sender: Sender) {
        for _ in 0..SHARE {
            let Some(Source::Association(association)) = self.sources.get(key) else {
                return;
            };
            let scratch = &mut *self.associations.scratch;
            match recv(&association.machine, &mut *scratch, RecvFlags::empty()) {
                Ok((length, _)) => {
                    if let Some((sequence, payload)) = reply(ping, sender, &scratch[..length]) {
                        let payload = Bytes::copy_from_slice(payload);
                        // A full link loses it, as any network may.
                        self.host
                            .echo_reply(
                                self.now,
                                ping.local,
                                ping.remote,
                                ping.ident,
                                sequence,
                                payload,
                            )
                            .ok();
                    }
                }
                Err(Errno::AGAIN) => return,
                // Which request it was about, the socket doesn't say; the session hears of it with its next.
                Err(_) => self.clear_errors(key),
            }
        }
        self.unfinished.push(key);
    }
}

fn open(target: IpAddr) -> rustix::io::Result<(OwnedFd, Sender)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let opened = match socket_with(family, SocketType::DGRAM, flags, Some(protocol)) {
        Ok(machine) => (machine, Sender::PingSocket),
        Err(Errno::ACCESS) => (
            socket_with(family, SocketType::RAW, flags, Some(protocol))?,
            Sender::RawSocket,
        ),
        Err(error) => return Err(error),
    };
    hear_errors(&opened.0, target)?;
    connect(&opened.0, &SocketAddr::new(target, 0))?;
    Ok(opened)
}

/// Whether `address` is one of the machine's own: only then can a socket be bound to it.
fn is_of_the_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The echo request as its socket wants it.
fn request(ping: Ping, sender: Sender, sequence: u16, payload: &[u8]) -> BytesMut {
    let mut message = BytesMut::with_capacity(HEADER + payload.len());
    message.put_u8(if ping.local.is_ipv4() { 8 } else { 128 });
    message.put_u8(0);
    message.put_u16(0);
    message.put_u16(ping.ident);
    message.put_u16(sequence);
    message.put_slice(payload);
    if sender == Sender::RawSocket && ping.local.is_ipv4() {
        let sum = wharf_net::wire::checksum::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The sequence number and payload of an answer to this session, if `message` is one.
fn reply(ping: Ping, sender: Sender, message: &[u8]) -> Option<(u16, &[u8])> {
    let message = match (ping.local, sender) {
        // A raw IPv4 socket delivers the IP header as well.
        (IpAddr::V4(_), Sender::RawSocket) => {
            message.get(usize::from(message.first()? & 0xf) * 4..)?
        }
        _ => message,
    };
    let (header, payload) = message.split_first_chunk::<HEADER>()?;
    let [
        kind,
        _,
        _,
        _,
        ident_high,
        ident_low,
        sequence_high,
        sequence_low,
    ] = *header;
    let answer = if ping.local.is_ipv4() { 0 } else { 129 };
    let ours =
        sender == Sender::PingSocket || u16::from_be_bytes([ident_high, ident_low]) == ping.ident;
    (kind == answer && ours).then(|| (u16::from_be_bytes([sequence_high, sequence_low]), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Ping = Ping {
        local: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        remote: IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 1, 2)),
        ident: 7,
    };

    #[test]
    fn only_answers_to_this_session_count() {
        let answer = [0, 0, 0, 0, 0, 7, 0, 3, b'x'];
        assert_eq!(
            reply(PING, Sender::PingSocket, &answer),
            Some((3, &b"x"[..]))
        );
        let raw: Vec<u8> = [&[0x45; 20][..], &answer].concat();
        assert_eq!(reply(PING, Sender::RawSocket, &raw), Some((3, &b"x"[..])));
        let others = Ping { ident: 8, ..PING };
        assert_eq!(reply(others, Sender::RawSocket, &raw), None);
        assert_eq!(
            reply(PING, Sender::PingSocket, &[3, 1, 0, 0, 0, 7, 0, 3]),
            None
        );
        assert_eq!(reply(PING, Sender::RawSocket, &[0x4f; 10]), None);
        assert_eq!(reply(PING, Sender::PingSocket, &[]), None);
    }

    #[test]
    fn a_raw_request_has_its_checksum() {
        let request = request(PING, Sender::RawSocket, 3, b"payload");
        assert_eq!(wharf_net::wire::checksum::checksum(&request), 0);
    }
}
