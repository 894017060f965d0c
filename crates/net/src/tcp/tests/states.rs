//! The state machine as a table: in each state, each kind of segment, what follows (RFC 9293 §3.10.7.4).

use alloc::vec::Vec;

use bytes::Bytes;

use super::pair::octets;
use super::peer::{Peer, offer};
use crate::tcp::State::{
    CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, TimeWait,
};
use crate::tcp::{Config, State};
use crate::wire::tcp::{Control, Flags};

/// A connection in `state`, nothing left to say. Our FIN, where there is one, is `peer.ack`'s to acknowledge.
fn reach(state: State) -> Peer {
    if state == SynReceived {
        return Peer::half_open(&Config::default(), offer()).0;
    }
    let mut peer = Peer::established();
    if matches!(state, CloseWait | LastAck) {
        peer.send(Flags::FIN, Bytes::new());
    }
    if matches!(state, FinWait1 | FinWait2 | Closing | TimeWait | LastAck) {
        peer.connection.shutdown();
        peer.drain();
    }
    if matches!(state, FinWait2 | TimeWait) {
        peer.ack += 1;
        peer.acknowledge();
    }
    if matches!(state, Closing | TimeWait) {
        peer.send(Flags::FIN, Bytes::new());
    }
    peer.drain();
    assert_eq!(peer.connection.state(), state);
    peer
}

/// What is said in answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Ack,
    Reset,
}
use Answer::{Ack, Nothing, Reset};

fn answer(peer: &mut Peer) -> Answer {
    let said: Vec<Flags> = peer
        .drain()
        .iter()
        .map(|segment| segment.control.flags)
        .collect();
    match said[..] {
        [] => Nothing,
        [flags] if flags.contains(Flags::RST) => Reset,
        [Flags::ACK] => Ack,
        _ => panic!("{said:?}"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// RST at RCV.NXT.
    ResetExact,
    /// RST elsewhere in the window.
    ResetInside,
    /// SYN at RCV.NXT.
    Syn,
    /// Text without ACK.
    NoAck,
    /// Text beyond the window.
    Beyond,
    /// Text with an acknowledgment of what was never sent.
    Future,
    /// In-order text.
    Text,
    /// In-order FIN.
    Fin,
    /// An acknowledgment of everything sent.
    All,
}
use Kind::{All, Beyond, Fin, Future, NoAck, ResetExact, ResetInside, Syn, Text};

fn inject(peer: &mut Peer, kind: Kind) {
    let ack = peer.control(Flags::ACK);
    let unacknowledged = usize::from(matches!(
        peer.connection.state(),
        FinWait1 | Closing | LastAck
    ));
    let (control, len) = match kind {
        ResetExact => (peer.control(Flags::RST), 0),
        ResetInside => (
            Control {
                seq: peer.seq + 500,
                ..peer.control(Flags::RST)
            },
            0,
        ),
        Syn => (peer.control(Flags::SYN), 0),
        NoAck => (peer.control(Flags::PSH), 10),
        Beyond => (
            Control {
                seq: peer.seq + 0x1000_0000,
                ..ack
            },
            10,
        ),
        Future => (
            Control {
                ack: peer.ack + 5000,
                ..ack
            },
            10,
        ),
        Text => (ack, 10),
        Fin => (peer.control(Flags::ACK | Flags::FIN), 0),
        All => (
            Control {
                ack: peer.ack + unacknowledged,
                ..ack
            },
            0,
        ),
    };
    peer.inject(control, octets(0, 0, len));
}

/// A kind of segment, the state after it, and the answer to it.
type Row = (Kind, State, Answer);

const TABLE: [(State, [Row; 9]); 8] = [
    (
        SynReceived,
        [
            (ResetExact, Closed, Nothing),
            (ResetInside, SynReceived, Ack),
            (Syn, Closed, Nothing), // back to LISTEN
            (NoAck, SynReceived, Nothing),
            (Beyond, SynReceived, Ack),
            (Future, SynReceived, Reset),
            (Text, Established, Ack),
            (Fin, CloseWait, Ack),
            (All, Established, Nothing),
        ],
    ),
    (
        Established,
        [
            (ResetExact, Closed, Nothing),
            (ResetInside, Established, Ack),
            (Syn, Established, Ack),
            (NoAck, Established, Nothing),
            (Beyond, Established, Ack),
            (Future, Established, Ack),
            (Text, Established, Ack),
            (Fin, CloseWait, Ack),
            (All, Established, Nothing),
        ],
    ),
    (
        FinWait1,
        [
            (ResetExact, Closed, Nothing),
            (ResetInside, FinWait1, Ack),
            (Syn, FinWait1, Ack),
            (NoAck, FinWait1, Nothing),
            (Beyond, FinWait1, Ack),
            (Future, FinWait1, Ack),
            (Text, FinWait1, Ack),
            (Fin, Closing, Ack),
            (All, FinWait2, Nothing),
        ],
    ),
    (
        FinWait2,
        [
            (ResetExact, Closed, Nothing),
            (ResetInside, FinWait2, Ack),
            (Syn, FinWait2, Ack),
            (NoAck, FinWait2, Nothing),
            (Beyond, FinWait2, Ack),
            (Future, FinWait2, Ack),
            (Text, FinWait2, Ack),
            (Fin, TimeWait, Ack),
            (All, FinWait2, Nothing),
        ],
    ),
    (
        CloseWait,
        [
            (ResetExact, Closed, Nothing),
            (ResetInside, CloseWait, Ack),
            (Syn, CloseWait, Ack),
            (NoAck, CloseWait, Nothing),
            (Beyond, CloseWait, Ack),
            (Future, CloseWait, Ack),
            (Text, CloseWait, Nothing),
            (Fin, CloseWait, Nothing),
            (All, CloseWait, Nothing),
        ],
    ),
    (
        Closing,
        [
            (ResetExact, Closed, Nothing),
            (ResetInside, Closing, Ack),
            (Syn, Closing, Ack),
            (NoAck, Closing, Nothing),
            (Beyond, Closing, Ack),
            (Future, Closing, Ack),
            (Text, Closing, Nothing),
            (Fin, Closing, Nothing),
            (All, TimeWait, Nothing),
        ],
    ),
    (
        LastAck,
        [
            (ResetExact, Closed, Nothing),
            (ResetInside, LastAck, Ack),
            (Syn, LastAck, Ack),
            (NoAck, LastAck, Nothing),
            (Beyond, LastAck, Ack),
            (Future, LastAck, Ack),
            (Text, LastAck, Nothing),
            (Fin, LastAck, Nothing),
            (All, Closed, Nothing),
        ],
    ),
    (
        TimeWait,
        [
            (ResetExact, TimeWait, Nothing), // RFC 1337
            (ResetInside, TimeWait, Nothing),
            (Syn, TimeWait, Ack), // not newer than the old connection
            (NoAck, TimeWait, Ack),
            (Beyond, TimeWait, Ack),
            (Future, TimeWait, Ack),
            (Text, TimeWait, Ack),
            (Fin, TimeWait, Ack),
            (All, TimeWait, Nothing),
        ],
    ),
];

#[test]
fn every_state_meets_every_segment() {
    for (state, row) in TABLE {
        for (kind, next, expected) in row {
            let mut peer = reach(state);
            inject(&mut peer, kind);
            let got = (peer.connection.state(), answer(&mut peer));
            assert_eq!(got, (next, expected), "{state:?} meets {kind:?}");
        }
    }
}

#[test]
fn a_closed_connection_answers_with_resets() {
    let mut peer = Peer::established();
    peer.inject(peer.control(Flags::RST), Bytes::new());
    for (kind, expected) in [
        (Text, Reset),
        (Fin, Reset),
        (Syn, Reset),
        (ResetExact, Nothing),
    ] {
        inject(&mut peer, kind);
        assert_eq!(answer(&mut peer), expected, "{kind:?}");
    }
}
