//! IPv6 extension headers: the way through them to what a packet carries. RFC 8200 §4, RFC 5095.
//!
//! It is *not* reassembly: the walk ends at a fragment header, which the caller resolves.

use super::Malformed;
use super::ipv6::{FRAGMENT_LEN, Fragment};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION: u8 = 60;

const PAD: u8 = 1;
const ROUTER_ALERT: u8 = 5;

/// Next header of hop-by-hop options.
pub const HOP_BY_HOP_HEADER: u8 = HOP_BY_HOP;
/// Next header of a fragment header.
pub const FRAGMENT_HEADER: u8 = FRAGMENT;

/// The code of a Parameter Problem about a first fragment without all headers. RFC 7112 §5.
pub const INCOMPLETE_CHAIN: u8 = 3;

/// More headers than this in one packet is an attempt to waste our time.
const MAX_HEADERS: usize = 16;

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At a transport header of this protocol.
    Transport {
        /// Its number.
        protocol: u8,
        /// Octets before it.
        offset: usize,
    },
    /// Behind a fragment header.
    Fragment {
        /// The header.
        fragment: Fragment,
        /// Octets before the fragment's payload.
        offset: usize,
    },
    /// At the header that says that nothing follows (RFC 8200 §4.7).
    Nothing,
}

/// Why a walk cannot go on. Pointers count from the beginning of what was walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The packet ends within a header, or has too many: to be discarded.
    Malformed(Malformed),
    /// To be discarded in silence: an unknown option asks for it.
    Discard,
    /// To be discarded and answered by an ICMPv6 Parameter Problem.
    Problem {
        /// 0 erroneous field, 1 unrecognized next header, 2 unrecognized option (RFC 4443 §3.4).
        code: u8,
        /// Where.
        pointer: usize,
        /// Whether the answer is also due for a packet to a multicast group.
        even_multicast: bool,
    },
}

/// Hop-by-hop options with a router alert about multicast listener discovery, before a header of type `next_header`. RFC 2711 §2.1.
#[must_use]
pub const fn router_alert(next_header: u8) -> [u8; 8] {
    // The alert, and two octets of PadN.
    [next_header, 0, ROUTER_ALERT, 2, 0, 0, PAD, 0]
}

/// Whether the hop-by-hop options that `bytes` begins with have a router alert.
#[must_use]
pub fn has_router_alert(bytes: &[u8]) -> bool {
    let Ok(length) = header_len(bytes) else {
        return false;
    };
    let mut rest = &bytes[2..length];
    while let [option, after @ ..] = rest {
        let skipped = match (*option, after) {
            (0, _) => 0,
            (ROUTER_ALERT, _) => return true,
            (_, [size, ..]) => 1 + usize::from(*size),
            _ => return false,
        };
        rest = after.get(skipped..).unwrap_or(&[]);
    }
    false
}

/// Walks from the header that follows the IPv6 header, of type `next_header`, over `bytes`. Where the walk
/// is taken up behind a resolved fragment header, no hop-by-hop options may come: `first` is false.
///
/// # Errors
/// An [`Obstacle`], which says what is to be done about it.
pub fn walk(mut next_header: u8, bytes: &[u8], first: bool) -> Result<End, Obstacle> {
    let mut offset = 0;
    let mut next_pointer = None;
    for index in 0..MAX_HEADERS {
        let rest = bytes.get(offset..).unwrap_or(&[]);
        match next_header {
            HOP_BY_HOP if index == 0 && first => options(rest, offset)?,
            HOP_BY_HOP => {
                // RFC 8200 §4.1, §4.3: only directly after the IPv6 header.
                let pointer = next_pointer.unwrap_or(0);
                return Err(Obstacle::Problem {
                    code: 1,
                    pointer,
                    even_multicast: false,
                });
            }
            DESTINATION => options(rest, offset)?,
            ROUTING => routing(rest, offset)?,
            FRAGMENT => {
                let fragment = Fragment::parse(rest).map_err(Obstacle::Malformed)?;
                return Ok(End::Fragment {
                    fragment,
                    offset: offset + FRAGMENT_LEN,
                });
            }
            NO_NEXT_HEADER => return Ok(End::Nothing),
            protocol => return Ok(End::Transport { protocol, offset }),
        }
        next_header = rest[0];
        next_pointer = Some(offset);
        offset += header_len(rest)?;
    }
    Err(Obstacle::Malformed(Malformed::Field))
}

/// Octets of the header that `rest` begins with, which is all there.
fn header_len(rest: &[u8]) -> Result<usize, Obstacle> {
    let &[_, eighths, ..] = rest else {
        return Err(Obstacle::Malformed(Malformed::Truncated));
    };
    let length = (usize::from(eighths) + 1) * 8;
    if rest.len() < length {
        return Err(Obstacle::Malformed(Malformed::Truncated));
    }
    Ok(length)
}

/// RFC 8200 §4.2: what an unknown option's two highest bits ask for.
fn options(rest: &[u8], base: usize) -> Result<(), Obstacle> {
    let length = header_len(rest)?;
    let mut at = 2;
    while at < length {
        if rest[at] == 0 {
            at += 1; // Pad1
            continue;
        }
        let Some(&size) = rest[..length].get(at + 1) else {
            return Err(Obstacle::Malformed(Malformed::Truncated));
        };
        if at + 2 + usize::from(size) > length {
            return Err(Obstacle::Malformed(Malformed::Truncated));
        }
        let problem = Obstacle::Problem {
            code: 2,
            pointer: base + at,
            even_multicast: rest[at] >> 6 == 2,
        };
        match (rest[at], rest[at] >> 6) {
            (PAD | ROUTER_ALERT, _) | (_, 0) => {} // what may be passed over
            (_, 1) => return Err(Obstacle::Discard),
            _ => return Err(problem),
        }
        at += 2 + usize::from(size);
    }
    Ok(())
}

/// RFC 8200 §4.4 and RFC 5095 §3: no routing type is known, so it must have no segments left.
fn routing(rest: &[u8], base: usize) -> Result<(), Obstacle> {
    header_len(rest)?;
    match rest[3] {
        0 => Ok(()),
        _ => Err(Obstacle::Problem {
            code: 0,
            pointer: base + 2,
            even_multicast: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_is_walked_to_its_transport() {
        let mut chain = alloc::vec![DESTINATION, 0, 1, 4, 0, 0, 0, 0]; // as hop-by-hop: PadN
        chain.extend([6, 0, 1, 4, 0, 0, 0, 0]); // as destination options
        assert_eq!(
            walk(HOP_BY_HOP, &chain, true),
            Ok(End::Transport {
                protocol: 6,
                offset: 16
            })
        );
        assert_eq!(walk(59, &[], true), Ok(End::Nothing));
        assert_eq!(
            walk(17, &[], true),
            Ok(End::Transport {
                protocol: 17,
                offset: 0
            })
        );
    }

    #[test]
    fn an_alert_is_found_among_other_options() {
        assert!(has_router_alert(&router_alert(58)));
        assert!(has_router_alert(&[58, 0, 0, 0, ROUTER_ALERT, 2, 0, 0]));
        assert!(!has_router_alert(&[58, 0, PAD, 4, ROUTER_ALERT, 2, 0, 0]));
        assert!(!has_router_alert(&router_alert(58)[..7]));
        let end = End::Transport {
            protocol: 58,
            offset: 8,
        };
        assert_eq!(walk(HOP_BY_HOP, &router_alert(58), true), Ok(end));
    }

    #[test]
    fn unknown_options_are_treated_as_they_ask() {
        let with = |option: u8| walk(DESTINATION, &[6, 0, option, 4, 0, 0, 0, 0], true);
        let problem = |even_multicast| Obstacle::Problem {
            code: 2,
            pointer: 2,
            even_multicast,
        };
        assert!(with(0x1e).is_ok());
        assert_eq!(with(0x5e), Err(Obstacle::Discard));
        assert_eq!(with(0x9e), Err(problem(true)));
        assert_eq!(with(0xde), Err(problem(false)));
    }

    #[test]
    fn a_routing_header_with_segments_left_is_refused() {
        let routing = |left: u8| walk(ROUTING, &[6, 0, 0, left, 0, 0, 0, 0], true);
        assert!(routing(0).is_ok());
        let problem = Obstacle::Problem {
            code: 0,
            pointer: 2,
            even_multicast: false,
        };
        assert_eq!(routing(1), Err(problem));
    }

    #[test]
    fn hop_by_hop_options_come_first_or_never() {
        let chain = [HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
        let problem = Obstacle::Problem {
            code: 1,
            pointer: 0,
            even_multicast: false,
        };
        assert_eq!(walk(DESTINATION, &chain, true), Err(problem));
    }

    #[test]
    fn an_endless_chain_ends() {
        let chain = [DESTINATION, 0, 1, 4, 0, 0, 0, 0].repeat(8000);
        assert_eq!(
            walk(DESTINATION, &chain, true),
            Err(Obstacle::Malformed(Malformed::Field))
        );
    }

    proptest! {
        #[test]
        fn any_bytes(next_header in 0u8..64, bytes: alloc::vec::Vec<u8>, first: bool) {
            if let Ok(End::Transport { offset, .. } | End::Fragment { offset, .. }) =
                walk(next_header, &bytes, first)
            {
                prop_assert!(offset <= bytes.len());
            }
        }
    }
}
