//! What the headers of an Ethernet frame say: enough to tell flows apart, to filter, and to say in a line what it is.
//!
//! Not a dissector: Wireshark is one. A frame may be cut behind its headers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use wharf_net::wire::tcp::Flags;
use wharf_net::wire::{extension, ipv4, ipv6, tcp, udp};

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
/// Protocol numbers of IP.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The headers of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headers {
    /// An IP packet.
    Ip {
        /// From whom.
        source: IpAddr,
        /// To whom.
        destination: IpAddr,
        /// What is in it.
        content: Content,
    },
    /// Who has an address?
    Arp,
    /// Something else, by its type.
    Other(u16),
    /// Less than an Ethernet header, or contradictory.
    Broken,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A segment, or a train of them.
    Tcp {
        /// The sender's port and the receiver's.
        ports: [u16; 2],
        /// The control bits.
        flags: Flags,
        /// Octets of payload.
        length: usize,
    },
    /// A datagram, or a train of them.
    Udp {
        /// The sender's port and the receiver's.
        ports: [u16; 2],
        /// Octets of payload.
        length: usize,
    },
    /// A message of either ICMP.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// A part of a packet, without the headers of its first.
    Fragment(u8),
    /// Something else, by its protocol number.
    Other(u8),
}

impl Headers {
    /// Reads the front of an Ethernet frame.
    pub(crate) fn of(frame: &[u8]) -> Self {
        let Some(packet) = frame.get(ETHERNET..) else {
            return Self::Broken;
        };
        match u16::from_be_bytes([frame[12], frame[13]]) {
            0x0800 => Self::of_ipv4(packet).unwrap_or(Self::Broken),
            0x86dd => Self::of_ipv6(packet).unwrap_or(Self::Broken),
            0x0806 => Self::Arp,
            kind => Self::Other(kind),
        }
    }

    fn of_ipv4(packet: &[u8]) -> Option<Self> {
        let (header, length) = ipv4::Header::parse_quoted(packet).ok()?;
        let content = match header.fragment_offset {
            0 => Content::of(
                header.protocol,
                packet.get(length..)?,
                header.payload_len.into(),
            )?,
            _ => Content::Fragment(header.protocol),
        };
        Some(Self::Ip {
            source: header.source.into(),
            destination: header.destination.into(),
            content,
        })
    }

    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let header = ipv6::Header::parse_quoted(packet).ok()?;
        let payload = packet.get(ipv6::LEN..)?;
        let content = match extension::walk(header.next_header, payload, true).ok()? {
            extension::End::Transport { protocol, offset } => {
                let length = usize::from(header.payload_len).checked_sub(offset)?;
                Content::of(protocol, payload.get(offset..)?, length)?
            }
            extension::End::Fragment { fragment, .. } => Content::Fragment(fragment.next_header),
            extension::End::Nothing => Content::Other(header.next_header),
        };
        Some(Self::Ip {
            source: header.source.into(),
            destination: header.destination.into(),
            content,
        })
    }

    /// The two endpoints of a segment or datagram, the sender's first.
    pub(crate) fn endpoints(&self) -> Option<[SocketAddr; 2]> {
        let Self::Ip {
            source,
            destination,
            content: Content::Tcp { ports, .. } | Content::Udp { ports, .. },
        } = self
        else {
            return None;
        };
        Some([
            SocketAddr::new(*source, ports[0]),
            SocketAddr::new(*destination, ports[1]),
        ])
    }
}

impl Content {
    /// `length` is that of the whole payload of the packet, of which `bytes` is at least the transport's header.
    fn of(protocol: u8, bytes: &[u8], length: usize) -> Option<Self> {
        Some(match protocol {
            TCP => {
                let (header, head) = tcp::Header::parse(bytes).ok()?;
                Self::Tcp {
                    ports: [header.source, header.destination],
                    flags: header.control.flags,
                    length: length.checked_sub(head)?,
                }
            }
            UDP => {
                let header = udp::Header::parse_quoted(bytes).ok()?;
                Self::Udp {
                    ports: [header.source, header.destination],
                    length: length.checked_sub(udp::LEN)?,
                }
            }
            ICMP | ICMPV6 => {
                let [kind, code] = *bytes.first_chunk()?;
                Self::Icmp { kind, code }
            }
            other => Self::Other(other),
        })
    }
}

impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ip {
            source,
            destination,
            content,
        } = self
        else {
            return match self {
                Self::Arp => write!(f, "arp"),
                Self::Other(kind) => write!(f, "ethernet type {kind:#06x}"),
                _ => write!(f, "broken"),
            };
        };
        if let Some([from, to]) = self.endpoints() {
            write!(f, "{from} > {to}  {content}")
        } else {
            write!(f, "{source} > {destination}  {content}")
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { flags, length, .. } => write!(f, "tcp {flags:?}  {length} bytes"),
            Self::Udp { length, .. } => write!(f, "udp  {length} bytes"),
            Self::Icmp { kind, code } => write!(f, "icmp type {kind} code {code}"),
            Self::Fragment(protocol) => write!(f, "fragment of protocol {protocol}"),
            Self::Other(protocol) => write!(f, "protocol {protocol}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    /// A TCP segment of a SYN from 10.77.1.2:40000 to 10.77.3.4:80, in Ethernet.
    pub(crate) fn syn() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend([10, 77, 1, 2, 10, 77, 3, 4]);
        frame.extend(40000_u16.to_be_bytes());
        frame.extend(80_u16.to_be_bytes());
        frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        frame
    }

    /// A UDP datagram of 5 bytes from [fd77::1]:5000 to [fd77::2]:53, in Ethernet.
    pub(crate) fn datagram() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, 13, 17, 64]);
        for last in [1, 2] {
            frame.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        frame.extend(5000_u16.to_be_bytes());
        frame.extend(53_u16.to_be_bytes());
        frame.extend([0, 13, 0, 0]);
        frame.extend(b"hello");
        frame
    }

    /// An echo request from 10.77.1.2 to 192.0.2.1, in Ethernet.
    pub(crate) fn ping() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0]);
        frame.extend([10, 77, 1, 2, 192, 0, 2, 1]);
        frame.extend([8, 0, 0, 0, 0, 7, 0, 1]);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{datagram, ping, syn};
    use super::*;

    #[test]
    fn a_frame_is_a_line() {
        for (frame, line) in [
            (syn(), "10.77.1.2:40000 > 10.77.3.4:80  tcp SYN  0 bytes"),
            (datagram(), "[fd77::1]:5000 > [fd77::2]:53  udp  5 bytes"),
            (ping(), "10.77.1.2 > 192.0.2.1  icmp type 8 code 0"),
            ([&[0; 12][..], &[8, 6]].concat(), "arp"),
            (
                [&[0; 12][..], &[0x88, 0xcc]].concat(),
                "ethernet type 0x88cc",
            ),
            (vec![0; 13], "broken"),
        ] {
            assert_eq!(Headers::of(&frame).to_string(), line);
        }
    }

    #[test]
    fn no_frame_that_is_cut_is_misread() {
        for whole in [syn(), datagram(), ping()] {
            let said = Headers::of(&whole);
            for length in 0..whole.len() {
                let cut = Headers::of(&whole[..length]);
                assert!(cut == Headers::Broken || cut == said, "{length}: {cut:?}");
            }
        }
    }
}
