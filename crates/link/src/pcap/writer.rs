//! pcapng, written: one section, one interface, a block for each frame.

use std::io::{self, Write};
use std::time::Duration;

use super::{Direction, ETHERNET, ORDER_MAGIC, kind, option};

/// Decimal digits of a second in timestamps.
const NANOSECONDS: u8 = 9;

/// What a file begins with.
pub(super) fn begin(output: &mut impl Write) -> io::Result<()> {
    let mut section = Vec::new();
    section.extend_from_slice(&ORDER_MAGIC.to_le_bytes());
    section.extend_from_slice(&[1, 0, 0, 0]); // version 1.0
    section.extend_from_slice(&u64::MAX.to_le_bytes()); // of unknown length
    block(output, kind::SECTION, &section)?;

    let mut interface = Vec::new();
    interface.extend_from_slice(&(ETHERNET as u16).to_le_bytes());
    interface.extend_from_slice(&[0; 2]);
    interface.extend_from_slice(&[0; 4]); // frames are not cut
    add_option(&mut interface, option::RESOLUTION, &[NANOSECONDS]);
    end_options(&mut interface);
    block(output, kind::INTERFACE, &interface)
}

/// A frame that passed at `time`, since 1970.
pub(super) fn packet(
    output: &mut impl Write,
    time: Duration,
    direction: Direction,
    frame: &[u8],
    comment: Option<&str>,
) -> io::Result<()> {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let length = (frame.len() as u32).to_le_bytes();
    let mut body = Vec::with_capacity(frame.len() + 64);
    body.extend_from_slice(&[0; 4]); // the first interface
    body.extend_from_slice(&((nanoseconds >> 32) as u32).to_le_bytes());
    body.extend_from_slice(&(nanoseconds as u32).to_le_bytes());
    body.extend_from_slice(&length);
    body.extend_from_slice(&length);
    body.extend_from_slice(frame);
    pad(&mut body);
    let flags = match direction {
        Direction::Inbound => 1_u32,
        Direction::Outbound => 2,
    };
    add_option(&mut body, option::FLAGS, &flags.to_le_bytes());
    if let Some(comment) = comment {
        add_option(&mut body, option::COMMENT, comment.as_bytes());
    }
    end_options(&mut body);
    block(output, kind::ENHANCED, &body)
}

fn block(output: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    output.write_all(&kind.to_le_bytes())?;
    output.write_all(&length)?;
    output.write_all(body)?;
    output.write_all(&length)
}

fn add_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

fn end_options(body: &mut Vec<u8>) {
    body.extend_from_slice(&[0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
