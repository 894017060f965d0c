//! The machine's own names of ports: /etc/services.
//!
//! Its form is services(5): `NAME PORT/PROTOCOL ALIAS… # comment`. What can't be read is passed over, as the C library does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use wharf_port::Port;
use wharf_port::registry::Transport;

const PATH: &str = "/etc/services";

/// More than this of the file is not read; IANA's whole registry has less.
const MAX_BYTES: u64 = 4 << 20;

/// Names by port and protocol, in the file's order.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<(Port, Transport), Vec<String>>);

impl Names {
    /// What /etc/services says; nothing if there is none.
    pub(crate) fn of_machine() -> Self {
        let mut bytes = Vec::new();
        let read = File::open(PATH).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&bytes)),
            Err(_) => Self::default(),
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut names = Self::default();
        for line in text.lines() {
            names.add(line);
        }
        names
    }

    fn add(&mut self, line: &str) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (Some(name), Some(pair)) = (words.next(), words.next()) else {
            return;
        };
        let Some((port, transport)) = pair.split_once('/') else {
            return;
        };
        let (Ok(port), Ok(transport)) = (port.parse(), transport.parse()) else {
            return;
        };
        let known = self.0.entry((port, transport)).or_default();
        for name in [name].into_iter().chain(words) {
            if !known.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                known.push(name.to_owned());
            }
        }
    }

    /// The names of a port.
    pub(crate) fn of(&self, port: Port, transport: Transport) -> &[String] {
        self.0.get(&(port, transport)).map_or(&[], Vec::as_slice)
    }

    /// The ports that have this name, in letters of any case.
    pub(crate) fn ports(&self, name: &str) -> impl Iterator<Item = (Port, Transport)> {
        let named = move |names: &Vec<String>| names.iter().any(|it| it.eq_ignore_ascii_case(name));
        self.0
            .iter()
            .filter(move |(_, names)| named(names))
            .map(|(pair, _)| *pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Local services
shop\t\t7777/tcp\tshop-api backend # ours
shop 7777/udp
Shop 7777/tcp
broken
broken tcp/1
broken 0/tcp
broken 70000/tcp
broken 5/carrier-pigeon
last 9/dccp";

    #[test]
    fn names_and_aliases_are_read_and_the_rest_is_passed_over() {
        let names = Names::parse(FILE);
        let port = Port::new(7777).unwrap();
        assert_eq!(
            names.of(port, Transport::Tcp),
            ["shop", "shop-api", "backend"]
        );
        assert_eq!(names.of(port, Transport::Sctp), [""; 0]);
        let both: Vec<_> = names.ports("SHOP").collect();
        assert_eq!(both, [(port, Transport::Tcp), (port, Transport::Udp)]);
        assert_eq!(names.ports("broken").count(), 0);
        assert_eq!(names.0.len(), 3);
    }
}
