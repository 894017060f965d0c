//! What passes between a space and everything else: counted, and heard by captures. Without one, that costs a frame an addition and
//! a look at a flag.
//!
//! Nothing waits for a listener: what it doesn't take in time is counted, and it never gets it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use wharf_link::HEADER;
use wharf_link::pcap::Direction;

use crate::capture::filter::Filter;
use crate::capture::headers::Headers;
use crate::protocol::Traffic;

/// So many bytes of frames may wait for one listener.
const WAITING: usize = 16 << 20;

/// The listeners of one space.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ears(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether there is one.
    open: AtomicBool,
    ears: Mutex<Vec<Ear>>,
    /// Bytes of frames.
    sent: AtomicU64,
    received: AtomicU64,
}

/// A frame that was heard.
#[derive(Debug)]
pub(crate) struct Heard {
    /// When.
    pub(crate) time: SystemTime,
    /// Which way it went, as the space's programs see it.
    pub(crate) direction: Direction,
    /// Its headers.
    pub(crate) headers: Headers,
    /// The Ethernet frame, offload and all.
    pub(crate) frame: Bytes,
}

/// A listener.
struct Ear {
    filter: Option<Filter>,
    heard: mpsc::UnboundedSender<Heard>,
    load: Arc<Load>,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}

/// What waits for a listener, and what it has missed.
#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    missed: AtomicU64,
}

/// A listener's end; it listens until this is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    heard: mpsc::UnboundedReceiver<Heard>,
    load: Arc<Load>,
}

impl Listening {
    /// The next frame. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        let heard = self.heard.recv().await?;
        self.load
            .bytes
            .fetch_sub(heard.frame.len(), Ordering::Relaxed);
        Some(heard)
    }

    /// No further frame is heard; those that wait can be taken.
    pub(crate) fn close(&mut self) {
        self.heard.close();
    }

    /// How many frames this was too slow for.
    pub(crate) fn missed(&self) -> u64 {
        self.load.missed.load(Ordering::Relaxed)
    }
}

impl Ears {
    /// Listens from now on to what the filter takes.
    pub(crate) fn listen(&self, filter: Option<Filter>) -> Listening {
        let (sender, heard) = mpsc::unbounded_channel();
        let load = Arc::<Load>::default();
        self.lock().push(Ear {
            filter,
            heard: sender,
            load: Arc::clone(&load),
        });
        self.0.open.store(true, Ordering::Relaxed);
        Listening { heard, load }
    }

    /// A frame passes: a virtio header, and the Ethernet frame, in these pieces. The first has all headers.
    pub(super) fn hear<'a>(
        &self,
        direction: Direction,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        let count = match direction {
            Direction::Outbound => &self.0.sent,
            Direction::Inbound => &self.0.received,
        };
        let length: usize = pieces.clone().map(<[u8]>::len).sum();
        count.fetch_add(length.saturating_sub(HEADER) as u64, Ordering::Relaxed);
        if self.0.open.load(Ordering::Relaxed) {
            self.tell(direction, pieces);
        }
    }

    /// How much has passed.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.0.sent.load(Ordering::Relaxed),
            received: self.0.received.load(Ordering::Relaxed),
        }
    }

    #[cold]
    fn tell<'a>(&self, direction: Direction, pieces: impl Iterator<Item = &'a [u8]> + Clone) {
        let first = pieces.clone().next().and_then(|first| first.get(HEADER..));
        let headers = Headers::of(first.unwrap_or(&[]));
        let mut copy = None;
        let mut ears = self.lock();
        ears.retain(|ear| {
            if ear
                .filter
                .as_ref()
                .is_none_or(|filter| filter.takes(&headers))
            {
                let frame = copy.get_or_insert_with(|| whole(pieces.clone()));
                ear.hear(direction, headers, frame);
            }
            !ear.heard.is_closed()
        });
        self.0.open.store(!ears.is_empty(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ear>> {
        self.0.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ear {
    fn hear(&self, direction: Direction, headers: Headers, frame: &Bytes) {
        let waiting = self.load.bytes.fetch_add(frame.len(), Ordering::Relaxed);
        let heard = Heard {
            time: SystemTime::now(),
            direction,
            headers,
            frame: frame.clone(),
        };
        if waiting > WAITING || self.heard.send(heard).is_err() {
            self.load.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
            self.load.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The Ethernet frame in one piece.
fn whole<'a>(pieces: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let length: usize = pieces.clone().map(<[u8]>::len).sum();
    let mut whole = BytesMut::with_capacity(length);
    pieces.for_each(|piece| whole.extend_from_slice(piece));
    whole.freeze().slice(HEADER.min(length)..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::headers::testing::{datagram, syn};

    fn pass(ears: &Ears, frame: &[u8]) {
        let (head, rest) = frame.split_at(frame.len().min(62));
        let head = [&[0; HEADER][..], head].concat();
        ears.hear(Direction::Outbound, [&head[..], rest].into_iter());
    }

    #[test]
    fn a_listener_hears_what_it_wants_until_it_goes() {
        let ears = Ears::default();
        pass(&ears, &syn());
        let mut all = ears.listen(None);
        let mut some = ears.listen(Some("udp".parse().unwrap()));
        pass(&ears, &syn());
        pass(&ears, &datagram());
        let mut next = || all.heard.try_recv().ok().map(|heard| heard.frame.to_vec());
        assert_eq!(
            [next(), next(), next()],
            [Some(syn()), Some(datagram()), None]
        );
        assert_eq!(some.heard.try_recv().unwrap().frame, datagram());
        assert!(some.heard.try_recv().is_err());
        drop((all, some));
        pass(&ears, &syn());
        let sent = (3 * syn().len() + datagram().len()) as u64;
        assert_eq!(ears.traffic(), Traffic { sent, received: 0 });
        assert!(!ears.0.open.load(Ordering::Relaxed));
    }

    #[test]
    fn a_slow_listener_misses_frames_and_nothing_grows() {
        let ears = Ears::default();
        let slow = ears.listen(None);
        let mut large = syn();
        large.resize(1 << 16, 0);
        for _ in 0..300 {
            pass(&ears, &large);
        }
        let waiting = slow.load.bytes.load(Ordering::Relaxed);
        assert!(waiting <= WAITING + 2 * large.len(), "{waiting}");
        assert_eq!(slow.missed(), 300 - (waiting / large.len()) as u64);
    }
}
