//! Whatever a peer sends and a program calls, in any order: no panic, no growth, no endless talk.

use core::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::octets;
use super::peer::{Peer, offer};
use crate::tcp::{Config, Ecn, EcnUse, KeepAlive};
use crate::wire::tcp::{Control, Flags, Options, SackBlock, SeqNum, Timestamps};

#[derive(Clone, Debug)]
enum Act {
    Segment {
        flags: u8,
        seq: i32,
        ack: i32,
        window: u16,
        len: usize,
        blocks: [(i32, i32); 3],
        stamp: Option<i32>,
    },
    Write(usize),
    Consume(usize),
    Shutdown,
    Close,
    Abort,
    Shrink(u16),
    Pass(u64),
    Expire,
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![8 => -20..20i32, 8 => -3000..3000i32, 2 => -300_000..300_000i32, 1 => any::<i32>()]
}

fn segment() -> impl Strategy<Value = Act> {
    let flags = prop_oneof![12 => Just(0x10u8), 3 => Just(0x18), 1 => Just(0x11), 2 => any::<u8>()];
    let window = prop_oneof![Just(0u16), Just(1), 0..5000u16, any::<u16>()];
    let len = prop_oneof![3 => Just(0usize), 3 => 1..20usize, 2 => 500..3000usize, 1 => 60_000..65_000usize];
    let blocks = [(near(), near()), (near(), near()), (near(), near())];
    let stamp = proptest::option::of(near());
    (flags, near(), near(), window, len, blocks, stamp).prop_map(
        |(flags, seq, ack, window, len, blocks, stamp)| Act::Segment {
            flags,
            seq,
            ack,
            window,
            len,
            blocks,
            stamp,
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        40 => segment(),
        10 => (1..100_000usize).prop_map(Act::Write),
        6 => (1..100_000usize).prop_map(Act::Consume),
        1 => Just(Act::Shutdown),
        1 => Just(Act::Close),
        1 => Just(Act::Abort),
        1 => any::<u16>().prop_map(Act::Shrink),
        6 => (0..300u64).prop_map(Act::Pass),
        8 => Just(Act::Expire),
    ]
}

fn apply(peer: &mut Peer, act: Act) {
    let now = peer.now;
    let connection = &mut peer.connection;
    match act {
        Act::Segment {
            flags,
            seq,
            ack,
            window,
            len,
            blocks,
            stamp,
        } => {
            let shifted = |base: SeqNum, by: i32| SeqNum::new(base.value().wrapping_add_signed(by));
            let mut options = Options {
                timestamps: stamp.map(|by| Timestamps {
                    value: 5000u32.wrapping_add_signed(by),
                    echo: 1000,
                }),
                ..Options::default()
            };
            for (start, end) in blocks {
                options.sack.push(SackBlock {
                    start: shifted(peer.ack, start),
                    end: shifted(peer.ack, end),
                });
            }
            let control = Control {
                seq: shifted(peer.seq, seq),
                ack: shifted(peer.ack, ack),
                flags: Flags::from_bits(flags),
                window,
                urgent: 7,
                options,
            };
            connection.receive(now, &control, octets(0, 0, len), Ecn::from_bits(flags));
        }
        Act::Write(len) => drop(connection.write(octets(1, 0, len))),
        Act::Consume(count) => connection.consume(now, count),
        Act::Shutdown => connection.shutdown(),
        Act::Close => connection.close(now),
        Act::Abort => connection.abort(now),
        Act::Shrink(mss) => connection.shrink_mss(mss),
        Act::Pass(millis) => peer.pass(Duration::from_millis(millis)),
        Act::Expire => {
            if let Some(deadline) = connection.deadline() {
                peer.now = now.max(deadline);
                peer.connection.expire(peer.now);
            }
        }
    }
}

/// One of the ways to begin.
fn begin(kind: u8, config: &Config) -> Peer {
    let stamped = Options {
        timestamps: Some(Timestamps {
            value: 5000,
            echo: 0,
        }),
        ..offer()
    };
    match kind {
        0 => Peer::dialled(config).0,
        1 => Peer::half_open(config, stamped).0,
        2 => Peer::accepted(config, stamped),
        3 => Peer::accepted(config, Options::default()),
        _ => Peer::accepted(config, offer()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_upsets_a_connection(kind in 0..5u8, offload: bool, acts in proptest::collection::vec(act(), 1..150)) {
        let keepalive = Some(KeepAlive { idle: Duration::from_secs(5), interval: Duration::from_secs(1), count: 3 });
        let config = Config { keepalive, ecn: EcnUse::Ask, receive_max: 300_000, ..Config::default() };
        let mut peer = begin(kind, &config);
        peer.limits.offload = offload.then_some(65_515);
        for act in acts {
            apply(&mut peer, act);
            let mut segments = 0;
            while let Some(outgoing) = peer.connection.transmit(peer.now, &peer.limits) {
                segments += 1;
                prop_assert!(segments < 5000, "it never falls silent");
                prop_assert_eq!(outgoing.payload.iter().map(Bytes::len).sum::<usize>(), outgoing.length);
                // The peer keeps up, so that acknowledgments near this are acceptable.
                let end = outgoing.control.seq + outgoing.control.segment_len(outgoing.length);
                peer.ack = if outgoing.length > 0 { end } else { peer.ack };
                peer.seq = if outgoing.control.flags.contains(Flags::RST) { peer.seq } else { outgoing.control.ack };
            }
            prop_assert!(peer.connection.readable() <= 300_000 * 9 / 8 + 64);
            prop_assert!(peer.connection.deadline().is_none_or(|at| at > peer.now), "a timer that is due was left");
        }
    }
}
