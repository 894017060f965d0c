//! Reading a script.

use std::time::Duration;

use wharf_net::wire::tcp::Flags;

use super::packet::Words;

/// A script.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    /// What is required.
    pub(crate) title: String,
    /// Where that is written.
    pub(crate) section: String,
    pub(crate) families: Vec<Family>,
    /// Why the kernel is not asked.
    pub(crate) not_on_linux: Option<String>,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) after: After,
    pub(crate) what: What,
}

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum After {
    Anytime,
    /// After so much time; how much more or less will do, if that is said.
    Time(Duration, Option<Duration>),
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Arrives(Packet),
    Leaves(Packet),
    Silence,
    Call(Vec<String>),
}

#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Tcp(Box<Words>),
    Unreachable(u8),
    TooBig(u16),
    Udp(usize),
    PortUnreachable,
}

/// Reads a script; says which line can't be read.
pub(crate) fn script(name: &str, text: &str) -> Result<Script, String> {
    let mut script = Script {
        name: name.to_owned(),
        title: String::new(),
        section: String::new(),
        families: vec![Family::V4, Family::V6],
        not_on_linux: None,
        lines: Vec::new(),
    };
    for (number, text) in text.lines().enumerate() {
        let number = number + 1;
        let text = text.trim();
        if let Some(title) = text.strip_prefix('#') {
            if script.title.is_empty() {
                title.trim().clone_into(&mut script.title);
            }
        } else if let Some(section) = text.strip_prefix("from ") {
            section.clone_into(&mut script.section);
        } else if let Some(why) = text.strip_prefix("not on Linux: ") {
            script.not_on_linux = Some(why.to_owned());
        } else if let Some(family) = text.strip_prefix("only ") {
            script.families = vec![if family == "IPv4" {
                Family::V4
            } else {
                Family::V6
            }];
        } else if !text.is_empty() {
            let read = line(number, text);
            script
                .lines
                .push(read.map_err(|why| format!("{name}:{number}: {why}: {text}"))?);
        }
    }
    match script.title.is_empty() || script.section.is_empty() || script.lines.is_empty() {
        true => Err(format!("{name}: no requirement, no section, or no lines")),
        false => Ok(script),
    }
}

fn line(number: usize, text: &str) -> Result<Line, String> {
    let (time, rest) = text
        .split_once(' ')
        .ok_or("a time, and what happens, are wanted")?;
    let after = match time.strip_prefix('+') {
        None if time == "*" => After::Anytime,
        None => return Err("a time begins with + or is *".to_owned()),
        Some(time) => match time.split_once('~') {
            Some((time, slack)) => After::Time(span(time)?, Some(span(slack)?)),
            None => After::Time(span(time)?, None),
        },
    };
    let rest = rest.trim();
    let what = match rest.split_once(' ') {
        Some(("<", rest)) => What::Arrives(packet(rest)?),
        Some((">", rest)) => What::Leaves(packet(rest)?),
        _ if rest == "silence" => What::Silence,
        _ => What::Call(rest.split_whitespace().map(str::to_owned).collect()),
    };
    Ok(Line {
        number,
        text: text.to_owned(),
        after,
        what,
    })
}

fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1000),
        (None, None) => (text, 0),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a time is 0, or so many ms or s")?;
    match (number, unit) {
        (1.., 0) => Err("a time wants a unit".to_owned()),
        _ => Ok(Duration::from_millis(number * unit)),
    }
}

fn packet(text: &str) -> Result<Packet, String> {
    let mut words = text.split_whitespace();
    match words.next().unwrap_or_default() {
        "icmp" => match (words.next(), words.next()) {
            (Some("port-unreachable"), _) => Ok(Packet::PortUnreachable),
            (Some("unreachable"), code) => Ok(Packet::Unreachable(number(code)?)),
            (Some("too-big"), mtu) => Ok(Packet::TooBig(number(mtu)?)),
            _ => Err("no such ICMP message".to_owned()),
        },
        "udp" => Ok(Packet::Udp(number(words.next())?)),
        _ => segment(text).map(|words| Packet::Tcp(Box::new(words))),
    }
}

fn number<T: std::str::FromStr>(word: Option<&str>) -> Result<T, String> {
    let number = word.and_then(|word| word.parse().ok());
    number.ok_or_else(|| "a number is wanted".to_owned())
}

fn any_number(word: Option<&str>) -> Result<Option<u32>, String> {
    match word {
        Some("*") => Ok(None),
        word => number(word).map(Some),
    }
}

fn range(word: Option<&str>) -> Result<(u32, u32), String> {
    let (start, end) = word
        .and_then(|word| word.split_once(':'))
        .ok_or("START:END is wanted")?;
    Ok((number(Some(start))?, number(Some(end))?))
}

fn segment(text: &str) -> Result<Words, String> {
    let mut words = text.split_whitespace();
    let mut segment = Words::default();
    for name in words.next().unwrap_or_default().split('+') {
        if name == "ACK?" {
            segment.acknowledges_perhaps = true;
            continue;
        }
        segment.flags = segment.flags | flag(name)?;
    }
    let (start, end) = range(words.next())?;
    segment.start = start;
    segment.text = end.checked_sub(start).ok_or("it ends before it begins")? as usize;
    while let Some(word) = words.next() {
        match word {
            "ack" => segment.ack = Some(number(words.next())?),
            "win" => segment.window = Some(number(words.next())?),
            "urg" => segment.urgent = Some(number(words.next())?),
            "mss" => segment.mss = Some(number(words.next())?),
            "scale" => segment.scale = Some(number(words.next())?),
            "sackok" => segment.sack_permitted = true,
            "sack" => {
                let blocks = words.next().unwrap_or_default().split(',');
                segment.sack = blocks
                    .map(|block| range(Some(block)))
                    .collect::<Result<_, _>>()?;
            }
            "ts" => segment.stamps = Some((any_number(words.next())?, any_number(words.next())?)),
            "notect" => segment.ecn = Some(0),
            "ect0" => segment.ecn = Some(2),
            "ce" => segment.ecn = Some(3),
            "damaged" => segment.damaged = true,
            "anew" => segment.anew = true,
            "peer" => segment.peer = number(words.next())?,
            "no" => match words.next() {
                Some(name @ ("mss" | "scale" | "sackok" | "sack" | "ts")) => {
                    segment.without.push(name.to_owned());
                }
                _ => return Err("no such option to be absent".to_owned()),
            },
            _ => return Err(format!("no such word: {word}")),
        }
    }
    Ok(segment)
}

fn flag(name: &str) -> Result<Flags, String> {
    Ok(match name {
        "SYN" => Flags::SYN,
        "ACK" => Flags::ACK,
        "FIN" => Flags::FIN,
        "RST" => Flags::RST,
        "PSH" => Flags::PSH,
        "URG" => Flags::URG,
        "ECE" => Flags::ECE,
        "CWR" => Flags::CWR,
        "none" => Flags::NONE,
        _ => return Err(format!("no such flag: {name}")),
    })
}
