//! The rules of a project about the ports of its space.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use wharf_port::{Port, PortRange};

/// What the project says about ports, of TCP and of UDP alike. Without a rule, every port is everybody's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// Ports that only the program of this name (its executable's file) may have. Others are told that they are in use.
    pub(crate) reserved: Vec<Rule>,
    /// Ports that nobody may have, and why. Who wants one is told that permission is denied.
    pub(crate) forbidden: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// The first port that it is about.
    pub(crate) first: NonZeroU16,
    /// The last one.
    pub(crate) last: NonZeroU16,
    /// For whom the ports are kept, or why they are forbidden.
    pub(crate) note: String,
}

impl Rule {
    /// The ports that it is about; `None` if the last is below the first.
    pub(super) fn range(&self) -> Option<PortRange> {
        PortRange::new(Port::new(self.first.get())?, Port::new(self.last.get())?)
    }
}

/// What the rules say to one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Whoever comes first has it.
    Free,
    /// It is kept for the program of this name.
    Reserved(String),
    /// Nobody may have it, for this reason.
    Forbidden(String),
}
