//! UDP: each flow of a program inside has a connected socket of the machine, so that errors find their way back.
//!
//! A train of datagrams (UDP segmentation offload) stays one, both ways.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use bytes::Bytes;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use slotmap::DefaultKey;
use smallvec::SmallVec;
use wharf_net::Unreachable;
use wharf_port::{Endpoint, Flow};

use super::association::{Association, Departing, Name, SCRATCH, SHARE};
use super::engine::{Engine, Source};
use super::names::Query;
use super::outside;
use super::train::{COUNT_MAX, Train};

/// The longest datagram, in bytes.
const DATAGRAM_MAX: usize = 1 << 16;

impl Engine {
    /// A datagram, or a train of them, from a program inside.
    pub(super) fn datagram_out(&mut self, flow: Flow, payload: Bytes, segment: Option<u16>) {
        if self.names.serve(&flow) {
            // The frame's memory is the link's; a query waits for its answer elsewhere.
            let payload = Bytes::copy_from_slice(&payload);
            return self.names.ask(Query::Datagram {
                flow,
                payload,
                back: self.back.clone(),
            });
        }
        let name = Name::Datagrams(flow);
        let known = self.associations.touch(&name, self.now);
        let key = match known.map_or_else(|| self.open_flow(flow), Ok) {
            Ok(key) => key,
            Err(error) => return self.reject(flow, error),
        };
        if segment.is_some() {
            self.depart();
            return self.send_out(key, flow, &[payload], segment);
        }
        let waiting = &mut self.associations.departing;
        if waiting.flow != Some(flow) || !waiting.train.couple(payload.len()) {
            self.depart();
            let waiting = &mut self.associations.departing;
            waiting.train.couple(payload.len());
            (waiting.key, waiting.flow) = (key, Some(flow));
        }
        self.associations.departing.payloads.push(payload);
    }

    /// Datagrams without a source port from a program inside: nothing can come back, so nothing is kept for them. On the machine's
    /// network they have a port that is nobody's a moment later.
    pub(super) fn one_way_out(&mut self, local: Endpoint, payload: &[u8], segment: Option<u16>) {
        let size = segment.map_or(payload.len(), usize::from).max(1);
        let datagrams = match payload {
            [] => vec![payload],
            _ => payload.chunks(size).collect(),
        };
        let sent = self
            .targets(local.address())
            .map_err(outside::errno)
            .and_then(|targets| open(targets[0], local.port().number()))
            .and_then(|machine| {
                datagrams
                    .iter()
                    .try_for_each(|datagram| send(&machine, None, &[datagram], None))
            });
        if let Err(error) = sent {
            tracing::debug!("a datagram without a source port to {local} is lost: {error}");
        }
    }

    /// Sends the datagrams that were kept back for more of their flow.
    pub(super) fn depart(&mut self) {
        let Departing {
            key,
            flow,
            train,
            payloads,
        } = std::mem::take(&mut self.associations.departing);
        if let Some(flow) = flow {
            self.send_out(key, flow, &payloads, train.segment());
        }
    }

    fn send_out(&mut self, key: DefaultKey, flow: Flow, payloads: &[Bytes], segment: Option<u16>) {
        let mut outcome = self.send_train(key, payloads, segment);
        if let Err(error) = outcome
            && outside::verdict(error).is_some()
        {
            // An earlier datagram's error; it is passed on, and this one gets its own chance.
            self.reject(flow, error);
            self.clear_errors(key);
            outcome = self.send_train(key, payloads, segment);
        }
        if let Err(error) = outcome {
            // No room, too long: lost, as on any network.
            tracing::debug!("a datagram of {flow} is lost: {error}");
        }
    }

    /// Sends a train in one call; where the way out takes none, its datagrams one by one.
    fn send_train(
        &self,
        key: DefaultKey,
        payloads: &[Bytes],
        segment: Option<u16>,
    ) -> rustix::io::Result<()> {
        let place;
        let (machine, to) = match self.sources.get(key) {
            Some(Source::Association(association)) => (&association.machine, None),
            Some(Source::Visitor(visitor)) => {
                let Some(socket) = visitor.place.upgrade() else {
                    // It is published no longer.
                    return Ok(());
                };
                place = socket;
                (&*place, Some(visitor.client))
            }
            // An association that just made room for another has nobody to send for.
            _ => return Ok(()),
        };
        match (send(machine, to, payloads, segment), segment) {
            (Err(Errno::INVAL | Errno::MSGSIZE | Errno::IO), Some(size)) => payloads
                .iter()
                .flat_map(|payload| payload.chunks(size.into()))
                .try_for_each(|datagram| send(machine, to, &[datagram], None)),
            (outcome, _) => outcome,
        }
    }

    /// Tells the program inside what the network said, if it said something.
    fn reject(&mut self, flow: Flow, error: Errno) {
        if let Some(verdict) = outside::verdict(error) {
            self.host.reject_datagram(self.now, flow, verdict);
        }
    }

    fn open_flow(&mut self, flow: Flow) -> rustix::io::Result<DefaultKey> {
        let targets = self.targets(flow.local.address());
        if targets == Err(Unreachable::Prohibited) {
            self.deny(flow, None);
        }
        let targets = targets.map_err(outside::errno)?;
        let machine = open(targets[0], flow.local.port().number())?;
        self.associate(Association {
            machine,
            name: Name::Datagrams(flow),
        })
    }

    /// Datagrams from the machine's network for the program inside.
    pub(super) fn datagrams_in(&mut self, key: DefaultKey, flow: Flow) {
        let (mut train, mut start) = (Train::default(), 0);
        for count in 0..SHARE {
            if count > 1 {
                self.courtesy.owe();
            }
            let mut end = start + train.bytes();
            if SCRATCH - end < DATAGRAM_MAX {
                self.arrive(flow, start, train);
                (train, start, end) = (Train::default(), 0, 0);
            }
            let Some(Source::Association(association)) = self.sources.get(key) else {
                return;
            };
            match receive(&association.machine, &mut self.associations.scratch[end..]) {
                Ok((length, None)) if train.couple(length) => {}
                Ok((length, segment)) => {
                    self.arrive(flow, start, train);
                    (train, start) = (Train::default(), end);
                    match segment {
                        None => drop(train.couple(length)),
                        Some(_) => self.pass_on(flow, end..end + length, segment),
                    }
                }
                Err(Errno::AGAIN) => return self.arrive(flow, start, train),
                Err(error) => {
                    self.reject(flow, error);
                    self.clear_errors(key);
                }
            }
        }
        self.arrive(flow, start, train);
        self.unfinished.push(key);
    }

    /// Passes on the train that was received from `start` on, if there is one.
    fn arrive(&mut self, flow: Flow, start: usize, train: Train) {
        if !train.is_empty() {
            self.pass_on(flow, start..start + train.bytes(), train.segment());
        }
    }

    fn pass_on(&mut self, flow: Flow, part: Range<usize>, segment: Option<u16>) {
        let payload = Bytes::copy_from_slice(&self.associations.scratch[part]);
        // A full link loses it, as any network may.
        self.host
            .send_datagram(self.now, flow, payload, segment)
            .ok();
    }
}

/// A socket for one flow to `target`.
fn open(target: IpAddr, port: u16) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = if target.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let machine = socket_with(family, SocketType::DGRAM, flags, None)?;
    hear_errors(&machine, target)?;
    // Kernels without it deliver datagrams one by one.
    setsockopt(&machine, sockopt::UdpGroSegment, &true).ok();
    connect(&machine, &SocketAddr::new(target, port))?;
    Ok(machine)
}

/// Has the socket report what ICMP says about its datagrams, host unreachable included.
pub(super) fn hear_errors(machine: &OwnedFd, target: IpAddr) -> rustix::io::Result<()> {
    match target {
        IpAddr::V4(_) => setsockopt(machine, sockopt::Ipv4RecvErr, &true),
        IpAddr::V6(_) => setsockopt(machine, sockopt::Ipv6RecvErr, &true),
    }
    .map_err(errno)
}

/// Sends these bytes in one call, as one datagram or, with `segment`, as a train; from an unconnected socket, to that address.
fn send(
    machine: &OwnedFd,
    to: Option<SocketAddr>,
    payloads: &[impl AsRef<[u8]>],
    segment: Option<u16>,
) -> rustix::io::Result<()> {
    let slices: SmallVec<[IoSlice<'_>; COUNT_MAX]> = payloads
        .iter()
        .map(|payload| IoSlice::new(payload.as_ref()))
        .collect();
    let train = segment.as_ref().map(ControlMessage::UdpGsoSegments);
    let to = to.map(SockaddrStorage::from);
    sendmsg(
        machine.as_raw_fd(),
        &slices,
        train.as_slice(),
        MsgFlags::MSG_NOSIGNAL,
        to.as_ref(),
    )
    .map(drop)
    .map_err(errno)
}

/// The length of what was received and, if it is a train, the length of each of its datagrams.
fn receive(machine: &OwnedFd, into: &mut [u8]) -> rustix::io::Result<(usize, Option<u16>)> {
    let mut control = nix::cmsg_space!(i32);
    let mut slices = [IoSliceMut::new(into)];
    let received = recvmsg::<()>(
        machine.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .map_err(errno)?;
    let segment = received
        .cmsgs()
        .into_iter()
        .flatten()
        .find_map(|message| match message {
            ControlMessageOwned::UdpGroSegments(size) => u16::try_from(size).ok(),
            _ => None,
        });
    let segment = segment.filter(|&size| usize::from(size) < received.bytes);
    Ok((received.bytes, segment))
}

/// The same error in the other library's words.
pub(super) fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}
