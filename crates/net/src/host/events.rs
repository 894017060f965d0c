//! What waits to be told to the caller, within bounds.

use alloc::collections::VecDeque;

use super::event::{Event, SocketId};

/// Events that a peer's packet makes by itself, waiting at once.
const MAX_DATAGRAMS: usize = 8192;
/// Their octets.
const MAX_OCTETS: usize = 16 << 20;

/// The queue of events. One for a socket holds its place only: what the socket is ready for is its own.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Queued>,
    datagrams: usize,
    octets: usize,
}

/// A place in the queue.
#[derive(Debug)]
pub(super) enum Queued {
    /// The socket will say what it is ready for.
    Ready(SocketId),
    /// As it is.
    Event(Event),
}

impl Events {
    /// A socket has become ready, and has no place in the queue yet.
    pub(super) fn ready(&mut self, socket: SocketId) {
        self.queue.push_back(Queued::Ready(socket));
    }

    /// An event of which there can't be many, for other reasons.
    pub(super) fn push(&mut self, event: Event) {
        self.queue.push_back(Queued::Event(event));
    }

    /// An event that a peer's packet makes by itself; whether there was room.
    pub(super) fn offer(&mut self, event: Event) -> bool {
        let octets = payload_len(&event);
        if self.datagrams >= MAX_DATAGRAMS || self.octets + octets > MAX_OCTETS {
            return false;
        }
        self.datagrams += 1;
        self.octets += octets;
        self.queue.push_back(Queued::Event(event));
        true
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let next = self.queue.pop_front()?;
        if let Queued::Event(
            event @ (Event::Datagram { .. }
            | Event::OneWay { .. }
            | Event::Echo { .. }
            | Event::Reply { .. }
            | Event::Rejected { .. }
            | Event::Address { .. }
            | Event::Knock { .. }),
        ) = &next
        {
            self.datagrams -= 1;
            self.octets -= payload_len(event);
        }
        Some(next)
    }
}

fn payload_len(event: &Event) -> usize {
    match event {
        Event::Datagram { payload, .. }
        | Event::OneWay { payload, .. }
        | Event::Echo { payload, .. }
        | Event::Reply { payload, .. } => payload.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_flood_of_datagrams_stays_within_bounds() {
        let mut events = Events::default();
        let datagram = |size: usize| Event::Datagram {
            flow: "udp/10.0.0.1:1-10.0.0.2:2".parse().unwrap(),
            payload: Bytes::from(alloc::vec![0; size]),
            segment: None,
        };
        assert!((0..256).all(|_| events.offer(datagram(1 << 16))));
        assert!(!events.offer(datagram(1)));
        while events.pop().is_some() {}
        assert!((0..MAX_DATAGRAMS).all(|_| events.offer(datagram(1))));
        assert!(!events.offer(datagram(1)));
        while events.pop().is_some() {}
        assert_eq!((events.datagrams, events.octets), (0, 0));
    }
}
