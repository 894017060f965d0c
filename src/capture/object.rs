//! A frame as a JSON object: docs/json.md documents it.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use wharf_link::pcap::{Direction, Packet};

use super::headers::{Content, Headers};
use crate::list::render::SCHEMA;

/// What is said of a frame.
pub(super) fn of_frame(packet: &Packet) -> Value {
    let direction = match packet.direction {
        Some(Direction::Inbound) => "in",
        _ => "out",
    };
    let mut object = Map::new();
    object.insert("schema".into(), SCHEMA.into());
    object.insert("at".into(), json!(moment(packet.time)));
    object.insert("direction".into(), direction.into());
    object.extend(of_headers(&Headers::of(&packet.frame)));
    if let Some(comment) = &packet.comment {
        object.insert("comment".into(), comment.as_str().into());
    }
    object.into()
}

/// What is said at the end.
pub(super) fn of_end(captured: u64, missed: u64) -> Value {
    json!({ "schema": SCHEMA, "captured": captured, "missed": missed })
}

/// A time since 1970, as the file has it.
pub(super) fn moment(time: Duration) -> Timestamp {
    Timestamp::try_from(SystemTime::UNIX_EPOCH + time).unwrap_or_default()
}

fn of_headers(headers: &Headers) -> Map<String, Value> {
    let mut said = match headers {
        Headers::Ip {
            source,
            destination,
            content,
        } => {
            let mut said = of_content(content);
            said["source"] = json!(source);
            said["destination"] = json!(destination);
            said
        }
        Headers::Arp => json!({ "protocol": "arp" }),
        Headers::Other(kind) => json!({ "ethertype": kind }),
        Headers::Broken => json!({ "broken": true }),
    };
    std::mem::take(said.as_object_mut().expect("each is an object"))
}

fn of_content(content: &Content) -> Value {
    match *content {
        Content::Tcp {
            ports: [from, to],
            flags,
            length,
        } => json!({
            "protocol": "tcp",
            "source_port": from,
            "destination_port": to,
            "flags": format!("{flags:?}"),
            "bytes": length,
        }),
        Content::Udp {
            ports: [from, to],
            length,
        } => json!({
            "protocol": "udp",
            "source_port": from,
            "destination_port": to,
            "bytes": length,
        }),
        Content::Icmp { kind, code } => json!({ "protocol": "icmp", "type": kind, "code": code }),
        Content::Fragment(protocol) => json!({ "fragment_of": protocol }),
        Content::Other(protocol) => json!({ "protocol_number": protocol }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::testing;
    use super::*;

    #[test]
    fn each_kind_of_frame_says_what_it_is() {
        let packet = |frame: Vec<u8>, comment: Option<&str>| Packet {
            time: Duration::new(1_800_000_000, 123_456_789),
            direction: Some(Direction::Inbound),
            frame,
            comment: comment.map(str::to_owned),
        };
        let at = "2027-01-15T08:00:00.123456789Z";
        assert_eq!(
            of_frame(&packet(testing::syn(), Some("curl → shop"))),
            json!({
                "schema": 1, "at": at, "direction": "in", "protocol": "tcp", "flags": "SYN", "bytes": 0, "comment": "curl → shop",
                "source": "10.77.1.2", "source_port": 40000, "destination": "10.77.3.4", "destination_port": 80,
            })
        );
        for (frame, said) in [
            (
                testing::datagram(),
                json!({
                    "protocol": "udp", "bytes": 5,
                    "source": "fd77::1", "source_port": 5000, "destination": "fd77::2", "destination_port": 53,
                }),
            ),
            (
                testing::ping(),
                json!({
                    "protocol": "icmp", "type": 8, "code": 0, "source": "10.77.1.2", "destination": "192.0.2.1",
                }),
            ),
            (
                [&[0; 12][..], &[8, 6]].concat(),
                json!({ "protocol": "arp" }),
            ),
            (
                [&[0; 12][..], &[0x88, 0xcc]].concat(),
                json!({ "ethertype": 0x88cc }),
            ),
            (vec![0; 13], json!({ "broken": true })),
        ] {
            let said = said.as_object().unwrap();
            assert_eq!(of_headers(&Headers::of(&frame)), *said);
        }
    }
}
