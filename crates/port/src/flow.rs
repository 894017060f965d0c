//! A flow: protocol, local endpoint, remote endpoint.

use core::fmt;
use core::str::FromStr;

use crate::{Endpoint, ParseError, Protocol};

/// All packets between two endpoints under one protocol, seen from one side.
///
/// ```
/// use wharf_port::Flow;
///
/// let flow: Flow = "tcp/10.0.0.1:80-10.0.0.2:40000".parse()?;
/// assert_eq!(flow.flipped().to_string(), "tcp/10.0.0.2:40000-10.0.0.1:80");
/// assert_eq!(flow.flipped().flipped(), flow);
/// # Ok::<(), wharf_port::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The end on this side.
    pub local: Endpoint,
    /// The end on the peer's side.
    pub remote: Endpoint,
}

impl Flow {
    /// The same flow as the other side sees it.
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self {
            protocol: self.protocol,
            local: self.remote,
            remote: self.local,
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{}", self.protocol, self.local, self.remote)
    }
}

impl FromStr for Flow {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (protocol, ends) = text.split_once('/').ok_or(ParseError::Slash)?;
        let (local, remote) = ends.split_once('-').ok_or(ParseError::Dash)?;
        Ok(Self {
            protocol: protocol.parse()?,
            local: local.parse()?,
            remote: remote.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_flows_do_not_parse() {
        let parse = |text: &str| text.parse::<Flow>().unwrap_err();
        assert_eq!(parse("tcp/10.0.0.1:80"), ParseError::Dash);
        assert_eq!(parse("10.0.0.1:80-10.0.0.2:1"), ParseError::Slash);
        assert_eq!(parse("udp/10.0.0.1:80-10.0.0.2:0"), ParseError::Port);
    }
}
