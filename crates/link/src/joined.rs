//! Several links as one: a host with one hardware address, and several cables to its network.
//!
//! # Theory of operation
//!
//! It does what a switch does whose only station is the host: whoever is heard on a link is remembered to be there,
//! frames for them go there, frames for everybody and for stations not heard of go everywhere. Nothing that comes from one
//! link goes out on another: to forward is not a host's to do.
//!
//! A host's questions are heard on all links, then. Where one of them must not hear about another's stations, or where MTUs and
//! capabilities differ, the links are several of the host's (`wharf_net::Config::further`), not one.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use crate::{AsyncLink, Capabilities, HEADER, Link, require_header};

/// Several links as one.
///
/// What it offers is what all of them can: the smallest MTU and queue, the common [`Capabilities`]. A link that is gone is
/// left out from then on, and the whole is gone with the last; one that is set down is passed over. A frame for everybody that
/// finds no room on one of the links is lost there, as on a wire.
///
/// ```
/// use std::io::{self, IoSlice};
/// use wharf_link::{Capabilities, HEADER, Joined, Link, Slots, memory};
///
/// # fn main() -> io::Result<()> {
/// let (left, mut at_left) = memory::pair(8, 1500, Capabilities::NONE);
/// let (right, mut at_right) = memory::pair(8, 1500, Capabilities::NONE);
/// let mut here = Joined::new(left).and(right);
///
/// let mut to_everybody = [0; HEADER + 60];
/// to_everybody[HEADER..][..6].fill(0xff);
/// here.send(&[IoSlice::new(&to_everybody)])?;
/// assert!(Slots::default().receive(&mut at_left).is_ok());
/// assert!(Slots::default().receive(&mut at_right).is_ok());
/// # Ok(())
/// # }
/// ```
pub struct Joined {
    links: Vec<Box<dyn AsyncLink>>,
    /// On which link each station was heard last.
    stations: HashMap<Mac, usize>,
    /// The link to be asked first for a frame.
    turn: usize,
}

type Mac = [u8; 6];

impl Joined {
    /// One link, so far.
    pub fn new(link: impl AsyncLink + 'static) -> Self {
        Self {
            links: vec![Box::new(link)],
            stations: HashMap::new(),
            turn: 0,
        }
    }

    /// And one more.
    #[must_use]
    pub fn and(mut self, link: impl AsyncLink + 'static) -> Self {
        self.links.push(Box::new(link));
        self
    }

    /// How many of them are there still.
    #[must_use]
    pub fn count(&self) -> usize {
        self.links.len()
    }

    /// Asks one link after the other, each first in its turn.
    fn receive_from(
        &mut self,
        buffer: &mut BytesMut,
        mut receive: impl FnMut(&mut dyn AsyncLink, &mut BytesMut) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut outcome = ErrorKind::NetworkDown;
        for offset in 0..self.links.len() {
            let at = (self.turn + offset) % self.links.len();
            match receive(&mut *self.links[at], buffer) {
                Ok(count) => {
                    self.turn = (at + 1) % self.links.len();
                    let frame = buffer.len() - count;
                    self.learn(&buffer[frame..], at);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    outcome = ErrorKind::WouldBlock;
                }
                Err(error) if error.kind() == ErrorKind::NetworkDown => {}
                Err(error) => {
                    self.lose(at, error)?;
                    // What is left is asked anew.
                    return self.receive_from(buffer, receive);
                }
            }
        }
        Err(outcome.into())
    }

    /// Sends to where the destination is, or everywhere.
    fn send_by(
        &mut self,
        parts: &[IoSlice<'_>],
        mut send: impl FnMut(&mut dyn AsyncLink) -> io::Result<()>,
    ) -> io::Result<()> {
        require_header(parts)?;
        let place = destination(parts).and_then(|mac| self.stations.get(&mac).copied());
        let (mut sent, mut refused) = (false, ErrorKind::NetworkDown);
        for at in (0..self.links.len()).rev() {
            if place.is_some_and(|place| place != at) {
                continue;
            }
            match send(&mut *self.links[at]) {
                Ok(()) => sent = true,
                Err(error) if error.kind() == ErrorKind::InvalidInput => return Err(error),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    refused = ErrorKind::WouldBlock;
                }
                Err(error) if error.kind() == ErrorKind::NetworkDown => {}
                Err(error) => self.lose(at, error)?,
            }
        }
        if sent { Ok(()) } else { Err(refused.into()) }
    }

    /// Sends what is left everywhere.
    fn flush_by(
        &mut self,
        mut flush: impl FnMut(&mut dyn AsyncLink) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut outcome = Ok(());
        for at in (0..self.links.len()).rev() {
            match flush(&mut *self.links[at]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => outcome = Err(error),
                Err(error) if error.kind() == ErrorKind::NetworkDown => {}
                Err(error) => self.lose(at, error)?,
            }
        }
        outcome
    }

    fn learn(&mut self, frame: &[u8], at: usize) {
        let source = frame.get(HEADER + 6..).and_then(|rest| rest.first_chunk());
        let Some(source) = source.filter(|mac: &&Mac| mac[0] & GROUP == 0) else {
            return;
        };
        if self.stations.len() >= MAX_STATIONS && !self.stations.contains_key(source) {
            // They are heard again, and until then frames for them go everywhere.
            self.stations.clear();
        }
        self.stations.insert(*source, at);
    }

    /// Leaves a link out; its error is the whole's if it was the last.
    fn lose(&mut self, at: usize, error: io::Error) -> io::Result<()> {
        if self.links.len() == 1 {
            return Err(error);
        }
        self.links.remove(at);
        self.stations.clear();
        self.turn = 0;
        Ok(())
    }
}

/// For whom a frame is; nothing if it is for a group, everybody included.
fn destination(parts: &[IoSlice<'_>]) -> Option<Mac> {
    let mut octets = parts.iter().flat_map(|part| part.iter()).skip(HEADER);
    let mut mac = Mac::default();
    for place in &mut mac {
        *place = *octets.next()?;
    }
    (mac[0] & GROUP == 0).then_some(mac)
}

impl Link for Joined {
    fn capabilities(&self) -> Capabilities {
        let all = self.links.iter().map(|link| link.capabilities());
        all.fold(Capabilities::ALL, |common, link| Capabilities {
            checksum: common.checksum && link.checksum,
            tcp_segment: common.tcp_segment && link.tcp_segment,
            udp_segment: common.udp_segment && link.udp_segment,
        })
    }

    fn mtu(&self) -> u16 {
        let all = self.links.iter().map(|link| link.mtu());
        all.min().unwrap_or(u16::MAX)
    }

    fn queue_bytes(&self) -> usize {
        let all = self.links.iter().map(|link| link.queue_bytes());
        all.min().unwrap_or(usize::MAX)
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.receive_from(buffer, |link, buffer| link.receive(buffer))
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.send_by(parts, |link| link.send(parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_by(|link| link.flush())
    }
}

/// What is pending would block; its waker is known.
fn blocking<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

/// What would block is pending.
fn pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl AsyncLink for Joined {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        pending(self.receive_from(buffer, |link, buffer| {
            blocking(link.poll_receive(cx, buffer))
        }))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        pending(self.send_by(parts, |link| blocking(link.poll_send(cx, parts))))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pending(self.flush_by(|link| blocking(link.poll_flush(cx))))
    }

    fn deadline(&self) -> Option<Duration> {
        let all = self.links.iter().filter_map(|link| link.deadline());
        all.min()
    }

    fn advance(&mut self, now: Duration) -> io::Result<()> {
        for at in (0..self.links.len()).rev() {
            match self.links[at].advance(now) {
                Err(error) if error.kind() != ErrorKind::NetworkDown => self.lose(at, error)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined")
            .field("links", &self.links.len())
            .field("stations", &self.stations.len())
            .finish_non_exhaustive()
    }
}

/// The bit of a hardware address that says that it is a group's (IEEE 802).
const GROUP: u8 = 1;
/// Stations that are remembered at once.
const MAX_STATIONS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{self, End};

    const HERE: Mac = [2, 0, 0, 0, 0, 1];
    const EVERYBODY: Mac = [0xff; 6];

    fn frame(to: Mac, from: Mac) -> Vec<u8> {
        [&[0; HEADER][..], &to, &from, &[8, 0]].concat()
    }

    fn station(number: u8) -> Mac {
        [2, 0, 0, 0, 1, number]
    }

    fn hear(link: &mut impl Link) -> Result<Vec<u8>, ErrorKind> {
        let mut buffer = BytesMut::new();
        let count = link.receive(&mut buffer).map_err(|error| error.kind())?;
        assert_eq!(count, buffer.len());
        Ok(buffer.to_vec())
    }

    fn say(link: &mut impl Link, frame: &[u8]) -> Result<(), ErrorKind> {
        // The address may be in a part of its own.
        let (head, rest) = frame.split_at(HEADER);
        let parts = [IoSlice::new(head), IoSlice::new(rest)];
        link.send(&parts).map_err(|error| error.kind())
    }

    fn joined(capacity: usize) -> (Joined, [End; 2]) {
        let (left, at_left) = memory::pair(capacity, 1500, Capabilities::ALL);
        let (right, at_right) = memory::pair(capacity, 1400, Capabilities::TCP);
        (Joined::new(left).and(right), [at_left, at_right])
    }

    #[test]
    fn it_offers_what_all_can() {
        let (joined, _ends) = joined(1);
        assert_eq!(
            (joined.mtu(), joined.capabilities()),
            (1400, Capabilities::TCP)
        );
        assert_eq!(joined.queue_bytes(), 64 * 1024);
    }

    #[test]
    fn frames_go_to_where_their_station_was_heard_and_else_everywhere() {
        let (mut joined, mut ends) = joined(8);
        let to_one = frame(station(1), HERE);
        say(&mut joined, &to_one).unwrap();
        for end in &mut ends {
            assert_eq!(hear(end).unwrap(), to_one);
        }
        // It moves from link to link.
        for at in [1, 0, 1] {
            let from_one = frame(EVERYBODY, station(1));
            say(&mut ends[at], &from_one).unwrap();
            assert_eq!(hear(&mut joined).unwrap(), from_one);
            // Nothing is forwarded.
            assert_eq!(hear(&mut ends[1 - at]), Err(ErrorKind::WouldBlock));
            say(&mut joined, &to_one).unwrap();
            assert_eq!(hear(&mut ends[at]).unwrap(), to_one);
            assert_eq!(hear(&mut ends[1 - at]), Err(ErrorKind::WouldBlock));
        }
    }

    #[test]
    fn links_are_heard_in_turn() {
        let (mut joined, mut ends) = joined(8);
        for (end, number) in ends.iter_mut().zip([1, 2]) {
            for _ in 0..3 {
                say(end, &frame(HERE, station(number))).unwrap();
            }
        }
        let heard: Vec<_> = (0..6)
            .map(|_| hear(&mut joined).unwrap()[HEADER + 11])
            .collect();
        assert_eq!(heard, [1, 2, 1, 2, 1, 2]);
        assert_eq!(hear(&mut joined), Err(ErrorKind::WouldBlock));
    }

    #[test]
    fn a_full_link_holds_up_its_own_frames_only() {
        let (mut joined, mut ends) = joined(1);
        for (end, number) in ends.iter_mut().zip([1, 2]) {
            say(end, &frame(HERE, station(number))).unwrap();
            hear(&mut joined).unwrap();
        }
        let (to_left, to_right) = (frame(station(1), HERE), frame(station(2), HERE));
        say(&mut joined, &to_left).unwrap();
        assert_eq!(say(&mut joined, &to_left), Err(ErrorKind::WouldBlock));
        say(&mut joined, &to_right).unwrap();
        assert_eq!(
            say(&mut joined, &frame(EVERYBODY, HERE)),
            Err(ErrorKind::WouldBlock)
        );
        hear(&mut ends[1]).unwrap();
        // To everybody is to whoever has room.
        say(&mut joined, &frame(EVERYBODY, HERE)).unwrap();
        assert_eq!(hear(&mut ends[0]).unwrap(), to_left);
    }

    #[test]
    fn a_link_that_is_gone_is_left_out_and_the_last_one_is_the_end() {
        let (mut joined, [at_left, mut at_right]) = joined(8);
        say(&mut at_right, &frame(HERE, station(2))).unwrap();
        drop(at_left);
        assert_eq!(hear(&mut joined).unwrap(), frame(HERE, station(2)));
        assert_eq!(joined.count(), 1);
        say(&mut joined, &frame(station(2), HERE)).unwrap();
        hear(&mut at_right).unwrap();
        drop(at_right);
        assert_eq!(
            say(&mut joined, &frame(EVERYBODY, HERE)),
            Err(ErrorKind::BrokenPipe)
        );
        assert_eq!(hear(&mut joined), Err(ErrorKind::BrokenPipe));
    }

    #[test]
    fn strangers_without_number_are_not_all_remembered() {
        let (mut joined, mut ends) = joined(8);
        for number in 0..3 * MAX_STATIONS as u32 {
            let [a, b, c, d] = number.to_be_bytes();
            say(&mut ends[0], &frame(HERE, [2, 9, a, b, c, d])).unwrap();
            hear(&mut joined).unwrap();
            assert!(joined.stations.len() <= MAX_STATIONS);
        }
    }
}
