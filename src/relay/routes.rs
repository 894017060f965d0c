//! From space to space: a router between their links.
//!
//! A frame for another space's address is not for the host: it goes out on that space's link as it is, offload and all,
//! with the hop count lowered as a router must. Where one of the two is isolated, the way is closed: the frame is left to the
//! host, which has it refused.

use std::collections::HashMap;
use std::fmt;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use smallvec::SmallVec;
use wharf_link::pcap::Direction;
use wharf_link::{HEADER, Link};
use wharf_net::forward;
use wharf_net::wire::ethernet::Mac;

use super::ears::Ears;
use crate::space::network::{GATEWAY_MAC, SPACE_MAC};

/// So many octets of a frame are copied to be changed; all headers are within them.
const HEAD: usize = 256;

/// Whether a space has to do with other spaces; can be changed at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Isolation(Arc<AtomicBool>);

impl Isolation {
    /// From now on it is isolated, or not.
    pub(crate) fn set(&self, isolated: bool) {
        self.0.store(isolated, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a space takes frames of others.
pub(super) struct Post {
    /// Several relays send on it.
    link: Mutex<Box<dyn Link>>,
    isolation: Isolation,
    ears: Ears,
}

impl Post {
    pub(super) fn new(link: Box<dyn Link>, isolation: Isolation, ears: Ears) -> Self {
        let link = Mutex::new(link);
        Self {
            link,
            isolation,
            ears,
        }
    }

    /// What the link cannot take now is dropped, as by any router. It is heard before it can be answered.
    fn take(&self, frame: [&[u8]; 2]) {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        self.ears.hear(Direction::Inbound, frame.into_iter());
        link.send(&frame.map(IoSlice::new)).ok();
    }
}

/// The posts of all spaces, by address.
#[derive(Clone, Default)]
pub(crate) struct Routes {
    posts: Arc<RwLock<HashMap<IpAddr, Arc<Post>>>>,
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
        let mut posts = self
            .routes
            .posts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for address in &self.addresses {
            posts.remove(address);
        }
    }
}

impl Routes {
    /// Has others reach `addresses` at `post`.
    pub(super) fn enter(&self, addresses: [IpAddr; 2], post: Post) -> Entered {
        let post = Arc::new(post);
        let mut posts = self.posts.write().unwrap_or_else(PoisonError::into_inner);
        posts.extend(addresses.map(|address| (address, Arc::clone(&post))));
        Entered {
            routes: self.clone(),
            addresses,
        }
    }

    /// Whether an address is a space's.
    pub(super) fn leads_to(&self, address: IpAddr) -> bool {
        self.post(address).is_some()
    }

    /// Whether `frame` (with its virtio header) is for a space and the way from one that is `isolated` or not is open; then it
    /// is sent on.
    pub(super) fn pass_on(&self, frame: &[u8], isolated: &Isolation) -> bool {
        let post = forward::destination(&frame[HEADER..]).and_then(|address| self.post(address));
        let Some(post) = post else { return false };
        if isolated.is_set() || post.isolation.is_set() {
            return false;
        }
        let (head, body) = frame.split_at(frame.len().min(HEAD));
        let mut head = SmallVec::<[u8; HEAD]>::from_slice(head);
        if forward::prepare(&mut head[HEADER..], Mac(GATEWAY_MAC), Mac(SPACE_MAC)) {
            post.take([&head, body]);
        }
        true
    }

    /// Whether there is a space at `address`, and the way to it is closed.
    pub(super) fn is_closed(&self, address: IpAddr, isolated: &Isolation) -> bool {
        let post = self.post(address);
        post.is_some_and(|post| isolated.is_set() || post.isolation.is_set())
    }

    fn post(&self, address: IpAddr) -> Option<Arc<Post>> {
        let posts = self.posts.read().unwrap_or_else(PoisonError::into_inner);
        posts.get(&address).map(Arc::clone)
    }
}
