//! Who wants to be reached where: what users have asked to publish.
//!
//! It lies in a file for as long as the daemon lives, so that the next one finds it if this one is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::list::Protocol;
use crate::name;
use crate::publish::Place;

/// What users have asked for, as it lies in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The space that shared places lead to.
    pub(super) focus: Option<String>,
    /// The spaces that have everything published as it opens.
    pub(super) everything: BTreeSet<String>,
    pub(super) all: Vec<Claim>,
}

/// A space's wish to be reached at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) place: Place,
    pub(super) space: String,
    pub(super) inside: NonZeroU16,
    pub(super) origin: Origin,
}

/// How a claim came about, and with it how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Origin {
    /// Somebody asked for it: until somebody ends it.
    Asked,
    /// Its port opened in a space that has everything published: until the port is closed.
    Opened,
}

impl Claims {
    /// What a daemon that was killed has left, if one was.
    pub(super) fn left_in(file: &Path) -> Self {
        let left = fs::read(file).ok();
        left.and_then(|left| serde_json::from_slice(&left).ok())
            .unwrap_or_default()
    }

    /// Keeps all of it for the next daemon. Without anything claimed there is no file.
    pub(super) fn keep_in(&self, file: &Path) -> io::Result<()> {
        if self.all.is_empty() && self.everything.is_empty() {
            return match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec_pretty(self).expect("names and numbers have a JSON form");
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, file)
    }

    /// Where a place leads: to the space in focus, else to the first that claimed it.
    pub(super) fn current(&self, place: Place) -> Option<&Claim> {
        let mut claims = self.all.iter().filter(|claim| claim.place == place);
        let first = claims.clone().next();
        claims
            .find(|claim| Some(&claim.space) == self.focus.as_ref())
            .or(first)
    }

    /// What a space claims at a place.
    pub(super) fn of(&self, place: Place, space: &str) -> Option<&Claim> {
        let mut claims = self.all.iter();
        claims.find(|claim| claim.place == place && claim.space == space)
    }

    /// Whether clients of a place may name one of several spaces. At ports of protocols that name nobody they can't, and
    /// some of those wait for the server to speak first.
    pub(super) fn takes_a_name(&self, place: Place) -> bool {
        let mut claims = self.all.iter().filter(|claim| claim.place == place);
        place.protocol == Protocol::Tcp
            && name::may_be_web(place.port.get())
            && claims.clone().nth(1).is_some()
            && claims.all(|claim| name::may_be_web(claim.inside.get()))
    }

    /// The claim that has been entered for a wish like this before, at this port or a later one.
    pub(super) fn like(&self, wished: &Claim) -> Option<&Claim> {
        self.all.iter().find(|claim| {
            (&claim.space, claim.inside) == (&wished.space, wished.inside)
                && (claim.place.protocol, claim.place.address)
                    == (wished.place.protocol, wished.place.address)
                && claim.place.port >= wished.place.port
        })
    }

    /// The spaces that have something published, or will have.
    pub(super) fn spaces(&self) -> BTreeSet<String> {
        let claiming = self.all.iter().map(|claim| &claim.space);
        claiming.chain(&self.everything).cloned().collect()
    }

    /// Drops whatever is claimed for a space.
    pub(super) fn forget(&mut self, space: &str) {
        self.everything.remove(space);
        self.all.retain(|claim| claim.space != space);
        self.focus.take_if(|focus| focus == space);
    }
}

impl Claim {
    /// Whether other spaces may claim its place as well: the focus says who has it.
    pub(super) fn is_shared(&self) -> bool {
        [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]
        .contains(&self.place.address)
    }
}
