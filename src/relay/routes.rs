//! From space to space: a router between their links.
//!
//! A frame for another space's address is not for the host: it goes out on that space's link as it is, offload and all,
//! with the hop count lowered as a router must.

use std::collections::HashMap;
use std::fmt;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::{Bytes, BytesMut};
use wharf_link::{HEADER, Link};
use wharf_net::forward;
use wharf_net::wire::ethernet::Mac;

use crate::space::network::{GATEWAY_MAC, SPACE_MAC};

/// A link that several relays send on.
type Shared = Arc<Mutex<Box<dyn Link>>>;

/// The links of all spaces, by address.
#[derive(Clone, Default)]
pub(crate) struct Routes {
    links: Arc<RwLock<HashMap<IpAddr, Shared>>>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// A space's place among the routes, for as long as this lives.
#[derive(Debug)]
pub(super) struct Entered {
    routes: Routes,
    addresses: [IpAddr; 2],
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut links = self
            .routes
            .links
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for address in &self.addresses {
            links.remove(address);
        }
    }
}

impl Routes {
    /// Has others reach `addresses` over `link`.
    pub(super) fn enter(&self, addresses: [IpAddr; 2], link: Box<dyn Link>) -> Entered {
        let link = Arc::new(Mutex::new(link));
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.extend(addresses.map(|address| (address, Arc::clone(&link))));
        Entered {
            routes: self.clone(),
            addresses,
        }
    }

    /// Whether an address is a space's.
    pub(super) fn leads_to(&self, address: IpAddr) -> bool {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.contains_key(&address)
    }

    /// Sends `frame` (with its virtio header) on if it is for a space; gives it back if it isn't.
    pub(super) fn pass_on(&self, frame: Bytes) -> Option<Bytes> {
        let link = forward::destination(&frame[HEADER..]).and_then(|address| {
            let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
            links.get(&address).map(Arc::clone)
        });
        let Some(link) = link else { return Some(frame) };
        let mut frame = frame
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        if forward::prepare(&mut frame[HEADER..], Mac(GATEWAY_MAC), Mac(SPACE_MAC)) {
            // What the other link cannot take now is dropped, as by any router.
            let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
            link.send(&[IoSlice::new(&frame)]).ok();
        }
        None
    }
}
