//! Recordings of ours, of others, and of nobody: what is written is read, and what is not one is refused.

use std::io::{ErrorKind, IoSlice, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;

use super::{Direction, MAX_INTERFACES, Pace, Packet, Reader, Recorded, Replay, Writer};
use crate::{Capabilities, HEADER, Link, memory};

const START: Duration = Duration::from_secs(1_700_000_000);

fn read(file: &[u8]) -> Result<Vec<Packet>, ErrorKind> {
    let mut reader = Reader::open(file).map_err(|error| error.kind())?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.read().map_err(|error| error.kind())? {
        packets.push(packet);
    }
    Ok(packets)
}

/// A UDP datagram from 10.0.0.1 to 10.0.0.2, its checksum partial, behind a virtio header.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut frame = vec![1, 0, 42, 0, 0, 0, 34, 0, 6, 0, 0, 0];
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
    frame.extend_from_slice(&(20 + length).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 0, 64, 17]);
    let mut addresses = vec![10, 0, 0, 1, 10, 0, 0, 2];
    let header_sum = !super::recorded::fold(&[&frame[HEADER + 14..], &[0, 0], &addresses].concat());
    frame.extend_from_slice(&header_sum.to_be_bytes());
    frame.extend_from_slice(&addresses);
    addresses.extend_from_slice(&[0, 17]);
    addresses.extend_from_slice(&length.to_be_bytes());
    let partial = super::recorded::fold(&addresses);
    for field in [5000, 53, length, partial] {
        frame.extend_from_slice(&u16::to_be_bytes(field));
    }
    frame.extend_from_slice(payload);
    frame
}

/// Three frames out, one of them a train, and one in.
fn recording() -> Vec<u8> {
    let (here, mut there) = memory::pair(8, 1500, Capabilities::ALL);
    let start = SystemTime::UNIX_EPOCH + START;
    let mut here = Recorded::new(here, Vec::new(), start);
    let mut train = datagram(&[7; 3000]);
    train[1] = 5;
    train[4..6].copy_from_slice(&1000_u16.to_le_bytes());
    for (index, frame) in [datagram(b"question"), datagram(b"odd"), train]
        .iter()
        .enumerate()
    {
        here.advance(Duration::from_millis(10 * index as u64));
        let (head, body) = frame.split_at(HEADER + 20);
        here.send(&[IoSlice::new(head), IoSlice::new(body)])
            .unwrap();
    }
    there.send(&[IoSlice::new(&datagram(b"answer"))]).unwrap();
    let mut buffer = BytesMut::from(&b"what was there before"[..]);
    here.receive(&mut buffer).unwrap();
    // The receiver's copy is as it was.
    assert!(buffer.ends_with(&datagram(b"answer")));
    here.finish().1.unwrap()
}

#[test]
fn what_passes_is_written_down_with_its_time_and_direction() {
    let packets = read(&recording()).unwrap();
    let seen: Vec<_> = packets
        .iter()
        .map(|packet| {
            let time = packet.time - START;
            (time.as_millis(), packet.direction, packet.frame.len())
        })
        .collect();
    let (out, inward) = (Some(Direction::Outbound), Some(Direction::Inbound));
    assert_eq!(
        seen,
        [
            (0, out, 50),
            (10, out, 45),
            (20, out, 3042),
            (20, inward, 48)
        ]
    );
    for packet in packets {
        // Over the pseudo header and everything behind the IP header: what is complete sums up to ones.
        let frame = &packet.frame;
        let udp = frame.len() as u16 - 34;
        let pseudo = [&frame[26..34], &[0, 17], &udp.to_be_bytes(), &frame[34..]].concat();
        assert_eq!(super::recorded::fold(&pseudo), 0xffff);
    }
}

/// Others read it too, and find every checksum correct.
#[test]
fn tcpdump_reads_what_was_recorded() {
    let tcpdump = Command::new("tcpdump")
        .args(["-r", "-", "-nvv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tcpdump) = tcpdump else {
        eprintln!("skipped: there is no tcpdump here");
        return;
    };
    tcpdump
        .stdin
        .take()
        .unwrap()
        .write_all(&recording())
        .unwrap();
    let output = tcpdump.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said.matches("udp sum ok").count(), 4, "{said}");
}

#[test]
fn a_recording_that_cannot_be_written_leaves_the_link_alone() {
    let (here, mut there) = memory::pair(8, 1500, Capabilities::ALL);
    let mut full = [0; 100];
    let mut here = Recorded::new(here, &mut full[..], SystemTime::UNIX_EPOCH);
    for _ in 0..3 {
        here.send(&[IoSlice::new(&datagram(b"on it goes"))])
            .unwrap();
        there.receive(&mut BytesMut::new()).unwrap();
    }
    assert_eq!(here.finish().1.unwrap_err().kind(), ErrorKind::WriteZero);
}

/// A pcap file of one packet, one and a half seconds after 1970.
fn classic(magic: u32, order: fn(u32) -> [u8; 4], fraction: u32) -> Vec<u8> {
    let words = [magic, 0, 0, 0, 65_535, 1, 1, fraction, 5, 60];
    let mut file: Vec<u8> = words.into_iter().flat_map(order).collect();
    file.extend_from_slice(b"frame");
    file
}

#[test]
fn the_older_format_is_read_in_either_order_and_unit() {
    for order in [u32::to_le_bytes, u32::to_be_bytes] {
        for (magic, fraction) in [(0xa1b2_c3d4, 500_000), (0xa1b2_3c4d, 500_000_000)] {
            let packets = read(&classic(magic, order, fraction)).unwrap();
            let expected = Packet {
                time: Duration::from_millis(1500),
                direction: None,
                frame: b"frame".to_vec(),
                comment: None,
            };
            assert_eq!(packets, [expected]);
        }
    }
}

/// A pcapng block, big-endian.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_be_bytes();
    [&kind.to_be_bytes(), &length, body, &length].concat()
}

fn section() -> Vec<u8> {
    block(
        0x0a0d_0d0a,
        &[&[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0][..], &[0xff; 8]].concat(),
    )
}

/// Ethernet, frames cut to eight bytes; with the given options.
fn interface(options: &[u8]) -> Vec<u8> {
    block(1, &[&[0, 1, 0, 0, 0, 0, 0, 8][..], options].concat())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn every_kind_of_packet_is_read_and_other_blocks_are_passed_over() {
    let enhanced = [words(&[1, 0, 3 << 10, 3, 3]), b"one\0".to_vec()].concat();
    let obsolete = [words(&[0, 0, 2_000_000, 3, 3]), b"two\0".to_vec()].concat();
    let simple = [words(&[100]), b"cut off.".to_vec()].concat();
    // Two to the minus ten, ten seconds late; zero ends the options.
    let odd_units = [
        &[0, 9, 0, 1, 0x8a, 0, 0, 0, 0, 14, 0, 8][..],
        &words(&[0, 10]),
    ]
    .concat();
    let file = [
        section(),
        interface(&[]),
        interface(&odd_units),
        block(0x0bad, &[1; 400_000]),
        block(6, &enhanced),
        section(),
        interface(&[]),
        block(2, &obsolete),
        block(3, &simple),
    ]
    .concat();
    let seen: Vec<_> = read(&file)
        .unwrap()
        .into_iter()
        .map(|packet| (packet.time.as_secs(), packet.frame))
        .collect();
    let expected = [(13, &b"one"[..]), (2, b"two"), (2, b"cut off.")];
    assert!(
        seen.iter()
            .map(|(time, frame)| (*time, &frame[..]))
            .eq(expected),
        "{seen:?}"
    );
}

#[test]
fn what_is_no_recording_is_refused() {
    let start = || [section(), interface(&[])].concat();
    let with = |block: Vec<u8>| [start(), block].concat();
    let mut odd_ends = start();
    *odd_ends.last_mut().unwrap() += 4;
    let radio = block(1, &[0, 105, 0, 0, 0, 0, 0, 0]);
    let mut radio_classic = classic(0xa1b2_c3d4, u32::to_be_bytes, 0);
    radio_classic[23] = 105;
    let mut huge_classic = classic(0xa1b2_c3d4, u32::to_be_bytes, 0);
    huge_classic[32] = 0x7f;
    let mut version = section();
    version[13] = 9;
    let packet = |words_: &[u32]| block(6, &words(words_));
    for (file, kind) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), ErrorKind::InvalidData),
        (Vec::new(), ErrorKind::UnexpectedEof),
        (odd_ends, ErrorKind::InvalidData),
        (version, ErrorKind::InvalidData),
        (radio_classic, ErrorKind::InvalidData),
        (huge_classic, ErrorKind::InvalidData),
        // Its first packet tells that it is of no link that is understood.
        (
            [section(), radio, packet(&[0, 0, 0, 0, 0])].concat(),
            ErrorKind::InvalidData,
        ),
        // Of an interface that there isn't, longer than its block, and a block that can't be.
        (with(packet(&[1, 0, 0, 0, 0])), ErrorKind::InvalidData),
        (with(packet(&[0, 0, 0, 1, 1])), ErrorKind::InvalidData),
        (
            with(packet(&[0, 0, 0, u32::MAX, 0])),
            ErrorKind::InvalidData,
        ),
        (with(words(&[6, 13])), ErrorKind::InvalidData),
        (with(words(&[6, 8])), ErrorKind::InvalidData),
        (with(words(&[6, 0xffff_fffc])), ErrorKind::InvalidData),
        // A block that would be passed over, if it were there.
        (
            with(words(&[0x0bad, 0xffff_fffc])),
            ErrorKind::UnexpectedEof,
        ),
        (
            with(interface(&[]).repeat(MAX_INTERFACES)),
            ErrorKind::InvalidData,
        ),
    ] {
        assert_eq!(
            read(&file).map(drop),
            Err(kind),
            "{:02x?}",
            &file[..file.len().min(80)]
        );
    }
}

#[test]
fn no_cut_and_no_changed_byte_does_harm() {
    let files = [
        recording(),
        classic(0xa1b2_c3d4, u32::to_be_bytes, 7),
        [
            section(),
            interface(&[0, 9, 0, 1, 0xff, 0, 0, 0]),
            block(3, &words(&[4, 0])),
        ]
        .concat(),
    ];
    for file in files {
        let whole = read(&file).unwrap().len();
        for end in 0..file.len() {
            if let Ok(packets) = read(&file[..end]) {
                assert!(packets.len() <= whole);
            }
        }
        let mut changed = file.clone();
        for at in 0..file.len().min(400) {
            for value in [0, 1, 0x7f, 0x80, 0xff, file[at] ^ 4] {
                changed[at] = value;
                for packet in read(&changed).unwrap_or_default() {
                    assert!(packet.frame.len() <= file.len());
                }
            }
            changed[at] = file[at];
        }
    }
}

fn hear(link: &mut impl Link) -> Result<usize, ErrorKind> {
    let mut buffer = BytesMut::new();
    let count = link.receive(&mut buffer).map_err(|error| error.kind())?;
    assert_eq!(buffer[..HEADER], [0; HEADER]);
    Ok(count - HEADER)
}

#[test]
fn a_replay_keeps_the_pauses_or_does_without() {
    let record = |time: [u32; 2], length: u32| {
        let frame = vec![0; length as usize];
        [words(&[time[0], time[1], length, length]), frame].concat()
    };
    let header = &classic(0xa1b2_c3d4, u32::to_be_bytes, 0)[..24];
    let file = [
        header.to_vec(),
        record([9, 0], 60),
        record([9, 250_000], 61),
        // Clocks go backwards at times.
        record([8, 0], 62),
        record([10, 0], 100_000),
    ]
    .concat();
    let mut link = Replay::open(&file[..], Pace::AtOnce, 1500).unwrap();
    let heard: Vec<_> = (0..4).map(|_| hear(&mut link).unwrap()).collect();
    assert_eq!(heard, [60, 61, 62, crate::FRAME_CAPACITY - HEADER]);
    assert_eq!(hear(&mut link), Err(ErrorKind::WouldBlock));

    let mut link = Replay::open(&file[..], Pace::AsRecorded, 1500).unwrap();
    assert_eq!(hear(&mut link), Ok(60));
    assert_eq!(hear(&mut link), Err(ErrorKind::WouldBlock));
    assert_eq!(link.deadline(), Some(Duration::from_millis(250)));
    link.advance(Duration::from_millis(249));
    assert_eq!(hear(&mut link), Err(ErrorKind::WouldBlock));
    link.advance(Duration::from_millis(250));
    assert_eq!((hear(&mut link), hear(&mut link)), (Ok(61), Ok(62)));
    assert_eq!(hear(&mut link), Err(ErrorKind::WouldBlock));
    assert_eq!(link.deadline(), Some(Duration::from_secs(1)));
    link.advance(Duration::from_secs(1));
    assert!(hear(&mut link).is_ok());
    assert_eq!(
        (hear(&mut link), link.deadline()),
        (Err(ErrorKind::WouldBlock), None)
    );
}

#[test]
fn a_replay_has_what_came_in_and_ends_where_the_file_is_damaged() {
    let mut file = recording();
    file.extend_from_slice(&[6, 0, 0, 0, 1]);
    let mut link = Replay::open(&file[..], Pace::AtOnce, 1500).unwrap();
    assert_eq!(hear(&mut link), Ok(48));
    assert_eq!(hear(&mut link), Err(ErrorKind::UnexpectedEof));
    link.send(&[IoSlice::new(&datagram(b"to nobody"))]).unwrap();
}

#[test]
fn a_file_that_is_written_block_by_block_has_names_comments_and_statistics() {
    let packet = |direction, comment: Option<&str>| Packet {
        time: START,
        direction,
        frame: vec![1, 2, 3],
        comment: comment.map(str::to_owned),
    };
    let packets = [
        packet(Some(Direction::Inbound), Some("curl (pid 7)")),
        packet(Some(Direction::Outbound), None),
        packet(None, Some("")),
    ];
    let mut writer = Writer::begin(Vec::new()).unwrap();
    let names = [
        ([10, 77, 1, 2].into(), "shop.internal"),
        (std::net::Ipv6Addr::LOCALHOST.into(), "local"),
    ];
    writer.names(names).unwrap();
    for packet in &packets {
        writer.packet(packet).unwrap();
    }
    writer
        .packet(&packet(None, Some(&"x".repeat(70_000))))
        .unwrap();
    writer.statistics(START, 9, 6).unwrap();
    let file = writer.into_inner();
    let read = read(&file).unwrap();
    assert_eq!(read[..3], packets);
    assert_eq!(read[3], packet(None, None));
    let holds = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    // Records of the types 1 and 2, as long as address and name, which ends with a zero.
    assert!(holds(b"\x01\0\x12\0\x0a\x4d\x01\x02shop.internal\0"));
    assert!(holds(
        b"\x02\0\x16\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01local\0"
    ));
    // The statistics, at the very end: options 4 and 5 of 8 bytes each, and the length of the block, 52.
    assert!(file.ends_with(
        b"\x04\0\x08\0\x09\0\0\0\0\0\0\0\x05\0\x08\0\x06\0\0\0\0\0\0\0\0\0\0\0\x34\0\0\0"
    ));
}
