//! Recordings, read packet by packet.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use super::blocks::{Fields, Interface, Order};
use super::{ETHERNET, MAX_INTERFACES, MAX_PACKET, ORDER_MAGIC, Packet, kind};

/// Reads a pcap or pcapng file.
///
/// ```no_run
/// use std::fs::File;
/// use std::io::BufReader;
/// use wharf_link::pcap::Reader;
///
/// # fn main() -> std::io::Result<()> {
/// let mut reader = Reader::open(BufReader::new(File::open("seen.pcapng")?))?;
/// while let Some(packet) = reader.read()? {
///     println!("{:?}: {} bytes", packet.time, packet.frame.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    order: Order,
    format: Format,
    body: Vec<u8>,
    /// When the last packet passed: what has no time of its own has this.
    time: Duration,
}

#[derive(Debug)]
enum Format {
    /// pcap; a timestamp's fraction counts so many nanoseconds.
    Classic { unit: u32 },
    /// pcapng, and the interfaces of the section.
    Blocks { interfaces: Vec<Interface> },
}

impl<R: Read> Reader<R> {
    /// Begins to read. Many small reads follow: a file wants a [`BufReader`](io::BufReader).
    ///
    /// # Errors
    ///
    /// - [`InvalidData`](ErrorKind::InvalidData): neither pcap nor pcapng, or of links that are not Ethernet;
    /// - [`UnexpectedEof`](ErrorKind::UnexpectedEof): it ends within its first header;
    /// - those of the input.
    pub fn open(mut input: R) -> io::Result<Self> {
        let magic: [u8; 4] = array(&mut input)?;
        let (order, format) = match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                let order = section(&mut input)?;
                let interfaces = Vec::new();
                (order, Format::Blocks { interfaces })
            }
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, Format::Classic { unit: 1000 }),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, Format::Classic { unit: 1000 }),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, Format::Classic { unit: 1 }),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, Format::Classic { unit: 1 }),
            _ => return Err(invalid("it is neither pcap nor pcapng")),
        };
        if let Format::Classic { .. } = format {
            let header: [u8; 20] = array(&mut input)?;
            let [.., a, b, c, d] = header;
            // Above are flags about the frame check sequence.
            require_ethernet(order.u32([a, b, c, d]) & 0x0fff_ffff)?;
        }
        Ok(Self {
            input,
            order,
            format,
            body: Vec::new(),
            time: Duration::ZERO,
        })
    }

    /// The next packet; nothing at the end.
    ///
    /// # Errors
    ///
    /// - [`InvalidData`](ErrorKind::InvalidData): what comes next is not what the format allows, or not of Ethernet;
    /// - [`UnexpectedEof`](ErrorKind::UnexpectedEof): the file ends in the middle;
    /// - those of the input.
    ///
    /// Reading on after an error makes no sense.
    pub fn read(&mut self) -> io::Result<Option<Packet>> {
        let packet = match self.format {
            Format::Classic { unit } => self.record(unit)?,
            Format::Blocks { .. } => self.next_block()?,
        };
        if let Some(packet) = &packet {
            self.time = packet.time;
        }
        Ok(packet)
    }

    /// A packet of a pcap file.
    fn record(&mut self, unit: u32) -> io::Result<Option<Packet>> {
        let Some(header) = array_or_end::<16>(&mut self.input)? else {
            return Ok(None);
        };
        let mut fields = Fields::new(self.order, &header);
        let mut next = || fields.u32().unwrap_or_default();
        let (seconds, fraction, length) = (next(), next(), next());
        self.fill(length as usize)?;
        let fraction = Duration::from_nanos(u64::from(fraction) * u64::from(unit));
        Ok(Some(Packet {
            time: Duration::from_secs(seconds.into()) + fraction,
            direction: None,
            frame: std::mem::take(&mut self.body),
            comment: None,
        }))
    }

    /// Passes over blocks to the next one with a packet.
    fn next_block(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let Some(kind) = array_or_end(&mut self.input)? else {
                return Ok(None);
            };
            let kind = self.order.u32(kind);
            if kind == kind::SECTION {
                self.order = section(&mut self.input)?;
                let interfaces = Vec::new();
                self.format = Format::Blocks { interfaces };
                continue;
            }
            let wanted = [kind::INTERFACE, kind::PACKET, kind::SIMPLE, kind::ENHANCED];
            let length = self.order.u32(array(&mut self.input)?);
            let body = body_length(length)?;
            if wanted.contains(&kind) {
                self.fill(body)?;
            } else {
                skip(&mut self.input, body)?;
            }
            if self.order.u32(array(&mut self.input)?) != length {
                return Err(invalid("a block's two lengths differ"));
            }
            if !wanted.contains(&kind) {
                continue;
            }
            if let Some(packet) = self.understand(kind)? {
                return Ok(Some(packet));
            }
        }
    }

    /// Reads so many bytes into the body.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        if length > MAX_PACKET + OVERHEAD {
            return Err(invalid(&format!("a packet of {length} bytes is announced")));
        }
        self.body.resize(length, 0);
        self.input.read_exact(&mut self.body)
    }

    /// What is in the body, a block of this kind.
    fn understand(&mut self, kind: u32) -> io::Result<Option<Packet>> {
        let Format::Blocks { interfaces } = &mut self.format else {
            return Ok(None);
        };
        let fields = Fields::new(self.order, &self.body);
        if kind == kind::INTERFACE {
            let interface = Interface::parse(fields);
            interfaces.push(interface.ok_or_else(|| invalid("an interface is cut short"))?);
            if interfaces.len() > MAX_INTERFACES {
                return Err(invalid("there are too many interfaces"));
            }
            return Ok(None);
        }
        let packet = match kind {
            kind::SIMPLE => simple(fields, interfaces, self.time),
            _ => enhanced(fields, interfaces, kind),
        };
        let (packet, link) = packet.ok_or_else(|| invalid("a packet contradicts its block"))?;
        require_ethernet(link)?;
        Ok(Some(packet))
    }
}

/// An enhanced packet, or one of the obsolete kind; and the type of its link.
fn enhanced(mut fields: Fields<'_>, interfaces: &[Interface], kind: u32) -> Option<(Packet, u32)> {
    let interface = match kind {
        kind::PACKET => {
            let interface = u32::from(fields.u16()?);
            fields.u16()?; // dropped before it
            interface
        }
        _ => fields.u32()?,
    };
    let interface = interfaces.get(interface as usize)?;
    let time = interface.time(fields.u32()?, fields.u32()?);
    let length = fields.u32()?;
    fields.u32()?; // its length before it was cut
    let frame = fields.padded(length as usize)?.to_vec();
    let direction = fields.direction();
    let packet = Packet {
        time,
        direction,
        frame,
        comment: fields.comment(),
    };
    Some((packet, interface.link))
}

/// A packet of the first interface, without a time.
fn simple(
    mut fields: Fields<'_>,
    interfaces: &[Interface],
    time: Duration,
) -> Option<(Packet, u32)> {
    let interface = interfaces.first()?;
    let mut length = fields.u32()? as usize;
    if interface.cut > 0 {
        length = length.min(interface.cut as usize);
    }
    let frame = fields.padded(length.min(fields.len()))?.to_vec();
    let packet = Packet {
        time,
        direction: None,
        frame,
        comment: None,
    };
    Some((packet, interface.link))
}

/// Reads a section's header, of which the kind has been read, and tells the section's byte order.
fn section(input: &mut impl Read) -> io::Result<Order> {
    let length = array(input)?;
    let magic = array(input)?;
    let order = [Order::Little, Order::Big]
        .into_iter()
        .find(|order| order.u32(magic) == ORDER_MAGIC)
        .ok_or_else(|| invalid("a section has no byte order"))?;
    let body = body_length(order.u32(length))?;
    let [major, minor]: [[u8; 2]; 2] = [array(input)?, array(input)?];
    if order.u16(major) != 1 {
        let (major, minor) = (order.u16(major), order.u16(minor));
        return Err(invalid(&format!("version {major}.{minor} is unknown")));
    }
    let read = 8; // the magic and the version
    let rest = body.checked_sub(read);
    skip(
        input,
        rest.ok_or_else(|| invalid("a section is cut short"))?,
    )?;
    if array(input)? != length {
        return Err(invalid("a block's two lengths differ"));
    }
    Ok(order)
}

/// The length of a block's body, given its own.
fn body_length(block: u32) -> io::Result<usize> {
    let body = (block as usize).checked_sub(12);
    body.filter(|body| body.is_multiple_of(4))
        .ok_or_else(|| invalid("no block has such a length"))
}

fn skip(input: &mut impl Read, length: usize) -> io::Result<()> {
    let skipped = io::copy(&mut input.take(length as u64), &mut io::sink())?;
    if skipped < length as u64 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    input.read_exact(&mut array)?;
    Ok(array)
}

/// The same, where the file may end.
fn array_or_end<const N: usize>(input: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut array = [0; N];
    let mut filled = 0;
    while filled < N {
        match input.read(&mut array[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(array))
}

fn require_ethernet(link: u32) -> io::Result<()> {
    if link == ETHERNET {
        return Ok(());
    }
    Err(invalid(&format!(
        "it has frames of link type {link}, and only Ethernet ({ETHERNET}) is understood"
    )))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not a recording: {why}"))
}

/// Bytes that a packet's block may have besides the packet: its fields and options.
const OVERHEAD: usize = 64 << 10;
