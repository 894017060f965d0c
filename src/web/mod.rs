//! The page at `http://wharf.localhost:7070`: every space, its ports, who talks to whom, conflicts and events, live; and
//! publish, unpublish, focus and stop from it.
//!
//! - [`files`]: the page itself, which is the same for everybody and knows nothing;
//! - [`serve`]: from a request to its answer; [`guard`] and [`key`]: who may ask for more than the files;
//! - [`picture`]: what there is at one moment; [`traffic`]: who talks to whom; [`errand`]: what the page may have done;
//! - [`body`]: what a response carries; [`command`]: `wharf web`.
//!
//! # Theory of operation
//!
//! `wharf web` asks the daemon for an address with a ticket behind the `#`, where it is sent to nobody. The page's script takes
//! it out of the address, exchanges it for the key of this daemon, and keeps that for the life of the browser's tab. With the
//! key it opens one stream of server-sent events: the [`picture`] whenever it has changed, and what happens to ports
//! as `wharf events --json` has it. Everything is made of what the daemon answers to commands; nothing is kept here that could
//! differ from it. While nobody looks, nothing is counted and no thread wakes for it.
//!
//! There is *no* cookie, which other servers of the machine would get to see, no request that a foreign page can have a
//! browser make, and nothing from elsewhere: three files of text, made by hand, are all there is.
//!
//! To have read: HTML, server-sent events; Content Security Policy Level 3.

mod body;
pub(crate) mod command;
mod errand;
mod files;
mod guard;
pub(crate) mod key;
pub(crate) mod picture;
pub(crate) mod serve;
pub(crate) mod traffic;

use std::net::IpAddr;

pub(crate) use body::Body;

use crate::space::network::{GATEWAY_IPV4, GATEWAY_IPV6};

/// Whether an address is what programs inside call `host.internal`.
fn is_gateway(address: IpAddr) -> bool {
    address == IpAddr::V4(GATEWAY_IPV4) || address == IpAddr::V6(GATEWAY_IPV6)
}
