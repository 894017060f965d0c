//! From `data/services.tsv` to the table in `src/registry/iana.rs`.

use std::collections::BTreeSet;
use std::fmt::Write;

/// The transports in the order of their numbers in the table.
pub(crate) const TRANSPORTS: [&str; 4] = ["tcp", "udp", "sctp", "dccp"];

const WIDTH: usize = 100;

/// The text of `iana.rs`. Panics if the facts are not sorted or too many for the table's form.
pub(crate) fn compile(facts: &str) -> String {
    let rows: Vec<(u32, &str)> = facts.lines().flat_map(rows).collect();
    assert!(
        rows.is_sorted_by_key(|(key, _)| *key),
        "the facts are sorted"
    );
    let names: BTreeSet<&str> = rows.iter().map(|(_, name)| *name).collect();
    let names: Vec<&str> = names.into_iter().collect();
    assert!(names.len() < 1 << 14, "a name's number has 14 bits");

    let mut starts = vec![0];
    for name in &names {
        starts.push(starts.last().unwrap_or(&0) + name.len());
    }
    let rows = rows.iter().map(|(key, name)| {
        let number = names
            .binary_search(name)
            .expect("every row's name is among the names");
        format!("{:#010x},", key | number as u32)
    });
    let rows: Vec<String> = rows.collect();
    let starts: Vec<String> = starts.iter().map(|start| format!("{start},")).collect();

    let mut text = String::from(
        "//! The names of ports, compiled from `data/services.tsv` by the example `registry`: not to be edited.\n",
    );
    array(
        &mut text,
        "Port (16 bits), transport (2) and number of the name (14), sorted.",
        "ROWS: [u32;",
        &rows,
    );
    array(
        &mut text,
        "Where each name begins in [`NAMES`], and where the last one ends.",
        "STARTS: [u16;",
        &starts,
    );
    text.push_str("\n/// All names, sorted, without anything between them.\npub(super) static NAMES: &str = \"\\\n");
    let all = names.concat();
    assert!(
        all.bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    );
    for line in all.as_bytes().chunks(WIDTH) {
        let _ = writeln!(text, "{}\\", String::from_utf8_lossy(line));
    }
    text.push_str("\";\n");
    text
}

/// The rows of one line, `PORT TRANSPORT NAMES`, each with a 0 for the name's number.
fn rows(line: &str) -> Vec<(u32, &str)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [port, transport, names] = fields[..] else {
        panic!("not three fields: {line}");
    };
    let port: u16 = port.parse().expect("a port is a number");
    let transport = TRANSPORTS.iter().position(|known| *known == transport);
    let transport = transport.expect("a transport has a name") as u32;
    let key = u32::from(port) << 16 | transport << 14;
    names.split(' ').map(|name| (key, name)).collect()
}

fn array(text: &mut String, about: &str, head: &str, items: &[String]) {
    let _ = write!(
        text,
        "\n/// {about}\npub(super) static {head} {}] = [",
        items.len()
    );
    let mut column = WIDTH;
    for item in items {
        if column + item.len() > WIDTH {
            text.push_str("\n   ");
            column = 3;
        }
        let _ = write!(text, " {item}");
        column += item.len() + 1;
    }
    text.push_str("\n];\n");
}
