//! How large packets may be, found without anybody's help: packetization layer path MTU discovery (RFC 4821, RFC 8899).
//!
//! # Theory of operation
//!
//! Segments begin as large as link and peer take them, or as the host's cache of path MTUs says (RFC 1191, RFC 8201); a router that
//! can't pass one on says so by ICMP. If it does not, or its word is lost, large segments vanish while small ones get through: a
//! *black hole*. Three timeouts of a large segment in a row make one suspect (RFC 8899 §4.3), and segments become small
//! enough for nearly every path (the base); three more, and they do for every path (the floor).
//!
//! Once those get through, larger ones are sought: one segment of new data at a time is a *probe*, longer than the others. If it arrives, all
//! may be as long. If three of a size are lost, that size is too large (`MAX_PROBES`). A lost probe is sent again like any lost
//! segment, but is no sign of congestion (RFC 4821 §7.5). The first is as long as segments were before: the peer may merely have been
//! silent for a while, and then all is as it was. Only when it is lost too are others told of the path. The search
//! halves what is left until it is exact; after ten minutes it begins again from there, as paths change (`PMTU_RAISE_TIMER`), also
//! where ICMP told the size.
//!
//! Sizes are octets of TCP options and text in a packet.

use core::time::Duration;

use crate::time::Instant;
use crate::wire::tcp::SeqNum;

/// `BASE_PLPMTU`, less headers: RFC 4821 §7.2 recommends 1024.
const BASE: u16 = 1024;

/// `MAX_PROBES` (RFC 8899 §5.1.2), of probes and of black holes.
const MAX_PROBES: u8 = 3;
const TWICE: u8 = 2 * MAX_PROBES;

/// `PMTU_RAISE_TIMER` (RFC 8899 §5.1.1).
const RAISE: Duration = Duration::from_secs(600);

/// No connection makes smaller packets, whatever it is told.
const LEAST: usize = 48;

/// A segment that is longer than the others to see whether it gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    start: SeqNum,
    end: SeqNum,
    size: u16,
}

/// How sure a black hole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// There is none, or it is certain.
    None,
    /// Segments are smaller, and none of them was acknowledged yet.
    Silence,
    /// Smaller segments get through; whether larger ones do not is to be seen.
    Probable,
}

/// What is known of a path.
#[derive(Debug)]
pub(super) struct Path {
    /// What every path takes: `MIN_PLPMTU`.
    floor: u16,
    /// What link and peer take.
    most: u16,
    /// The PLPMTU: what gets through, as far as is known.
    size: u16,
    /// What may get through; larger than `size` during a search.
    high: u16,
    /// Probes of one size that were lost in a row.
    failures: u8,
    suspicion: Suspicion,
    /// Whether the host has to be told of `size`.
    news: bool,
    probe: Option<Probe>,
    raise_at: Instant,
}

/// Not before something was lowered.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl Path {
    /// Link and peer take packets of `most`, every path of the family takes those of `floor`.
    pub(super) fn new(most: u16, floor: u16) -> Self {
        Self {
            floor,
            most,
            size: most,
            high: most,
            failures: 0,
            suspicion: Suspicion::None,
            news: false,
            probe: None,
            raise_at: NEVER,
        }
    }

    /// How large packets may be.
    pub(super) fn size(&self) -> usize {
        usize::from(self.size).max(LEAST)
    }

    /// A router reports that it takes `size` (RFC 1191, RFC 8201); whether that is news.
    pub(super) fn shrink(&mut self, now: Instant, size: u16) -> bool {
        self.high = self.high.min(size);
        if size >= self.size {
            return false;
        }
        self.size = size;
        self.rest(now);
        true
    }

    /// `retries` times in a row, a packet of `lost` was not acknowledged in time: whether it was taken for a black hole.
    pub(super) fn time_out(&mut self, now: Instant, retries: u8, lost: usize) -> bool {
        let lower = match retries {
            MAX_PROBES => BASE.max(self.floor),
            TWICE => self.floor,
            _ => return false,
        };
        if lower >= self.size || lost <= usize::from(lower) {
            return false;
        }
        self.high = self.high.max(self.size);
        self.size = lower;
        self.suspicion = Suspicion::Silence;
        self.failures = 0;
        self.probe = None;
        self.raise_at = now + RAISE;
        true
    }

    /// The peer acknowledged everything before `una`.
    pub(super) fn acknowledged(&mut self, now: Instant, una: SeqNum) {
        if self.suspicion == Suspicion::Silence {
            self.suspicion = Suspicion::Probable;
        }
        let Some(probe) = self.probe.filter(|probe| !una.before(probe.end)) else {
            return;
        };
        self.size = probe.size;
        self.news = self.suspicion == Suspicion::None;
        self.suspicion = Suspicion::None;
        self.failures = 0;
        self.probe = None;
        if self.size == self.high {
            self.rest(now);
        }
    }

    /// How large a probe ought to be, if one is wanted.
    pub(super) fn wanted(&mut self, now: Instant) -> Option<u16> {
        if now >= self.raise_at {
            (self.high, self.raise_at) = (self.most, NEVER);
        }
        if self.probe.is_some() || self.size >= self.high {
            return None;
        }
        match self.suspicion {
            Suspicion::None => Some(self.size + (self.high - self.size).div_ceil(2)),
            Suspicion::Silence => None,
            Suspicion::Probable => Some(self.high),
        }
    }

    /// A probe of `size` went out.
    pub(super) fn probing(&mut self, start: SeqNum, end: SeqNum, size: u16) {
        self.probe = Some(Probe { start, end, size });
    }

    /// A stretch was declared lost: whether it was the probe.
    pub(super) fn lost(&mut self, now: Instant, start: SeqNum, end: SeqNum) -> bool {
        let Some(probe) = self.probe.filter(|probe| probe.touches(start, end)) else {
            return false;
        };
        self.probe = None;
        self.failures += 1;
        if self.failures == MAX_PROBES {
            self.failures = 0;
            self.high = (probe.size - 1).max(self.size);
            self.news |= self.suspicion == Suspicion::Probable;
            self.suspicion = Suspicion::None;
            if self.size == self.high {
                self.rest(now);
            }
        }
        true
    }

    /// A stretch is sent again: if it was the probe, its acknowledgment will prove nothing.
    pub(super) fn resent(&mut self, start: SeqNum, end: SeqNum) {
        self.probe = self.probe.filter(|probe| !probe.touches(start, end));
    }

    /// Whether the host has to know something.
    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    /// What the host has to know: a size that was found to get through.
    pub(super) fn take_news(&mut self) -> Option<u16> {
        core::mem::take(&mut self.news).then_some(self.size)
    }

    /// The search is over until it is time to look again.
    fn rest(&mut self, now: Instant) {
        self.high = self.size;
        self.probe = None;
        self.failures = 0;
        self.suspicion = Suspicion::None;
        self.raise_at = if self.size < self.most {
            now + RAISE
        } else {
            NEVER
        };
    }
}

impl Probe {
    fn touches(&self, start: SeqNum, end: SeqNum) -> bool {
        start.before(self.end) && end.after(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1000);

    /// Probes until the search rests; what the path takes, how it ends, and how many probes that took.
    fn search(path: &mut Path, now: Instant, takes: u16) -> u32 {
        let mut at = SeqNum::new(u32::MAX - 5000);
        let mut probes = 0;
        while let Some(size) = path.wanted(now) {
            path.probing(at, at + usize::from(size), size);
            assert_eq!(path.wanted(now), None, "one at a time");
            if size <= takes {
                path.acknowledged(now, at + usize::from(size));
            } else {
                assert!(path.lost(now, at, at + usize::from(size)));
            }
            at += usize::from(size);
            probes += 1;
            assert!(probes < 60, "{path:?}");
        }
        probes
    }

    fn in_black_hole(most: u16, floor: u16) -> Path {
        let mut path = Path::new(most, floor);
        assert!(!path.time_out(NOW, 1, 1460) && !path.time_out(NOW, 2, 1460));
        assert!(path.time_out(NOW, 3, 1460));
        path
    }

    #[test]
    fn the_search_ends_at_exactly_what_the_path_takes() {
        for (most, floor, takes) in [
            (1460, 536, 1360),
            (1460, 536, 1024),
            (1460, 536, 1459),
            (1460, 536, 1460),
            (8960, 536, 1460),
            (1440, 1220, 1220),
            (1440, 1220, 1400),
        ] {
            let mut path = in_black_hole(most, floor);
            assert_eq!(path.wanted(NOW), None, "nothing got through yet");
            path.acknowledged(NOW, SeqNum::new(0));
            let probes = search(&mut path, NOW, takes);
            assert_eq!(path.size(), usize::from(takes), "after {probes} probes");
        }
    }

    #[test]
    fn a_path_that_takes_less_than_the_base_gets_what_every_path_takes() {
        let mut path = in_black_hole(1460, 536);
        assert_eq!(path.size(), 1024);
        assert!(!path.time_out(NOW, 5, 1024) && path.time_out(NOW, 6, 1024));
        assert_eq!(path.size(), 536);
        assert!(!path.time_out(NOW, 9, 536), "there is nothing below");
        path.acknowledged(NOW, SeqNum::new(0));
        search(&mut path, NOW, 700);
        assert_eq!(path.size(), 700);
    }

    #[test]
    fn small_packets_in_a_black_hole_say_nothing_of_large_ones() {
        let mut path = Path::new(1460, 536);
        assert!(!path.time_out(NOW, 3, 500));
        assert_eq!(path.size(), 1460);
    }

    #[test]
    fn one_or_two_lost_probes_are_bad_luck() {
        let mut path = in_black_hole(1460, 536);
        path.acknowledged(NOW, SeqNum::new(0));
        let (start, end) = (SeqNum::new(100), SeqNum::new(1560));
        for _ in 0..2 {
            assert_eq!(path.wanted(NOW), Some(1460));
            path.probing(start, end, 1460);
            assert!(path.lost(NOW, start, end));
        }
        path.probing(start, end, 1460);
        path.acknowledged(NOW, end);
        assert_eq!(path.size(), 1460);
    }

    /// Silence is not a black hole: one probe and all is as it was, and nobody hears of it.
    #[test]
    fn a_peer_that_was_silent_costs_one_probe() {
        let mut path = in_black_hole(1460, 536);
        path.acknowledged(NOW, SeqNum::new(0));
        assert_eq!(search(&mut path, NOW, 1460), 1);
        assert_eq!((path.size(), path.take_news()), (1460, None));
    }

    #[test]
    fn a_probe_that_was_sent_again_proves_nothing() {
        let mut path = in_black_hole(1460, 536);
        path.acknowledged(NOW, SeqNum::new(0));
        path.probing(SeqNum::new(100), SeqNum::new(1560), 1460);
        path.resent(SeqNum::new(100), SeqNum::new(1124));
        path.acknowledged(NOW, SeqNum::new(1560));
        assert_eq!((path.size(), path.wanted(NOW)), (1024, Some(1460)));
    }

    #[test]
    fn a_router_s_word_ends_the_search_for_ten_minutes() {
        let mut path = Path::new(1460, 536);
        assert!(path.shrink(NOW, 1200));
        assert!(!path.shrink(NOW, 1300), "larger values raise nothing");
        assert_eq!((path.size(), path.wanted(NOW)), (1200, None));
        let later = NOW + RAISE;
        assert_eq!(path.wanted(later), Some(1330));
        search(&mut path, later, 1460);
        assert_eq!((path.size(), path.raise_at), (1460, NEVER));
    }

    #[test]
    fn the_host_is_told_once_it_is_certain() {
        let mut path = in_black_hole(1460, 536);
        path.acknowledged(NOW, SeqNum::new(0));
        let (start, end) = (SeqNum::new(100), SeqNum::new(1560));
        for news in [None, None, Some(1024), None] {
            let size = path.wanted(NOW).expect("a search is on");
            path.probing(start, end, size);
            path.lost(NOW, start, end);
            assert_eq!(path.take_news(), news);
        }
        path.probing(start, end, 1242);
        path.acknowledged(NOW, end);
        assert_eq!(path.take_news(), Some(1242));
    }
}
