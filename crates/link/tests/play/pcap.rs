//! Recordings: arbitrary files, and such as begin well.

use std::io::{self, ErrorKind, Read};

use wharf_link::pcap::{MAX_PACKET, Packet, Reader};

/// A pcap header of Ethernet, either order; a pcapng section with one Ethernet interface.
const BEGINNINGS: [&[u8]; 4] = [
    &[],
    b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0",
    b"\xa1\xb2\xc3\xd4\0\x02\0\x04\0\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\x01",
    b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0\
      \x01\0\0\0\x14\0\0\0\x01\0\0\0\0\0\0\0\x14\0\0\0",
];

/// Reads what follows the first octet, behind the beginning that it chooses; how many packets there are.
pub(crate) fn play(octets: &[u8]) -> usize {
    let Some((first, rest)) = octets.split_first() else {
        return 0;
    };
    let file = [BEGINNINGS[usize::from(first % 4)], rest].concat();
    let read = packets(&file[..]);
    assert!(read.0.len() <= file.len(), "packets from nowhere");
    assert!(read.0.iter().all(|packet| packet.frame.len() <= MAX_PACKET));
    assert_eq!(packets(Trickle(&file)), read, "a slow file is another");
    read.0.len()
}

/// What can be read, and how that ends.
fn packets(input: impl Read) -> (Vec<Packet>, Option<ErrorKind>) {
    let mut packets = Vec::new();
    let mut reader = match Reader::open(input) {
        Ok(reader) => reader,
        Err(error) => return (packets, Some(error.kind())),
    };
    loop {
        match reader.read() {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => return (packets, None),
            Err(error) => return (packets, Some(error.kind())),
        }
    }
}

/// A file of which one octet comes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}
