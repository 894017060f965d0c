//! The options of an IPv4 header: whether they are well formed, and whether they want the packet to go on. RFC 791 §3.1, RFC 1122
//! §3.2.1.8, RFC 7126.
//!
//! What they ask for is not done: routes and times are recorded on the way, not by the host where it ends, and replies take no source
//! route, which would let anybody direct them anywhere (RFC 7126 §4.3.5).

const END: u8 = 0;
const NOP: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Octets of a source route before its first address: type, length, pointer; the pointer counts from 1.
const ROUTE_LEN: usize = 3;
const FIRST_POINTER: u8 = 4;

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
    let mut at = super::ipv4::LEN;
    while let Some(kind) = header.get(at) {
        let rest = &header[at..];
        match (*kind, rest) {
            (END, _) => break,
            (NOP, _) => at += 1,
            (kind, [_, length, ..]) if (2..=rest.len()).contains(&usize::from(*length)) => {
                let option = &rest[..usize::from(*length)];
                route(kind, option, at)?;
                at += option.len();
            }
            _ => return Err(Fault::Malformed(at as u8)),
        }
    }
    Ok(())
}

/// RFC 791 §3.1: the route is at its end when the pointer is beyond it.
fn route(kind: u8, option: &[u8], at: usize) -> Result<(), Fault> {
    if !matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) {
        return Ok(());
    }
    match option {
        [_, length, pointer, ..]
            if *pointer >= FIRST_POINTER && (option.len() - ROUTE_LEN).is_multiple_of(4) =>
        {
            match pointer > length {
                true => Ok(()),
                false => Err(Fault::SourceRoute),
            }
        }
        _ => Err(Fault::Malformed(at as u8)),
    }
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
}
