//! One behaviour each, named as a requirement, with the section that requires it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, octets};
use super::peer::{ISN, MS, PEER_ISN, Peer, offer};
use crate::tcp::{Config, Error, KeepAlive, Limits, Outgoing, Ready, State, WriteError};
use crate::wire::tcp::{Control, Flags, Options, SackBlock, SeqNum, Timestamps};

fn stamped() -> Options {
    Options {
        timestamps: Some(Timestamps {
            value: 1000,
            echo: 0,
        }),
        ..offer()
    }
}

fn lengths(segments: &[Outgoing]) -> Vec<usize> {
    segments.iter().map(|segment| segment.length).collect()
}

fn text(peer: &Peer) -> Vec<u8> {
    peer.connection.chunks().flatten().copied().collect()
}

// --- Handshake ---------------------------------------------------------------------------------------------------------------

/// RFC 9293 §3.7.1, RFC 7323 §2.2, RFC 2018 §2: a SYN-ACK carries only what the SYN offered.
#[test]
fn a_syn_without_options_gets_only_an_mss_back() {
    let (_, answer) = Peer::half_open(&Config::default(), Options::default());
    assert_eq!(
        answer.control.options,
        Options {
            mss: Some(1460),
            ..Options::default()
        }
    );
    assert_eq!(
        (answer.control.seq.value(), answer.control.ack.value()),
        (ISN, PEER_ISN + 1)
    );
    let (_, answer) = Peer::half_open(&Config::default(), stamped());
    let options = answer.control.options;
    assert_eq!(
        (options.window_scale, options.sack_permitted),
        (Some(6), true)
    );
    assert_eq!(options.timestamps.map(|stamps| stamps.echo), Some(1000));
}

/// RFC 9293 §3.8.1, RFC 6298 §5.5: intervals double; then the half-open connection is forgotten.
#[test]
fn an_unanswered_syn_ack_is_repeated_ever_more_slowly() {
    let (mut peer, first) = Peer::half_open(&Config::default(), offer());
    for seconds in [1, 2, 4, 8, 16] {
        assert_eq!(peer.expire().as_secs(), seconds);
        assert_eq!(peer.only().control, first.control);
    }
    assert_eq!(peer.expire().as_secs(), 32);
    assert_eq!(peer.connection.error(), Some(Error::TimedOut));
    assert!(peer.connection.is_finished());
}

/// RFC 9293 §3.8.3, MUST-23: at least three minutes.
#[test]
fn an_unanswered_syn_is_given_up_after_three_minutes() {
    let (mut peer, first) = Peer::dialled(&Config::default());
    let start = peer.now;
    while peer.connection.state() == State::SynSent {
        peer.expire();
        for again in peer.drain() {
            assert_eq!(again.control.seq, first.control.seq);
        }
    }
    assert_eq!((peer.now - start).as_secs(), 183);
    assert_eq!(peer.connection.error(), Some(Error::TimedOut));
    assert_eq!(peer.connection.take_ready(), Ready::FAILED);
}

/// RFC 9293 §3.10.7.4, fifth.
#[test]
fn in_syn_received_a_wrong_acknowledgment_is_reset_and_the_right_one_still_counts() {
    for wrong in [0, 2, 100_000, 0x8000_0000] {
        let (mut peer, _) = Peer::half_open(&Config::default(), offer());
        let ack = SeqNum::new(ISN) + wrong;
        peer.inject(
            Control {
                ack,
                ..peer.control(Flags::ACK)
            },
            Bytes::new(),
        );
        let reset = peer.only().control;
        assert_eq!((reset.flags, reset.seq), (Flags::RST, ack));
        peer.acknowledge();
        assert_eq!(peer.connection.state(), State::Established);
        assert_eq!(
            peer.connection.take_ready(),
            Ready::CONNECTED | Ready::WRITABLE
        );
    }
}

/// RFC 9293 §3.10.7.4: the first segment after the SYN-ACK may be data, even with a FIN.
#[test]
fn data_and_fin_complete_the_handshake() {
    let (mut peer, _) = Peer::half_open(&Config::default(), offer());
    peer.send(Flags::FIN, octets(0, 0, 11));
    assert_eq!(peer.connection.state(), State::CloseWait);
    assert_eq!(text(&peer), octets(0, 0, 11));
    peer.acknowledged();
    let ready = peer.connection.take_ready();
    assert!(
        ready.contains(Ready::CONNECTED | Ready::READABLE | Ready::READ_CLOSED),
        "{ready:?}"
    );
}

/// RFC 9293 §3.4: data in a SYN is kept until the handshake is complete.
#[test]
fn data_in_a_syn_is_neither_lost_nor_doubled() {
    let syn = Control {
        seq: SeqNum::new(PEER_ISN),
        flags: Flags::SYN,
        window: 9000,
        ..Control::default()
    };
    let (mut peer, _) = Peer::half_open(&Config::default(), offer());
    let (now, setup) = (peer.now, super::pair::setup(ISN));
    peer.connection =
        crate::tcp::Connection::accept(now, &Arc::default(), &setup, &syn, octets(0, 0, 15));
    assert_eq!(peer.only().control.ack.value(), PEER_ISN.wrapping_add(16));
    assert!(!peer.connection.take_ready().contains(Ready::READABLE));
    peer.send_data(15); // as a sender does that has not seen the acknowledgment
    assert_eq!(text(&peer), octets(0, 0, 15));
    assert!(peer.connection.take_ready().contains(Ready::CONNECTED));
}

/// RFC 9293 §3.10.7.3, first.
#[test]
fn in_syn_sent_a_wrong_acknowledgment_is_reset() {
    let (mut peer, _) = Peer::dialled(&Config::default());
    for wrong in [0, 2, 5000] {
        let ack = SeqNum::new(ISN) + wrong;
        peer.inject(
            Control {
                ack,
                ..peer.control(Flags::SYN | Flags::ACK)
            },
            Bytes::new(),
        );
        let reset = peer.only().control;
        assert_eq!((reset.flags, reset.seq), (Flags::RST, ack));
    }
    peer.inject(
        Control {
            ack: SeqNum::new(ISN),
            ..peer.control(Flags::RST | Flags::ACK)
        },
        Bytes::new(),
    );
    peer.quiet();
    assert_eq!(peer.connection.state(), State::SynSent);
    peer.send(Flags::SYN, Bytes::new());
    assert_eq!(peer.connection.state(), State::Established);
    peer.acknowledged();
}

/// RFC 9293 §3.10.7.3, second.
#[test]
fn a_refused_connection_says_so() {
    let (mut peer, _) = Peer::dialled(&Config::default());
    peer.inject(peer.control(Flags::RST | Flags::ACK), Bytes::new());
    assert_eq!(
        (peer.connection.state(), peer.connection.error()),
        (State::Closed, Some(Error::Refused))
    );
    assert_eq!(
        peer.connection.write(octets(0, 0, 1)),
        Err(WriteError::Failed(Error::Refused))
    );
}

/// RFC 9293 §3.5, figure 7: crossing SYNs, completed by a SYN-ACK or a plain acknowledgment.
#[test]
fn simultaneous_opens_meet() {
    for kind in [Flags::SYN | Flags::ACK, Flags::ACK] {
        let (mut peer, syn) = Peer::dialled(&Config::default());
        peer.inject(
            Control {
                ack: SeqNum::new(0),
                ..peer.control(Flags::SYN)
            },
            Bytes::new(),
        );
        assert_eq!(peer.connection.state(), State::SynReceived);
        let answer = peer.only().control;
        assert_eq!(
            (answer.seq, answer.flags),
            (syn.control.seq, Flags::SYN | Flags::ACK)
        );
        if kind == Flags::ACK {
            peer.seq += 1;
        }
        peer.inject(peer.control(kind), Bytes::new());
        assert_eq!(peer.connection.state(), State::Established, "{kind:?}");
    }
}

/// RFC 9293 §3.10.2: what is written early follows the handshake, and so does a FIN.
#[test]
fn what_is_written_in_syn_sent_goes_after_the_handshake() {
    let (mut peer, _) = Peer::dialled(&Config::default());
    peer.write(500);
    peer.connection.shutdown();
    peer.quiet();
    assert_eq!(
        peer.connection.write(octets(0, 0, 1)),
        Err(WriteError::Closed)
    );
    peer.send(Flags::SYN, Bytes::new());
    let data = peer.only();
    assert_eq!((data.length, data.control.ack), (500, peer.seq));
    assert!(data.control.flags.contains(Flags::FIN));
}

// --- Sequence, reset, SYN, acknowledgment checks -----------------------------------------------------------------------------

/// RFC 5961 §3.2: exact in order to reset, in the window to be questioned, else nothing.
#[test]
fn a_reset_has_to_be_exact() {
    let mut peer = Peer::established();
    for (offset, answers) in [(1, 1), (30_000, 1), (0x4000_0000, 0), (-1i32 as usize, 0)] {
        peer.inject(
            Control {
                seq: peer.seq + offset,
                ..peer.control(Flags::RST)
            },
            Bytes::new(),
        );
        assert_eq!(peer.drain().len(), answers, "offset {offset}");
        assert_eq!(peer.connection.state(), State::Established);
    }
    peer.inject(peer.control(Flags::RST), Bytes::new());
    assert_eq!(peer.connection.error(), Some(Error::Reset));
    peer.quiet();
}

/// RFC 5961 §4.2 and §7.
#[test]
fn a_syn_on_a_live_connection_is_questioned_ten_times_a_second() {
    let mut peer = Peer::established();
    let mut answers = 0;
    for offset in 0..50 {
        let seq = peer.seq + offset * 1000;
        peer.inject(
            Control {
                seq,
                ..peer.control(Flags::SYN)
            },
            Bytes::new(),
        );
        answers += peer.drain().len();
    }
    assert_eq!((answers, peer.connection.state()), (10, State::Established));
    peer.pass(1001 * MS);
    peer.inject(peer.control(Flags::SYN), Bytes::new());
    peer.acknowledged();
}

/// RFC 9293 §3.10.7.4, first.
#[test]
fn text_beyond_the_window_is_refused_with_an_acknowledgment() {
    let mut peer = Peer::established();
    peer.send_data(1);
    let answer = peer.acknowledged();
    let window = usize::from(answer.control.window) << 6;
    for beyond in [window, window + 1, 0x7000_0000] {
        peer.inject(
            Control {
                seq: peer.seq + beyond,
                ..peer.control(Flags::ACK)
            },
            octets(0, 0, 6),
        );
        peer.acknowledged();
    }
    assert_eq!(peer.connection.readable(), 1);
}

/// RFC 9293 §3.10.7.4, fifth: neither without ACK, nor for what was never sent, nor older than the largest window (RFC 5961 §5.2).
#[test]
fn text_with_a_dishonest_acknowledgment_is_dropped() {
    let mut peer = Peer::established();
    peer.inject(
        Control {
            flags: Flags::PSH,
            ..peer.control(Flags::PSH)
        },
        octets(0, 0, 6),
    );
    peer.quiet();
    for offset in [1, 1000, 0x2000_0000, -0x2000_0000i32 as usize] {
        peer.inject(
            Control {
                ack: peer.ack + offset,
                ..peer.control(Flags::ACK)
            },
            octets(0, 0, 4),
        );
        peer.acknowledged();
        assert_eq!(peer.connection.readable(), 0, "offset {offset}");
    }
    peer.send_data(6);
    assert_eq!(peer.connection.readable(), 6);
}

/// RFC 7323 §5.3.
#[test]
fn an_older_timestamp_is_refused_but_a_reset_is_not() {
    let mut peer = Peer::accepted(&Config::default(), stamped());
    peer.clock = Some(2000);
    peer.send_data(10);
    peer.acknowledged();
    peer.clock = Some(1999);
    peer.inject(peer.control(Flags::ACK), octets(0, 0, 10));
    let answer = peer.acknowledged();
    assert_eq!(
        answer.control.options.timestamps.map(|stamps| stamps.echo),
        Some(2000)
    );
    assert_eq!(peer.connection.readable(), 10);
    peer.clock = None; // RFC 7323 §3.2: without the timestamp agreed on
    peer.inject(peer.control(Flags::ACK), octets(0, 0, 10));
    peer.quiet();
    peer.inject(peer.control(Flags::RST), Bytes::new());
    assert_eq!(peer.connection.error(), Some(Error::Reset));
}

// --- Receiving ---------------------------------------------------------------------------------------------------------------

/// RFC 5681 §4.2: every second full segment at once, else within the delay.
#[test]
fn acknowledgments_are_delayed_and_gathered() {
    let mut peer = Peer::established();
    peer.send_data(1460); // shows how long the peer's segments are
    peer.spend_quick();
    peer.send_data(100);
    peer.quiet();
    assert_eq!(peer.expire(), 40 * MS);
    peer.acknowledged();
    peer.send_data(1460);
    peer.quiet();
    peer.send_data(1460);
    peer.acknowledged();
    for _ in 0..10 {
        peer.send_data(1460);
    }
    peer.acknowledged(); // one for the batch
    peer.send_data(64_000);
    peer.acknowledged(); // a long segment is many
}

/// RFC 2018 §4 and RFC 2883 §4.
#[test]
fn gaps_and_duplicates_are_reported() {
    let mut peer = Peer::established();
    peer.spend_quick();
    let base = peer.seq;
    let inject = |peer: &mut Peer, at: usize, len: usize| {
        peer.inject(
            Control {
                seq: base + at,
                ..peer.control(Flags::ACK)
            },
            octets(0, at, len),
        );
        let answer = peer.only().control;
        let offset = |block: &SackBlock| (block.start.since(base), block.end.since(base));
        (
            answer.ack.since(base),
            answer
                .options
                .sack
                .as_slice()
                .iter()
                .map(offset)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(inject(&mut peer, 100, 100), (0, [(100, 200)].into()));
    assert_eq!(
        inject(&mut peer, 300, 100),
        (0, [(300, 400), (100, 200)].into())
    );
    assert_eq!(
        inject(&mut peer, 120, 50),
        (0, [(120, 170), (100, 200), (300, 400)].into())
    );
    assert_eq!(inject(&mut peer, 0, 100), (200, [(300, 400)].into()));
    assert_eq!(
        inject(&mut peer, 0, 100),
        (200, [(0, 100), (300, 400)].into())
    );
    assert_eq!(inject(&mut peer, 150, 150), (400, [].into()));
    assert_eq!(text(&peer), octets(0, 0, 400));
}

/// RFC 5681 §3.2: a peer without SACK counts duplicates, so each segment out of order gets its own.
#[test]
fn a_peer_without_sack_gets_every_duplicate_acknowledgment() {
    let mut peer = Peer::without_sack();
    peer.spend_quick();
    for at in [1000, 2000, 3000] {
        peer.inject(
            Control {
                seq: peer.seq + at,
                ..peer.control(Flags::ACK)
            },
            octets(0, at, 1000),
        );
    }
    let acks: Vec<_> = peer
        .drain()
        .iter()
        .map(|answer| answer.control.ack.since(peer.seq))
        .collect();
    assert_eq!(acks, [0, 0, 0]);
}

/// RFC 9293 §3.8.6.2: the window closes without moving left, and reopens only for something worthwhile.
#[test]
fn the_offered_window_never_shrinks_and_is_never_silly() {
    let config = Config {
        receive_initial: 20_000,
        receive_max: 20_000,
        ..Config::default()
    };
    let mut peer = Peer::accepted(
        &config,
        Options {
            window_scale: None,
            ..offer()
        },
    );
    let mut edge = peer.seq + 20_000;
    let mut window = 20_000;
    while window > 0 {
        peer.send_data(window.min(700));
        peer.pass(50 * MS);
        let answer = peer.acknowledged().control;
        window = usize::from(answer.window);
        let right = answer.ack + window;
        assert!(!right.before(edge), "the edge moved left");
        edge = right;
    }
    assert_eq!(peer.connection.readable(), 20_000);
    peer.inject(peer.control(Flags::ACK), octets(0, 0, 1));
    assert_eq!(peer.acknowledged().control.window, 0);
    let now = peer.now;
    peer.connection.consume(now, 100);
    peer.quiet();
    peer.inject(peer.control(Flags::ACK), octets(0, 0, 1));
    assert_eq!(peer.acknowledged().control.window, 0);
    peer.connection.consume(now, 5000);
    assert_eq!(peer.acknowledged().control.window, 5100);
}

/// RFC 7323 §2.3: many odd segments with a large scale neither move the edge left nor open the window for ever.
#[test]
fn rounding_by_the_scale_cannot_be_exploited() {
    let config = Config {
        receive_initial: 30_000,
        receive_max: 1 << 30,
        ..Config::default()
    };
    let mut peer = Peer::accepted(
        &config,
        Options {
            window_scale: Some(14),
            ..offer()
        },
    );
    for _ in 0..60_000 {
        peer.send_data(1);
        peer.drain();
    }
    assert!(
        peer.connection.readable() <= 30_000 + 30_000 / 8 + (1 << 14),
        "{}",
        peer.connection.readable()
    );
}

/// RFC 9293 §3.8.5: urgent data stays in line.
#[test]
fn urgent_data_stays_in_the_stream() {
    for urgent in [0, 1, 3, 5, 6, 65_535] {
        let mut peer = Peer::established();
        let control = Control {
            urgent,
            ..peer.control(Flags::ACK | Flags::URG)
        };
        peer.inject(control, octets(0, 0, 5));
        peer.seq += 5;
        peer.acknowledged();
        assert_eq!(text(&peer), octets(0, 0, 5));
    }
}

/// The buffer grows to what the program takes in a round trip.
#[test]
fn the_receive_window_grows_with_the_reader() {
    let mut pair = Pair::established();
    let mut written = 0;
    while written < 8 << 20 {
        written += pair.ends[0].write(octets(0, 0, 65_536)).expect("open");
        pair.step();
        let now = pair.now;
        pair.ends[1].consume(now, usize::MAX);
    }
    let widest = pair
        .log
        .iter()
        .filter(|(from, ..)| *from == 1)
        .map(|(_, control, _)| control.window)
        .max();
    assert!(
        usize::from(widest.expect("acknowledgments")) << 6 > 1 << 20,
        "{widest:?}"
    );
}

// --- Sending -----------------------------------------------------------------------------------------------------------------

/// RFC 6928 §2.
#[test]
fn the_first_flight_is_ten_segments() {
    let mut peer = Peer::established();
    peer.write(200_000);
    assert_eq!(lengths(&peer.drain()), [1000; 10]);
}

/// A link with segmentation offload gets all that an IP packet holds in one piece.
#[test]
fn with_offload_a_segment_fills_the_packet() {
    let mut peer = Peer::accepted(&Config::default(), stamped());
    peer.warm(4);
    peer.limits.offload = Some(65_515);
    peer.window = 65_535;
    peer.acknowledge();
    peer.write(200_000);
    let first = &peer.drain()[0];
    assert_eq!((first.length, first.segment), (65_483, Some(988)));
}

/// RFC 9293 §3.7.4.
#[test]
fn nagle_holds_a_small_segment_while_another_is_out() {
    let mut peer = Peer::established();
    peer.write(10);
    let first = peer.only();
    peer.write(10);
    peer.write(10);
    peer.quiet();
    peer.take(&first);
    peer.acknowledge();
    assert_eq!(peer.only().length, 20);
    peer.write(1500);
    assert_eq!(lengths(&peer.drain()), [1000]);
    peer.connection.set_nodelay(true);
    assert_eq!(lengths(&peer.drain()), [500]);
}

/// Linux's TCP_CORK, BSD's TCP_NOPUSH.
#[test]
fn a_cork_holds_what_does_not_fill_a_segment() {
    let mut peer = Peer::established();
    peer.connection.set_cork(true);
    peer.write(1500);
    assert_eq!(lengths(&peer.drain()), [1000]);
    peer.write(100);
    peer.quiet();
    peer.connection.set_cork(false);
    peer.connection.set_nodelay(true);
    assert_eq!(lengths(&peer.drain()), [600]);
}

/// RFC 9293 §3.8.6.1: growing intervals, one octet, for as long as the peer answers; then everything at once.
#[test]
fn a_closed_window_is_probed_until_it_opens() {
    let mut peer = Peer::established();
    peer.window = 0;
    peer.acknowledge();
    peer.write(300);
    peer.quiet();
    let mut before = Duration::ZERO;
    for _ in 0..40 {
        let gap = peer.expire();
        assert!(
            gap > before || gap == Duration::from_secs(60),
            "{gap:?} after {before:?}"
        );
        before = gap;
        let probe = peer.only();
        assert_eq!((probe.length, probe.control.seq), (1, peer.ack));
        peer.acknowledge();
        peer.quiet();
    }
    peer.window = 9000;
    peer.acknowledge();
    assert_eq!(peer.only().length, 300);
}

/// RFC 9293 §3.8.6.1: the peer may take the probe's octet.
#[test]
fn an_accepted_window_probe_is_not_sent_twice() {
    let mut peer = Peer::established();
    peer.window = 0;
    peer.acknowledge();
    peer.write(300);
    peer.quiet();
    peer.expire();
    let probe = peer.only();
    peer.take(&probe);
    peer.acknowledge();
    peer.quiet();
    peer.window = 9000;
    peer.acknowledge();
    let rest = peer.only();
    assert_eq!((rest.length, rest.control.seq), (299, peer.ack));
    assert_eq!(rest.payload.concat(), octets(1, 1, 299));
}

/// RFC 9293 §3.8.6.2.1: what fits is sent if it is the whole window or all there is.
#[test]
fn a_small_window_is_used_in_full() {
    for (window, first) in [(10, 10), (11, 11), (12, 11)] {
        let mut peer = Peer::established();
        peer.window = window;
        let mut options = offer();
        options.mss = Some(1000);
        let (mut small, _) = Peer::half_open(&Config::default(), options);
        small.window = window;
        small.acknowledge();
        small.write(11);
        let sent = small.drain();
        // The SYN's window was larger: a window that is silly beside it is used when the override timer expires.
        let sent = if sent.is_empty() {
            small.expire();
            small.drain()
        } else {
            sent
        };
        assert_eq!(lengths(&sent), [first], "window {window}");
    }
}

/// RFC 6298 §5, RFC 5681 §3.1 (LW): one segment at the timeout, twice as long until the next.
#[test]
fn a_timeout_sends_one_segment() {
    let mut peer = Peer::without_sack();
    peer.warm(1);
    peer.write(8000);
    assert_eq!(peer.drain().len(), 8);
    let first = peer.expire();
    let again = peer.only();
    assert_eq!((again.length, again.control.seq), (1000, peer.ack));
    let second = peer.expire();
    assert!(second >= first * 19 / 10, "{first:?}, then {second:?}");
    peer.only();
    peer.ack += 8000;
    peer.acknowledge();
    peer.quiet();
    assert_eq!(peer.connection.deadline(), None);
}

/// RFC 6298 §3: when an acknowledgment was lost, the next says nothing about the round trip, whatever it echoes.
#[test]
fn a_lost_acknowledgment_does_not_stretch_the_timeout() {
    let mut peer = Peer::accepted(&Config::default(), stamped());
    peer.warm(1);
    for value in 1001..1021 {
        peer.write(100);
        let first = peer.only();
        let echo = first.control.options.timestamps.expect("agreed on").value;
        let mut wait = peer.expire();
        while peer.drain().is_empty() {
            wait += peer.expire();
        }
        assert!(wait < Duration::from_secs(1), "{wait:?}");
        peer.now += 10 * MS;
        peer.take(&first);
        let mut late = peer.control(Flags::ACK);
        late.options.timestamps = Some(Timestamps { value, echo });
        peer.inject(late, Bytes::new());
    }
}

/// RFC 9293 §3.8.3: data that is never acknowledged ends the connection, after at least 100 s.
#[test]
fn silence_is_given_up_in_the_end() {
    let mut peer = Peer::established();
    let start = peer.now;
    peer.write(100);
    peer.only();
    while peer.connection.error().is_none() {
        peer.expire();
        assert!(peer.drain().len() <= 1);
    }
    assert_eq!(peer.connection.error(), Some(Error::TimedOut));
    assert!(
        (100..1800).contains(&(peer.now - start).as_secs()),
        "{:?}",
        peer.now - start
    );
}

/// RFC 6582 §3.2.
#[test]
fn without_sack_three_duplicates_and_each_partial_acknowledgment_resend_one_segment() {
    let mut peer = Peer::without_sack();
    peer.warm(1);
    peer.write(8000);
    let flight = peer.drain();
    for _ in 0..2 {
        peer.acknowledge();
        peer.quiet();
    }
    peer.acknowledge();
    let again = peer.only();
    assert_eq!(
        (again.control.seq, again.length),
        (flight[0].control.seq, 1000)
    );
    peer.ack = flight[3].control.seq;
    peer.acknowledge();
    let next = peer.drain();
    assert_eq!(next[0].control.seq, flight[3].control.seq);
    peer.ack += 5000;
    peer.acknowledge();
    peer.quiet();
}

/// RFC 6675 §5, RFC 8985 §6: the holes and nothing else, without waiting for a timeout.
#[test]
fn with_sack_only_the_holes_are_sent_again() {
    let mut peer = Peer::established();
    peer.warm(1);
    peer.write(9000);
    let flight = peer.drain();
    let at = |n: usize| flight[n].control.seq;
    let end = at(8) + 1000;
    peer.now += 10 * MS;
    peer.acknowledge_blocks(&[(at(1), at(2))]);
    peer.acknowledge_blocks(&[(at(1), at(3))]);
    peer.acknowledge_blocks(&[(at(4), at(5)), (at(1), at(3))]);
    let mut again = peer.drain();
    peer.acknowledge_blocks(&[(at(4), end), (at(1), at(3))]);
    again.extend(peer.drain());
    let holes: Vec<_> = again.iter().map(|segment| segment.control.seq).collect();
    assert_eq!(holes, [at(0), at(3)]);
    peer.ack = end;
    peer.acknowledge();
    peer.quiet();
}

/// RFC 3522 §3.2, RFC 4015: the echoed timestamp tells whether the original or the repetition arrived.
#[test]
fn a_recovery_that_was_a_mistake_is_taken_back() {
    for mistaken in [true, false] {
        let mut peer = Peer::accepted(&Config::default(), stamped());
        peer.warm(1);
        peer.write(9 * 988);
        let flight = peer.drain();
        let at = |n: usize| flight[n].control.seq;
        peer.now += 10 * MS;
        peer.acknowledge_blocks(&[(at(1), at(5))]);
        let again = peer.drain();
        assert_eq!(again[0].control.seq, at(0));
        let stamp =
            |segment: &Outgoing| segment.control.options.timestamps.expect("agreed on").value;
        let echo = if mistaken {
            stamp(&flight[0])
        } else {
            stamp(&again[0])
        };
        peer.ack = at(8) + 988;
        let mut last = peer.control(Flags::ACK);
        last.options.timestamps = Some(Timestamps { value: 1000, echo });
        peer.inject(last, Bytes::new());
        peer.write(60_000);
        let sent = peer.drain().len();
        let before = 30; // segments that the window held before, about
        assert_eq!(sent > before, mistaken, "{sent} segments");
    }
}

/// RFC 8985 §7: the tail is probed after two round trips, long before a timeout.
#[test]
fn a_lost_tail_is_probed() {
    let mut peer = Peer::established();
    peer.warm(1);
    peer.write(3000);
    let flight = peer.drain();
    let wait = peer.expire();
    assert!(wait <= 25 * MS, "{wait:?}");
    let probe = peer.only();
    assert_eq!(
        (probe.control.seq, probe.length),
        (flight[2].control.seq, 1000)
    );
    peer.now += 10 * MS;
    peer.acknowledge_blocks(&[(flight[2].control.seq, flight[2].control.seq + 1000)]);
    peer.pass(10 * MS);
    let again: Vec<_> = peer
        .drain()
        .iter()
        .map(|segment| segment.control.seq)
        .collect();
    assert_eq!(again, [flight[0].control.seq]);
    peer.ack += 1000;
    peer.acknowledge_blocks(&[(flight[2].control.seq, flight[2].control.seq + 1000)]);
    assert_eq!(peer.only().control.seq, flight[1].control.seq);
}

/// RFC 8985 §6.2 step 5: what was handed to the link in one piece was still sent in order, and a hole in it is a loss.
#[test]
fn a_hole_within_a_long_segment_is_sent_again() {
    for probed in [false, true] {
        let mut peer = Peer::established();
        peer.limits.offload = Some(65_515);
        peer.warm(1);
        peer.write(10_000);
        let flight = peer.only();
        let at = |n: usize| flight.control.seq + 1000 * n;
        if probed {
            assert!(peer.expire() <= 25 * MS);
            assert_eq!(peer.only().control.seq, at(9));
        }
        peer.now += 10 * MS;
        let mut again = Vec::new();
        let reports: [&[(SeqNum, SeqNum)]; 4] = [
            &[(at(1), at(2))],
            &[(at(1), at(3))],
            &[(at(4), at(5)), (at(1), at(3))],
            &[(at(4), at(9)), (at(1), at(3))],
        ];
        for report in reports {
            peer.acknowledge_blocks(report);
            again.extend(peer.drain());
        }
        let end = peer.now + 10 * MS;
        while peer.connection.deadline().is_some_and(|at| at <= end) {
            peer.expire();
            again.extend(peer.drain());
        }
        let holes: Vec<_> = again
            .iter()
            .map(|segment| (segment.control.seq, segment.length))
            .collect();
        assert_eq!(holes, [(at(0), 1000), (at(3), 1000)], "probed: {probed}");
    }
}

/// RFC 1191 §6.5: what was too long is sent again in pieces that fit, and nothing longer follows.
#[test]
fn a_smaller_path_resends_what_was_too_long() {
    let mut peer = Peer::established();
    peer.write(3000);
    assert_eq!(lengths(&peer.drain()), [1000; 3]);
    peer.connection.shrink_mss(560);
    let again = peer.drain();
    assert_eq!(lengths(&again), [560, 440, 560, 440, 560, 440]);
    let whole: Vec<u8> = again
        .iter()
        .flat_map(|segment| segment.payload.concat())
        .collect();
    assert_eq!(whole, octets(1, 0, 3000));
    peer.connection.shrink_mss(0);
    peer.write(1000);
    let least = peer.drain();
    assert!(
        least
            .iter()
            .all(|segment| (1..=48).contains(&segment.length))
            && !least.is_empty()
    );
}

/// RFC 9293 §3.7.1: a peer's absurd MSS is survived.
#[test]
fn an_absurd_mss_is_survived() {
    for mss in [0, 1, 9, 65_535] {
        let mut peer = Peer::accepted(
            &Config::default(),
            Options {
                mss: Some(mss),
                ..stamped()
            },
        );
        peer.write(3000);
        let sent = peer.drain();
        assert!(
            !sent.is_empty()
                && sent
                    .iter()
                    .all(|segment| (8..=1460).contains(&segment.length)),
            "{mss}"
        );
    }
}

/// RFC 5927 §4.1.
#[test]
fn only_what_is_in_flight_is_covered() {
    let mut peer = Peer::established();
    assert!(!peer.connection.covers(peer.ack));
    peer.write(100);
    peer.only();
    for (offset, covered) in [
        (-1i32 as usize, false),
        (0, true),
        (99, true),
        (100, false),
        (0x1000_0000, false),
    ] {
        assert_eq!(
            peer.connection.covers(peer.ack + offset),
            covered,
            "{offset}"
        );
    }
}

// --- Timers ------------------------------------------------------------------------------------------------------------------

/// RFC 9293 §3.8.4.
#[test]
fn keep_alives_ask_a_silent_peer_and_give_up() {
    let second = Duration::from_secs(1);
    let keepalive = KeepAlive {
        idle: 5 * second,
        interval: second,
        count: 3,
    };
    let mut peer = Peer::accepted(
        &Config {
            keepalive: Some(keepalive),
            ..Config::default()
        },
        offer(),
    );
    assert_eq!(peer.expire(), 5 * second);
    let probe = peer.only();
    assert_eq!((probe.control.seq, probe.length), (peer.ack.back(1), 0));
    peer.acknowledge(); // it lives
    peer.quiet();
    let heard = peer.now;
    while peer.drain().is_empty() {
        peer.expire();
    }
    assert_eq!(peer.now - heard, 5 * second);
    for _ in 0..2 {
        assert_eq!(peer.expire(), second);
        assert_eq!(peer.drain().len(), 1);
    }
    peer.expire();
    assert_eq!(peer.connection.error(), Some(Error::TimedOut));
    assert!(peer.only().control.flags.contains(Flags::RST));
    assert!(peer.connection.is_finished());
}

/// RFC 9293 §3.8.4: a peer's own probes are answered, with or without a garbage octet.
#[test]
fn a_peers_keep_alive_is_answered() {
    let mut peer = Peer::established();
    for len in [0, 1] {
        peer.inject(
            Control {
                seq: peer.seq.back(1),
                ..peer.control(Flags::ACK)
            },
            octets(9, 0, len),
        );
        peer.acknowledged();
    }
    assert_eq!(peer.connection.readable(), 0);
}

/// RFC 9293 §3.8.3, RFC 5482.
#[test]
fn the_user_timeout_bounds_unacknowledged_data() {
    let mut peer = Peer::established();
    let now = peer.now;
    peer.connection
        .set_user_timeout(now, Some(Duration::from_secs(2)));
    peer.write(4);
    let data = peer.only();
    peer.take(&data);
    peer.acknowledge();
    peer.quiet();
    peer.pass(Duration::from_secs(10));
    assert_eq!(peer.connection.error(), None);
    peer.write(4);
    let start = peer.now;
    while peer.connection.error().is_none() {
        peer.drain();
        peer.expire();
    }
    assert_eq!(
        (peer.connection.error(), peer.now - start),
        (Some(Error::TimedOut), Duration::from_secs(2))
    );
}

// --- Closing -----------------------------------------------------------------------------------------------------------------

/// RFC 9293 §3.6: data goes on one way after a FIN the other way.
#[test]
fn a_half_closed_connection_still_carries_data() {
    let mut peer = Peer::established();
    peer.send(Flags::FIN, octets(0, 0, 5));
    peer.acknowledged();
    assert!(peer.connection.is_read_closed());
    peer.write(2500);
    for segment in peer.drain() {
        peer.take(&segment);
    }
    peer.acknowledge();
    let rest = peer.only();
    peer.take(&rest);
    peer.connection.shutdown();
    assert_eq!(peer.connection.state(), State::LastAck);
    let fin = peer.only();
    assert!(fin.control.flags.contains(Flags::FIN));
    peer.take(&fin);
    peer.acknowledge();
    assert_eq!(peer.connection.state(), State::Closed);
    assert_eq!(
        (peer.connection.readable(), peer.connection.error()),
        (5, None)
    );
    assert!(peer.connection.take_ready().contains(Ready::CLOSED));
}

/// RFC 9293 §3.10.4: the FIN is behind everything written, and is sent again until acknowledged.
#[test]
fn closing_sends_everything_and_then_the_fin() {
    let mut peer = Peer::established();
    peer.write(2500);
    peer.connection.shutdown();
    assert_eq!(peer.connection.state(), State::FinWait1);
    let flight = peer.drain();
    assert_eq!(lengths(&flight), [1000, 1000, 500]);
    assert!(flight[2].control.flags.contains(Flags::FIN | Flags::PSH));
    flight.iter().take(2).for_each(|segment| peer.take(segment));
    peer.acknowledge();
    loop {
        peer.expire();
        if let [again, ..] = &peer.drain()[..] {
            assert_eq!((again.control.seq, again.length), (peer.ack, 500));
            assert!(again.control.flags.contains(Flags::FIN));
            peer.take(again);
            break;
        }
    }
    peer.acknowledge();
    assert_eq!(peer.connection.state(), State::FinWait2);
    peer.send(Flags::FIN, Bytes::new());
    assert_eq!(peer.connection.state(), State::TimeWait);
    peer.acknowledged();
    assert!(peer.connection.time_wait().is_some() && !peer.connection.is_finished());
    peer.expire();
    assert!(peer.connection.is_finished());
}

/// RFC 9293 §3.6, figure 13.
#[test]
fn crossing_fins_go_through_closing() {
    let mut peer = Peer::established();
    peer.connection.shutdown();
    let fin = peer.only();
    peer.send(Flags::FIN, Bytes::new()); // does not acknowledge ours
    assert_eq!(peer.connection.state(), State::Closing);
    assert_eq!(peer.only().control.ack, peer.seq);
    peer.expire();
    assert_eq!(peer.only().control.seq, fin.control.seq);
    peer.take(&fin);
    peer.acknowledge();
    assert_eq!(peer.connection.state(), State::TimeWait);
}

/// RFC 9293 §3.10.7.4, eighth: a FIN counts when everything before it has come.
#[test]
fn a_fin_waits_for_the_gap_before_it() {
    let mut peer = Peer::established();
    let fin = Control {
        seq: peer.seq + 100,
        ..peer.control(Flags::ACK | Flags::FIN)
    };
    peer.inject(fin, octets(0, 100, 50));
    peer.drain();
    assert_eq!(peer.connection.state(), State::Established);
    peer.send_data(100);
    assert_eq!(peer.connection.state(), State::CloseWait);
    assert_eq!(peer.only().control.ack, peer.seq + 51);
    assert_eq!(text(&peer), octets(0, 0, 150));
    peer.inject(fin, octets(0, 100, 50)); // and once more
    assert_eq!(peer.only().control.ack, peer.seq + 51);
}

/// RFC 1122 §4.2.2.13.
#[test]
fn closing_with_unread_data_resets() {
    let mut peer = Peer::established();
    peer.send_data(10);
    peer.acknowledged();
    let now = peer.now;
    peer.connection.close(now);
    let reset = peer.only().control;
    assert!(reset.flags.contains(Flags::RST));
    assert_eq!(reset.seq, peer.ack);
    assert!(peer.connection.is_finished());
}

/// RFC 1122 §4.2.2.13: data for a program that has gone is answered by a reset; without any, the wait for the FIN is bounded.
#[test]
fn after_close_nothing_is_taken_any_more() {
    for data in [true, false] {
        let mut peer = Peer::established();
        let now = peer.now;
        peer.connection.close(now);
        let fin = peer.only();
        peer.take(&fin);
        peer.acknowledge();
        assert_eq!(peer.connection.state(), State::FinWait2);
        if data {
            peer.send_data(5);
            assert!(peer.only().control.flags.contains(Flags::RST));
        } else {
            assert_eq!(peer.expire(), Config::default().fin_wait);
        }
        assert!(peer.connection.is_finished());
    }
}

/// RFC 6429 §3: a closed window holds an abandoned connection only so long.
#[test]
fn a_closed_window_does_not_keep_an_abandoned_connection() {
    let mut peer = Peer::established();
    peer.window = 0;
    peer.acknowledge();
    peer.write(300);
    let now = peer.now;
    peer.connection.close(now);
    peer.quiet();
    let start = peer.now;
    while peer.connection.state() != State::Closed {
        assert!(peer.now - start < Duration::from_secs(600));
        peer.acknowledge();
        peer.quiet();
        peer.expire();
        assert_eq!(peer.drain().len(), 1);
    }
    assert_eq!(peer.connection.error(), Some(Error::Aborted));
}

/// RFC 9293 §3.10.5.
#[test]
fn abort_resets_and_forgets() {
    let mut peer = Peer::established();
    peer.write(100);
    let now = peer.now;
    peer.connection.abort(now);
    assert!(peer.only().control.flags.contains(Flags::RST));
    assert_eq!(peer.connection.error(), Some(Error::Aborted));
    assert!(peer.connection.is_finished());
}

/// Room comes back in useful portions.
#[test]
fn a_writer_is_woken_when_half_of_the_buffer_is_free() {
    let config = Config {
        send_initial: 20_000,
        send_max: 20_000,
        ..Config::default()
    };
    let mut peer = Peer::accepted(&config, offer());
    peer.connection.take_ready();
    assert_eq!(peer.connection.write(octets(1, 0, 30_000)), Ok(20_000));
    assert_eq!(peer.connection.room(), 0);
    let mut woken_at = None;
    while woken_at.is_none() {
        for segment in peer.drain() {
            peer.take(&segment);
            peer.acknowledge();
            if peer.connection.take_ready().contains(Ready::WRITABLE) {
                woken_at.get_or_insert(peer.connection.room());
            }
        }
    }
    assert_eq!(woken_at, Some(10_000));
}

/// RFC 4987 §3.6: a handshake remembered in a cookie.
#[test]
fn a_connection_can_begin_after_its_handshake() {
    let handshake = crate::tcp::Handshake {
        peer_isn: SeqNum::new(PEER_ISN),
        peer_mss: Some(1000),
        peer_window_scale: Some(2),
        sack: true,
        timestamp: None,
        window: 2500,
    };
    let (mut peer, _) = Peer::half_open(&Config::default(), offer());
    let now = peer.now;
    peer.connection =
        crate::tcp::Connection::resume(now, &Arc::default(), &super::pair::setup(ISN), &handshake);
    assert_eq!(peer.connection.state(), State::Established);
    peer.limits = Limits {
        mss: 1460,
        offload: None,
    };
    peer.write(20_000);
    assert_eq!(lengths(&peer.drain()), [1000; 10]);
    peer.send_data(100);
    assert_eq!(peer.connection.readable(), 100);
}

/// RFC 1122 §4.2.3.9, RFC 5461 §4: a soft error ends nothing; if nothing else comes, it is why the connection failed.
#[test]
fn a_peer_that_cannot_be_reached_is_tried_on_and_then_called_that() {
    for doubted in [false, true] {
        let (mut peer, _) = Peer::dialled(&Config::default());
        if doubted {
            peer.connection.doubt();
        }
        while peer.connection.state() == State::SynSent {
            peer.expire();
            peer.drain();
        }
        let expected = match doubted {
            true => Error::Unreachable,
            false => Error::TimedOut,
        };
        assert_eq!(peer.connection.error(), Some(expected));
    }
    // Whatever is acknowledged afterwards says that it was nothing.
    let mut peer = Peer::established();
    peer.write(100);
    peer.connection.doubt();
    let said = peer.only();
    peer.take(&said);
    peer.acknowledge();
    peer.write(100);
    peer.drain();
    while peer.connection.state() == State::Established {
        peer.expire();
        peer.drain();
    }
    assert_eq!(peer.connection.error(), Some(Error::TimedOut));
}
