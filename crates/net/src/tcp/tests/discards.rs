//! What a connection drops, it names: each reason, by the segment that brings it about.

use core::time::Duration;

use bytes::Bytes;

use super::pair::octets;
use super::peer::{ISN, PEER_ISN, Peer, offer};
use crate::discard::Discard;
use crate::tcp::{Config, State};
use crate::wire::tcp::{Control, Flags, Options, SeqNum, Timestamps};

fn text(length: usize) -> Bytes {
    octets(0, 0, length)
}

/// The peer's next segment, `ahead` octets too far on (or back).
fn shifted(peer: &Peer, ahead: i32, flags: Flags) -> Control {
    let control = peer.control(flags);
    Control {
        seq: SeqNum::new(control.seq.value().wrapping_add_signed(ahead)),
        ..control
    }
}

#[test]
fn what_is_taken_is_not_counted() {
    let mut peer = Peer::established();
    let control = peer.control(Flags::ACK);
    assert_eq!(peer.inject(control, text(100)), None);
    peer.seq += 100;
    let gap = shifted(&peer, 500, Flags::ACK);
    assert_eq!(peer.inject(gap, text(100)), None);
    let bare = peer.control(Flags::ACK);
    assert_eq!(peer.inject(bare, Bytes::new()), None);
    let reset = peer.control(Flags::RST);
    assert_eq!(peer.inject(reset, Bytes::new()), None);
}

#[test]
fn a_segment_outside_of_the_window() {
    let mut peer = Peer::established();
    for (ahead, payload) in [
        (1 << 20, text(10)),
        (1 << 20, Bytes::new()),
        (-9, Bytes::new()),
    ] {
        let control = shifted(&peer, ahead, Flags::ACK);
        assert_eq!(peer.inject(control, payload), Some(Discard::OutsideWindow));
    }
}

#[test]
fn a_repetition() {
    let mut peer = Peer::established();
    let control = peer.control(Flags::ACK);
    assert_eq!(peer.inject(control, text(100)), None);
    assert_eq!(peer.inject(control, text(100)), Some(Discard::Repeated));
    let later = shifted(&peer, 1000, Flags::ACK);
    assert_eq!(peer.inject(later, text(100)), None);
    assert_eq!(peer.inject(later, text(100)), Some(Discard::Repeated));
    let (mut half_open, _) = Peer::half_open(&Config::default(), offer());
    let syn = Control {
        seq: SeqNum::new(PEER_ISN),
        flags: Flags::SYN,
        ..Control::default()
    };
    assert_eq!(half_open.inject(syn, Bytes::new()), Some(Discard::Repeated));
}

#[test]
fn an_old_or_a_missing_timestamp() {
    let stamps = Timestamps {
        value: 1000,
        echo: 0,
    };
    let options = Options {
        timestamps: Some(stamps),
        ..offer()
    };
    let mut peer = Peer::accepted(&Config::default(), options);
    peer.clock = Some(999);
    let old = peer.control(Flags::ACK);
    assert_eq!(peer.inject(old, text(10)), Some(Discard::Timestamp));
    peer.clock = None;
    let bare = peer.control(Flags::ACK);
    assert_eq!(peer.inject(bare, text(10)), Some(Discard::Timestamp));
}

#[test]
fn a_reset_that_anybody_could_have_sent() {
    let mut peer = Peer::established();
    for ahead in [1, 100, -1, 1 << 20] {
        let control = shifted(&peer, ahead, Flags::RST);
        assert_eq!(peer.inject(control, Bytes::new()), Some(Discard::Reset));
    }
    assert_eq!(peer.connection.state(), State::Established);
    let (mut dialled, _) = Peer::dialled(&Config::default());
    let reset = dialled.control(Flags::RST);
    assert_eq!(dialled.inject(reset, Bytes::new()), Some(Discard::Reset));
}

#[test]
fn a_syn_where_none_is_wanted_and_none_where_one_is() {
    let mut peer = Peer::established();
    let syn = peer.control(Flags::SYN);
    assert_eq!(peer.inject(syn, Bytes::new()), Some(Discard::Handshake));
    let (mut dialled, _) = Peer::dialled(&Config::default());
    let bare = dialled.control(Flags::ACK);
    assert_eq!(dialled.inject(bare, Bytes::new()), Some(Discard::Handshake));
}

#[test]
fn an_acknowledgment_of_what_was_never_sent_or_none() {
    let mut peer = Peer::established();
    let control = Control {
        ack: SeqNum::new(ISN) + 1000,
        ..peer.control(Flags::ACK)
    };
    let wrong = Some(Discard::Acknowledgment);
    assert_eq!(peer.inject(control, Bytes::new()), wrong);
    assert_eq!(peer.inject(control, text(10)), wrong);
    let none = peer.control(Flags::NONE);
    assert_eq!(peer.inject(none, text(10)), wrong);
    for (mut opening, _) in [
        Peer::dialled(&Config::default()),
        Peer::half_open(&Config::default(), offer()),
    ] {
        let control = Control {
            ack: SeqNum::new(ISN) + 2,
            ..opening.control(Flags::ACK)
        };
        assert_eq!(opening.inject(control, Bytes::new()), wrong);
    }
}

#[test]
fn text_for_which_there_is_no_room() {
    let config = Config {
        receive_initial: 1000,
        receive_max: 1000,
        ..Config::default()
    };
    let mut peer = Peer::accepted(&config, offer());
    let control = peer.control(Flags::ACK);
    assert_eq!(peer.inject(control, text(1200)), Some(Discard::NoRoom));
    assert_eq!(peer.connection.readable(), 1000);
    peer.drain();
    peer.seq += 1000;
    let probe = peer.control(Flags::ACK);
    assert_eq!(peer.inject(probe, text(1)), Some(Discard::NoRoom));
    assert_eq!(peer.inject(probe, Bytes::new()), None);
    let mut peer = Peer::established();
    let dropped = (0..2000).find_map(|at| {
        let control = shifted(&peer, 1 + 2 * at, Flags::ACK);
        peer.inject(control, text(1))
    });
    assert_eq!(dropped, Some(Discard::NoRoom), "the budget of tiny pieces");
}

#[test]
fn text_after_the_end() {
    let mut peer = Peer::established();
    peer.send(Flags::FIN, Bytes::new());
    let control = peer.control(Flags::ACK);
    assert_eq!(peer.inject(control, text(10)), Some(Discard::AfterClose));
    let mut peer = Peer::established();
    peer.connection.close(peer.now);
    peer.drain();
    let control = peer.control(Flags::ACK);
    assert_eq!(peer.inject(control, text(10)), Some(Discard::AfterClose));
}

#[test]
fn whatever_comes_when_it_is_over() {
    let mut peer = Peer::established();
    peer.connection.shutdown();
    let fin = peer.only();
    peer.take(&fin);
    peer.send(Flags::FIN, Bytes::new());
    assert_eq!(peer.connection.state(), State::TimeWait);
    peer.drain();
    peer.seq = peer.seq.back(1);
    let again = peer.control(Flags::FIN | Flags::ACK);
    assert_eq!(peer.inject(again, Bytes::new()), Some(Discard::TimeWait));
    peer.drain();
    peer.pass(Duration::from_secs(300));
    assert_eq!(peer.connection.state(), State::Closed);
    let late = peer.control(Flags::ACK);
    assert_eq!(peer.inject(late, text(1)), Some(Discard::Stray));
}
