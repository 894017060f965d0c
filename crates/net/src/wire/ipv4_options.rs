//! The options of an IPv4 header: whether they are well formed, whether they want the packet to go on, and which of them an echo reply
//! has. RFC 791 §3.1, RFC 1122 §3.2.1.8 and §3.2.2.6, RFC 7126.
//!
//! Stations and times are recorded on the way; the host where it ends does so only in the reply to an echo. No reply takes a source route,
//! which would let anybody direct it anywhere (RFC 7126 §4.3.5).

use alloc::vec::Vec;
use core::net::Ipv4Addr;

const END: u8 = 0;
const NOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// By which routers look at a packet that is not for them. RFC 2113.
pub const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];

/// Octets of a route before its first address: type, length, pointer; the pointer counts from 1.
const ROUTE_LEN: usize = 3;
const FIRST_POINTER: u8 = 4;
/// The same of time stamps, which have an octet of overflow and flag besides.
const STAMPS_LEN: usize = 4;
const FIRST_STAMP_POINTER: u8 = 5;

/// What is stamped, by the flag: times alone, each behind its address, or only at addresses that the sender named.
const TIMES: u8 = 0;
const ADDRESSES_AND_TIMES: u8 = 1;
const NAMED_ADDRESSES: u8 = 3;

/// A time that isn't counted from midnight has this bit. RFC 791 §3.1.
const NOT_STANDARD: u32 = 1 << 31;

/// What is wrong with a packet because of its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An option that can't be: it is at this octet of the header.
    Malformed(u8),
    /// A source route with stations left: the packet is not for us, though it has our address.
    SourceRoute,
}

/// Looks through the options of a header of at most 60 octets, which is whole.
///
/// # Errors
/// [`Fault`], of the first option that has one.
pub fn check(header: &[u8]) -> Result<(), Fault> {
    for found in options(header) {
        let (at, option) = found?;
        let fits = match *option {
            [RECORD_ROUTE, length, pointer, ..] => {
                pointer >= FIRST_POINTER && has_room(length, pointer, 4)
            }
            [TIMESTAMP, length, pointer, state, ..] => stamp_len(state & 15).is_some_and(|step| {
                // The count of those that found no room has four bits.
                let countable = pointer <= length || state >> 4 < 15;
                pointer >= FIRST_STAMP_POINTER && countable && has_room(length, pointer, step)
            }),
            [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, _, pointer, ..] => {
                pointer >= FIRST_POINTER && (option.len() - ROUTE_LEN).is_multiple_of(4)
            }
            [kind, ..] => {
                let wants_more = [
                    RECORD_ROUTE,
                    TIMESTAMP,
                    LOOSE_SOURCE_ROUTE,
                    STRICT_SOURCE_ROUTE,
                ];
                !wants_more.contains(&kind)
            }
            [] => false,
        };
        if !fits {
            return Err(Fault::Malformed(at));
        }
        // RFC 791 §3.1: a route is at its end when the pointer is beyond it.
        if let [
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE,
            length,
            pointer,
            ..,
        ] = *option
            && pointer <= length
        {
            return Err(Fault::SourceRoute);
        }
    }
    Ok(())
}

/// What the reply to an echo has of the options of its request, which have been [checked](check): the stations and the times recorded so
/// far, and this host's. RFC 1122 §3.2.2.6.
///
/// `millis` counts from any moment.
#[must_use]
pub fn recorded(header: &[u8], own: Ipv4Addr, millis: u32) -> Vec<u8> {
    let mut reply = Vec::new();
    for (_, option) in options(header).filter_map(Result::ok) {
        let start = reply.len();
        match option {
            [RECORD_ROUTE, ..] => {
                reply.extend_from_slice(option);
                record_station(&mut reply[start..], own);
            }
            [TIMESTAMP, ..] => {
                reply.extend_from_slice(option);
                record_time(&mut reply[start..], own, millis | NOT_STANDARD);
            }
            _ => {}
        }
    }
    reply.resize(reply.len().next_multiple_of(4), END);
    reply
}

/// The options that have a length, and where in the header each begins; the first that can't be is the last.
fn options(header: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), Fault>> {
    let mut at = super::ipv4::LEN;
    core::iter::from_fn(move || {
        while header.get(at) == Some(&NOP) {
            at += 1;
        }
        let rest = header.get(at..)?;
        if matches!(rest, [] | [END, ..]) {
            return None;
        }
        let begin = at as u8;
        let length = rest.get(1).map_or(0, |length| usize::from(*length));
        let option = rest.get(..length).filter(|option| option.len() >= 2);
        at += option.map_or(rest.len(), <[u8]>::len);
        Some(
            option
                .map(|option| (begin, option))
                .ok_or(Fault::Malformed(begin)),
        )
    })
}

/// Octets that each station writes, by the flag.
fn stamp_len(flag: u8) -> Option<u8> {
    match flag {
        TIMES => Some(4),
        ADDRESSES_AND_TIMES | NAMED_ADDRESSES => Some(8),
        _ => None,
    }
}

/// Whether from the pointer on there is as much room as a station writes, or none at all.
fn has_room(length: u8, pointer: u8, step: u8) -> bool {
    pointer > length || length - pointer + 1 >= step
}

fn record_station(option: &mut [u8], own: Ipv4Addr) {
    let at = usize::from(option[2]) - 1;
    if let Some(room) = option[ROUTE_LEN..].get_mut(at - ROUTE_LEN..at - ROUTE_LEN + 4) {
        room.copy_from_slice(&own.octets());
        option[2] += 4;
    }
}

fn record_time(option: &mut [u8], own: Ipv4Addr, time: u32) {
    let flag = option[3] & 15;
    let step = stamp_len(flag).map_or(0, usize::from);
    let at = usize::from(option[2]) - 1;
    let Some(room) = option[STAMPS_LEN..].get_mut(at - STAMPS_LEN..at - STAMPS_LEN + step) else {
        if flag != NAMED_ADDRESSES {
            option[3] += 1 << 4;
        }
        return;
    };
    if let Some((station, stamp)) = room.split_last_chunk_mut::<4>() {
        if flag == NAMED_ADDRESSES && *station != own.octets() {
            return;
        }
        station.copy_from_slice(&own.octets()[..station.len()]);
        *stamp = time.to_be_bytes();
    }
    option[2] += step as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(options: &[u8]) -> Result<(), Fault> {
        check(&[&[0; 20][..], options].concat())
    }

    #[test]
    fn what_is_well_formed_passes() {
        for options in [
            &[][..],
            &[1, 1, 1, 0],
            &[0, 2, 99, 99],              // nothing counts behind the end
            &[7, 7, 4, 0, 0, 0, 0, 0],    // record route
            &[68, 8, 5, 0, 0, 0, 0, 0],   // time stamps
            &[148, 4, 0, 0],              // router alert
            &[30, 3, 9, 1],               // unknown
            &[131, 7, 8, 10, 0, 0, 9, 0], // a route at its end
        ] {
            assert_eq!(checked(options), Ok(()), "{options:?}");
        }
    }

    #[test]
    fn what_can_not_be_is_pointed_at() {
        for (options, at) in [
            (&[7, 0, 0, 0][..], 20),
            (&[7, 1, 0, 0], 20),
            (&[1, 7, 4, 0], 21),
            (&[1, 1, 1, 7], 23),
            (&[131, 3, 3, 0], 20),
            (&[137, 6, 4, 0, 0, 0, 0, 0], 20),
            (&[131, 2, 0, 0], 20),
            (&[7, 7, 3, 0, 0, 0, 0, 0], 20), // before the first address
            (&[7, 7, 5, 0, 0, 0, 0, 0], 20), // some room, not enough
            (&[1, 7, 2, 0], 21),
            (&[68, 3, 5, 0], 20),
            (&[68, 8, 4, 0, 0, 0, 0, 0], 20),
            (&[68, 8, 5, 1, 0, 0, 0, 0], 20), // no room for an address, too
            (&[68, 8, 5, 2, 0, 0, 0, 0], 20), // no such flag
            (&[68, 8, 9, 0xf0, 0, 0, 0, 0], 20), // beyond what can be counted
        ] {
            assert_eq!(checked(options), Err(Fault::Malformed(at)), "{options:?}");
        }
    }

    #[test]
    fn a_route_with_stations_left_goes_elsewhere() {
        for kind in [LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE] {
            let options = [kind, 7, 4, 10, 0, 0, 9, 0];
            assert_eq!(checked(&options), Err(Fault::SourceRoute));
        }
    }

    fn reply(options: &[u8]) -> Vec<u8> {
        let header = [&[0; 20][..], options].concat();
        assert_eq!(check(&header), Ok(()), "{options:?}");
        recorded(&header, Ipv4Addr::new(10, 0, 0, 2), 5)
    }

    #[test]
    fn a_reply_has_the_way_and_the_times_so_far_and_ours() {
        for (request, expected) in [
            (&[][..], &[][..]),
            (&[148, 4, 0, 0], &[]),
            (&[131, 7, 8, 10, 0, 0, 9, 0], &[]),
            // One station of two.
            (
                &[7, 11, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0],
                &[7, 11, 12, 10, 0, 0, 1, 10, 0, 0, 2, 0],
            ),
            // No room is left.
            (&[7, 7, 8, 10, 0, 0, 1, 0], &[7, 7, 8, 10, 0, 0, 1, 0]),
            (&[7, 3, 4, 0], &[7, 3, 4, 0]),
            // Times alone, with room and without.
            (&[68, 8, 5, 0, 0, 0, 0, 0], &[68, 8, 9, 0, 0x80, 0, 0, 5]),
            (&[68, 8, 9, 0x10, 0, 0, 0, 1], &[68, 8, 9, 0x20, 0, 0, 0, 1]),
            // Times and addresses.
            (
                &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                &[68, 12, 13, 1, 10, 0, 0, 2, 0x80, 0, 0, 5],
            ),
            // Times at named addresses: ours, another's, none.
            (
                &[68, 12, 5, 3, 10, 0, 0, 2, 0, 0, 0, 0],
                &[68, 12, 13, 3, 10, 0, 0, 2, 0x80, 0, 0, 5],
            ),
            (
                &[68, 12, 5, 3, 10, 0, 0, 3, 0, 0, 0, 0],
                &[68, 12, 5, 3, 10, 0, 0, 3, 0, 0, 0, 0],
            ),
            (
                &[68, 12, 13, 3, 10, 0, 0, 2, 0, 0, 0, 1],
                &[68, 12, 13, 3, 10, 0, 0, 2, 0, 0, 0, 1],
            ),
            // Two options, and what stands between them.
            (
                &[1, 7, 7, 4, 0, 0, 0, 0, 1, 68, 8, 5, 0, 0, 0, 0, 0, 0, 0, 0],
                &[7, 7, 8, 10, 0, 0, 2, 68, 8, 9, 0, 0x80, 0, 0, 5, 0],
            ),
        ] {
            assert_eq!(reply(request)[..], *expected, "{request:?}");
        }
    }

    proptest::proptest! {
        /// Whatever was let pass can be answered, in options that are well formed again and no longer.
        #[test]
        fn what_passes_is_answered(options in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..=10)) {
            // Often the kinds and small numbers that mean something.
            let kinds = [0, 1, 7, 68, 131, 4, 5, 8, 9, 12, 16];
            let mut octets: Vec<_> = options.iter().flat_map(|seed| {
                let picked = |at: usize| kinds[(usize::from(*seed) >> at) % kinds.len()];
                [picked(0), picked(1), picked(2), seed % 17]
            }).collect();
            octets.splice(0..0, [0; 20]);
            if check(&octets).is_ok() {
                let reply = recorded(&octets, Ipv4Addr::LOCALHOST, 1);
                proptest::prop_assert!(reply.len() <= octets.len() - 20 && reply.len().is_multiple_of(4));
                let header = [&[0; 20][..], &reply].concat();
                let overflown = matches!(check(&header), Err(Fault::Malformed(_)));
                proptest::prop_assert!(!overflown || reply.iter().any(|octet| octet >> 4 == 15));
            }
        }
    }
}
