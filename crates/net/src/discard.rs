//! Why packets go nowhere, and how many did for each reason.

use core::fmt;

/// Why something that arrived, or was to be sent, was dropped. It is not an error: a peer may send what it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discard {
    /// Too short for Ethernet, ARP or the fixed part of an IP header, or lengths that contradict each other.
    Malformed,
    /// Addressed to another station of the link.
    OtherStation,
    /// A frame from the link that says that we sent it.
    OwnStation,
    /// Neither IPv4, IPv6 nor ARP.
    EtherType,
    /// A checksum does not match.
    Checksum,
    /// An IP destination that is not ours.
    NotMine,
    /// For a multicast group that nobody here has joined.
    NotJoined,
    /// A source address that nobody can have (RFC 1122 §3.2.1.3, RFC 4291 §2.7).
    Source,
    /// A frame to everybody that carries a packet for one (RFC 1122 §3.3.6).
    LinkBroadcast,
    /// A transport protocol that we don't speak, or none.
    Protocol,
    /// Destination port 0, or under TCP source port 0.
    PortZero,
    /// Nobody at the port.
    NoSocket,
    /// For a group or everybody where only one can be meant.
    Group,
    /// An IPv6 option asked for it, or a source route that does not end here.
    Option,
    /// Fragments that overlap (RFC 5722), or contradict each other.
    FragmentOverlap,
    /// Fragments too many or too large for the room that there is.
    FragmentLimit,
    /// Fragments that were not completed in time.
    FragmentTimeout,
    /// An ICMP message that says nothing to us, or that is mere advice.
    Icmp,
    /// An ICMP error about nothing that we have sent.
    IcmpUnrelated,
    /// An ICMP error not sent, so as not to send too many.
    IcmpLimit,
    /// A message about multicast groups that is for routers, or that RFC 3810 §6.2 forbids.
    Multicast,
    /// A neighbour discovery message that RFC 4861 §7.1 forbids, or an answer that nobody asked for (§7.2.5, RFC 826).
    Neighbour,
    /// Another station says that an address of ours is its own (RFC 5227 §2.4, RFC 4862 §5.4.4).
    Conflict,
    /// A router advertisement, to a host that doesn't configure itself.
    Unconfigurable,
    /// An ICMP redirect: never followed, as anybody on the way could send them (RFC 1122 §3.2.2.2 and RFC 4861 §8.3 say "should").
    Redirect,
    /// For an address that may be somebody else's still (RFC 4862 §5.4).
    Tentative,
    /// The room for knocks is full.
    KnockLimit,
    /// A knock without a verdict in time.
    KnockTimeout,
    /// A listener's queue is full.
    Backlog,
    /// There is no room for one more socket.
    SocketLimit,
    /// The socket's receive queue is full.
    ReceiveQueue,
    /// The caller has too many events waiting.
    EventLimit,
    /// The link's queue is full.
    OutputLimit,
    /// No route to the destination.
    NoRoute,
    /// A neighbour does not answer.
    NoNeighbour,
    /// A segment for a connection that exists no more, or that no reset may answer.
    Stray,
    /// TCP: nothing of it is within the receive window (RFC 9293 §3.10.7.4, first).
    OutsideWindow,
    /// TCP: text, a SYN or a FIN that has come before.
    Repeated,
    /// TCP: older than what has come by its timestamp, or without the timestamp that was agreed on (RFC 7323 §5, §3.2).
    Timestamp,
    /// TCP: a reset that could be anybody's: not at the next sequence number, or not an answer to our SYN (RFC 5961 §3.2, RFC 9293
    /// §3.10.7.3, second).
    Reset,
    /// TCP: a SYN for a connection that stands (RFC 5961 §4.2), or none where only one helps (RFC 9293 §3.10.7.3, fifth).
    Handshake,
    /// TCP: acknowledges what was not sent, or nothing since too long ago (RFC 5961 §5.2), or nothing at all.
    Acknowledgment,
    /// TCP: text beyond the receive window, of which the rest was taken, or for which there was no memory.
    NoRoom,
    /// TCP: text after the peer's FIN, or for a connection that nobody reads any more (RFC 1122 §4.2.2.13).
    AfterClose,
    /// TCP: a late segment of a connection in TIME-WAIT.
    TimeWait,
}

impl Discard {
    const LAST: Self = Self::TimeWait;
    const COUNT: usize = Self::LAST as usize + 1;
}

/// How many were dropped for each reason.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Discards([u64; Discard::COUNT]);

impl Discards {
    pub(crate) const fn new() -> Self {
        Self([0; Discard::COUNT])
    }

    pub(crate) fn count(&mut self, reason: Discard) {
        self.0[reason as usize] += 1;
    }

    /// How many were dropped for this reason since the host began.
    #[must_use]
    pub fn of(&self, reason: Discard) -> u64 {
        self.0[reason as usize]
    }

    /// How many were dropped at all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl fmt::Debug for Discards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discards")
            .field("total", &self.total())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_apart() {
        let mut discards = Discards::new();
        discards.count(Discard::Malformed);
        discards.count(Discard::LAST);
        discards.count(Discard::LAST);
        assert_eq!(discards.of(Discard::LAST), 2);
        assert_eq!(discards.of(Discard::Malformed), 1);
        assert_eq!(discards.total(), 3);
    }
}
