//! Explicit congestion notification, one behaviour each (RFC 3168).

use bytes::Bytes;

use super::pair::octets;
use super::peer::{MS, Peer, offer};
use crate::tcp::{Config, Ecn, EcnUse, State};
use crate::wire::tcp::{Control, Flags, Header};

const BOTH: Flags = Flags::ECE.with(Flags::CWR);

fn asking() -> Config {
    Config {
        ecn: EcnUse::Ask,
        ..Config::default()
    }
}

/// Established by us, both sides speaking ECN.
fn agreed() -> Peer {
    let (mut peer, syn) = Peer::dialled(&asking());
    assert_eq!(syn.control.flags, Flags::SYN | BOTH);
    let mut answer = peer.control(Flags::SYN | Flags::ACK | Flags::ECE);
    answer.options = offer();
    peer.seq += 1;
    peer.inject(answer, Bytes::new());
    assert_eq!(peer.connection.state(), State::Established);
    let last = peer.only();
    // §6.1.5: not on pure acknowledgments.
    assert_eq!(
        (last.control.flags, last.ecn),
        (Flags::ACK, Ecn::NotCapable)
    );
    peer
}

/// §6.1.1.1: a SYN that is sent again does not ask, in case the asking is why the first one vanished.
#[test]
fn a_repeated_syn_does_not_ask() {
    let (mut peer, syn) = Peer::dialled(&asking());
    assert_eq!(syn.control.flags, Flags::SYN | BOTH);
    peer.expire();
    assert_eq!(peer.only().control.flags, Flags::SYN);
}

/// §6.1.1: (flags of the peer's SYN, of our answer). The last is accurate ECN's, RFC 9768 §3.1.2, whose third bit is not ours to see:
/// it falls back to this.
#[test]
fn a_syn_that_asks_is_answered() {
    for (asks, answers) in [
        (Flags::SYN | BOTH, Flags::SYN | Flags::ACK | Flags::ECE),
        (Flags::SYN, Flags::SYN | Flags::ACK),
        (Flags::SYN | Flags::ECE, Flags::SYN | Flags::ACK),
        (Flags::SYN | Flags::CWR, Flags::SYN | Flags::ACK),
    ] {
        let syn = Control {
            flags: asks,
            window: 1000,
            options: offer(),
            ..Control::default()
        };
        let peer = Peer::answering(&Config::default(), &syn);
        assert_eq!(peer.1.control.flags, answers, "{asks:?}");
    }
    let mut accurate = [0; 20];
    let control = Control {
        flags: Flags::SYN | BOTH,
        ..Control::default()
    };
    let header = Header {
        source: 1,
        destination: 2,
        control,
    };
    header.emit(&mut accurate);
    accurate[12] |= 1;
    let (seen, _) = Header::parse(&accurate).expect("a header");
    assert_eq!(seen.control.flags, control.flags);
}

/// §6.1.2, §6.1.5: new data may be marked, data sent again may not; the window falls once per round trip, and the next new data says so.
#[test]
fn a_mark_halves_once_and_is_acknowledged_once() {
    let mut peer = agreed();
    peer.warm(1);
    peer.write(30_000);
    let flight = peer.drain();
    assert!(flight.iter().all(|segment| segment.ecn == Ecn::Capable0));
    for (echoes, segment) in flight.iter().enumerate().take(flight.len() - 1) {
        peer.take(segment);
        peer.now += MS;
        let mut echo = peer.control(Flags::ACK | Flags::ECE);
        echo.options = Default::default();
        peer.inject(echo, Bytes::new());
        peer.write(1000);
        let said = peer.drain();
        let told = said
            .iter()
            .filter(|next| next.control.flags.contains(Flags::CWR));
        assert_eq!(told.count(), usize::from(echoes == 0), "echo {echoes}");
    }
}

#[test]
fn data_sent_again_is_not_capable() {
    let mut peer = agreed();
    peer.write(1000);
    peer.drain();
    peer.expire();
    peer.drain();
    peer.expire();
    let again = peer.only();
    assert_eq!((again.length, again.ecn), (1000, Ecn::NotCapable));
}

/// §6.1.3: the echo goes on until the peer says that it heeded it.
#[test]
fn a_mark_is_echoed_until_it_is_heeded() {
    let mut peer = agreed();
    let mut send = |flags: Flags, ecn| {
        let text = octets(0, 0, 100);
        let control = peer.control(Flags::ACK | flags);
        peer.seq += 100;
        peer.connection.receive(peer.now, &control, text, ecn);
        peer.pass(40 * MS);
        peer.only().control.flags
    };
    let plain = Flags::ACK;
    let echo = Flags::ACK | Flags::ECE;
    for (flags, ecn, answer) in [
        (Flags::NONE, Ecn::Capable0, plain),
        (Flags::NONE, Ecn::Congested, echo),
        (Flags::NONE, Ecn::Capable0, echo),
        (Flags::CWR, Ecn::Capable0, plain),
        (Flags::CWR, Ecn::Congested, echo),
        (Flags::CWR, Ecn::NotCapable, plain),
    ] {
        assert_eq!(send(flags, ecn), answer, "{flags:?} {ecn:?}");
    }
}

/// Who did not agree gets nothing that could be marked, and its echoes mean nothing.
#[test]
fn without_agreement_there_is_none() {
    let mut peer = Peer::established();
    peer.write(1000);
    assert_eq!(peer.only().ecn, Ecn::NotCapable);
    let text = octets(0, 0, 100);
    let control = peer.control(Flags::ACK);
    peer.connection
        .receive(peer.now, &control, text, Ecn::Congested);
    peer.pass(40 * MS);
    assert_eq!(peer.only().control.flags, Flags::ACK);
}
