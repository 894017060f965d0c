//! What was asked: a port or a name, with or without a protocol.

use wharf_port::Port;
use wharf_port::registry::Transport;

use crate::failure::Failure;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) subject: Subject,
    /// Only under this protocol.
    pub(crate) transport: Option<Transport>,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Port 0, which is none.
    Zero,
    /// A port.
    Port(Port),
    /// A service, by name.
    Name(String),
}

impl Query {
    /// Reads `5432`, `3000/udp`, `tcp/3000`, `postgres`, `domain/udp`.
    pub(crate) fn parse(what: &str) -> Result<Self, Failure> {
        let (subject, transport) = match what.split_once('/') {
            None => (what, None),
            Some((one, other)) => match (other.parse(), one.parse()) {
                (Ok(transport), _) => (one, Some(transport)),
                (_, Ok(transport)) => (other, Some(transport)),
                _ => {
                    return Err(Failure::usage(format!(
                        "{what}: the protocol is one of tcp, udp, sctp and dccp, as in 3000/udp"
                    )));
                }
            },
        };
        let subject = Subject::parse(subject.trim())?;
        Ok(Self { subject, transport })
    }
}

impl Subject {
    fn parse(text: &str) -> Result<Self, Failure> {
        if text.is_empty() {
            return Err(Failure::usage("a port or a name is wanted".to_owned()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Name(text.to_owned()));
        }
        let number: u16 = text
            .parse()
            .map_err(|_| Failure::usage(format!("{text} is no port: ports are 1 to 65535")))?;
        Ok(Port::new(number).map_or(Self::Zero, Self::Port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::status;

    fn parsed(what: &str) -> (Subject, Option<Transport>) {
        let query = Query::parse(what).unwrap();
        (query.subject, query.transport)
    }

    #[test]
    fn ports_and_names_with_and_without_a_protocol() {
        let port = |number| Subject::Port(Port::new(number).unwrap());
        let name = |name: &str| Subject::Name(name.to_owned());
        for (what, expected) in [
            ("5432", (port(5432), None)),
            ("3000/udp", (port(3000), Some(Transport::Udp))),
            ("tcp/3000", (port(3000), Some(Transport::Tcp))),
            ("65535/SCTP", (port(65535), Some(Transport::Sctp))),
            ("0", (Subject::Zero, None)),
            ("00", (Subject::Zero, None)),
            ("postgres", (name("postgres"), None)),
            ("udp/domain", (name("domain"), Some(Transport::Udp))),
            ("3com-tsmux", (name("3com-tsmux"), None)),
        ] {
            assert_eq!(parsed(what), expected, "{what}");
        }
    }

    #[test]
    fn what_is_neither_is_a_usage_error() {
        for what in [
            "65536",
            "99999999999999999999",
            "",
            "/tcp",
            "80/http",
            "1/2",
        ] {
            let failure = Query::parse(what).unwrap_err();
            assert_eq!(failure.status, status::USAGE, "{what}");
        }
    }
}
