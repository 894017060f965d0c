//! What a peer of a QEMU link writes, in pieces of any size.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;

use wharf_link::{FRAME_CAPACITY, HEADER, Slots, qemu};

/// Writes what follows the first octet, in pieces whose sizes that says, and compares what is received with what a reader of
/// the whole would find; how many frames that is.
pub(crate) fn play(octets: &[u8]) -> usize {
    let Some((first, octets)) = octets.split_first() else {
        return 0;
    };
    let (here, mut there) = UnixStream::pair().expect("a pair of sockets");
    let mut link = qemu::Stream::new(here, 1500).expect("it can be made nonblocking");
    let mut slots = Slots::default();
    let (expected, end) = read_whole(octets);
    let mut expected = expected.into_iter();
    let mut count = 0;
    for piece in octets.chunks(1 + usize::from(*first) * usize::from(*first) / 4) {
        if there.write_all(piece).is_err() {
            break;
        }
        loop {
            match slots.receive(&mut link) {
                Ok(frame) => {
                    assert_eq!(frame[..HEADER], [0; HEADER]);
                    assert_eq!(Some(&frame[HEADER..]), expected.next());
                    count += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    assert_eq!((error.kind(), end), (ErrorKind::InvalidData, End::Garbage));
                    assert_eq!(expected.next(), None);
                    return count;
                }
            }
        }
    }
    assert_eq!((expected.next(), end), (None, End::Open));
    count
}

/// Whether a stream can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Garbage,
}

/// The frames in a stream, found the simplest way.
fn read_whole(mut octets: &[u8]) -> (Vec<&[u8]>, End) {
    let mut frames = Vec::new();
    while let Some((prefix, rest)) = octets.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*prefix) as usize;
        if length >= qemu::ABSURD {
            return (frames, End::Garbage);
        }
        let Some((frame, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if length <= FRAME_CAPACITY - HEADER {
            frames.push(frame);
        }
        octets = rest;
    }
    (frames, End::Open)
}
