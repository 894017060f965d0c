//! The window that the peer offers (RFC 9293 §3.8.6).

use crate::wire::tcp::{Control, SeqNum};

/// What the peer allows: SND.WND, SND.WL1, SND.WL2 (RFC 9293 §3.3.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerWindow {
    pub(super) size: usize,
    scale: u8,
    wl1: SeqNum,
    wl2: SeqNum,
    /// The largest ever offered (MAX.SND.WND of RFC 5961 §5.2).
    pub(super) largest: usize,
}

impl PeerWindow {
    /// As a SYN told it: never scaled (RFC 7323 §2.2).
    pub(super) fn of_syn(syn: &Control, scale: u8) -> Self {
        let size = usize::from(syn.window);
        Self {
            size,
            scale,
            wl1: syn.seq,
            wl2: syn.ack,
            largest: size,
        }
    }

    /// Takes a newer segment's window; returns whether it changed (RFC 9293 §3.10.7.4, fifth).
    pub(super) fn update(&mut self, segment: &Control) -> bool {
        let newer = self.wl1.before(segment.seq)
            || (self.wl1 == segment.seq && !self.wl2.after(segment.ack));
        if !newer {
            return false;
        }
        self.wl1 = segment.seq;
        self.wl2 = segment.ack;
        let size = usize::from(segment.window) << self.scale;
        self.largest = self.largest.max(size);
        core::mem::replace(&mut self.size, size) != size
    }

    /// The segment that completes a handshake counts whatever came before it.
    pub(super) fn establish(&mut self, segment: &Control) {
        self.wl1 = segment.seq;
        self.wl2 = segment.ack;
        self.size = usize::from(segment.window) << self.scale;
        self.largest = self.largest.max(self.size);
    }
}
