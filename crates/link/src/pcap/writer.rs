//! pcapng, written: one section, one interface, a block for each frame.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use super::{Direction, ETHERNET, ORDER_MAGIC, Packet, kind, option};

/// Writes a pcapng file of one interface, block by block.
///
/// Each method writes one block, in several small pieces: a file wants a [`BufWriter`](io::BufWriter).
///
/// ```
/// use std::time::Duration;
/// use wharf_link::pcap::{Direction, Packet, Reader, Writer};
///
/// # fn main() -> std::io::Result<()> {
/// let packet = Packet {
///     time: Duration::from_secs(1_700_000_000),
///     direction: Some(Direction::Inbound),
///     frame: vec![0; 60],
///     comment: Some("curl".into()),
/// };
/// let mut writer = Writer::begin(Vec::new())?;
/// writer.packet(&packet)?;
/// let file = writer.into_inner();
/// assert_eq!(Reader::open(&file[..])?.read()?, Some(packet));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// Those of the output, here and with each block.
    pub fn begin(mut output: W) -> io::Result<Self> {
        begin(&mut output)?;
        Ok(Self { output })
    }

    /// A frame. A comment longer than 65,535 bytes is left out.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn packet(&mut self, passed: &Packet) -> io::Result<()> {
        let comment = passed.comment.as_deref();
        let comment = comment.filter(|text| text.len() <= u16::MAX.into());
        packet(
            &mut self.output,
            passed.time,
            passed.direction,
            &passed.frame,
            comment,
        )
    }

    /// What addresses are called, for whoever shows the file: a name resolution block. A name longer than 255 bytes is passed
    /// over.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn names<'a>(
        &mut self,
        names: impl IntoIterator<Item = (IpAddr, &'a str)>,
    ) -> io::Result<()> {
        let mut body = Vec::new();
        for (address, name) in names {
            if name.len() > 255 {
                continue;
            }
            let (code, mut record) = match address {
                IpAddr::V4(v4) => (1, v4.octets().to_vec()),
                IpAddr::V6(v6) => (2, v6.octets().to_vec()),
            };
            record.extend_from_slice(name.as_bytes());
            record.push(0);
            add_option(&mut body, code, &record);
        }
        end_options(&mut body);
        block(&mut self.output, kind::NAMES, &body)
    }

    /// How many frames there were to be written, and how many of these are missing, up to this time since 1970: an interface
    /// statistics block.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn statistics(&mut self, time: Duration, frames: u64, missing: u64) -> io::Result<()> {
        let mut body = vec![0; 4]; // the first interface
        add_time(&mut body, time);
        add_option(&mut body, option::RECEIVED, &frames.to_le_bytes());
        add_option(&mut body, option::DROPPED, &missing.to_le_bytes());
        end_options(&mut body);
        block(&mut self.output, kind::STATISTICS, &body)
    }

    /// The output, to be flushed or emptied between two blocks.
    pub fn output(&mut self) -> &mut W {
        &mut self.output
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.output
    }
}

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
    direction: Option<Direction>,
    frame: &[u8],
    comment: Option<&str>,
) -> io::Result<()> {
    let length = (frame.len() as u32).to_le_bytes();
    let mut body = Vec::with_capacity(frame.len() + 64);
    body.extend_from_slice(&[0; 4]); // the first interface
    add_time(&mut body, time);
    body.extend_from_slice(&length);
    body.extend_from_slice(&length);
    body.extend_from_slice(frame);
    pad(&mut body);
    let flags = direction.map(|direction| match direction {
        Direction::Inbound => 1_u32,
        Direction::Outbound => 2,
    });
    if let Some(flags) = flags {
        add_option(&mut body, option::FLAGS, &flags.to_le_bytes());
    }
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

/// A timestamp: its upper half first.
fn add_time(body: &mut Vec<u8>, time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    body.extend_from_slice(&((nanoseconds >> 32) as u32).to_le_bytes());
    body.extend_from_slice(&(nanoseconds as u32).to_le_bytes());
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
