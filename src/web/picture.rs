//! What the page shows, at one moment: a JSON document that is made of those that the commands print.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde::Serialize;

use super::traffic::Route;
use crate::conflict;
use crate::event::Event;
use crate::list::render::SCHEMA;
use crate::list::{Hold, Process};
use crate::protocol::SpaceInfo;
use crate::publish::Publication;

/// As many programs of one space are told.
pub(crate) const PROGRAMS_MAX: usize = 64;

/// Everything at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    pub(crate) spaces: Vec<Space>,
    /// As `wharf ls --json` has them.
    pub(crate) listeners: Vec<Hold>,
    /// As `wharf publish --json` has them.
    pub(crate) published: Vec<Publication>,
    /// The space in focus.
    pub(crate) focus: Option<String>,
    pub(crate) routes: Vec<Route>,
}

/// A space, as `wharf env` has it, and who is in it.
#[derive(Debug, Serialize)]
pub(crate) struct Space {
    pub(crate) name: String,
    pub(crate) directory: Option<String>,
    pub(crate) ipv4: IpAddr,
    pub(crate) ipv6: IpAddr,
    pub(crate) url: Option<String>,
    pub(crate) https: Option<String>,
    /// The machine's address at which its ports are published unless another is named.
    pub(crate) face: Ipv4Addr,
    /// The processes inside, oldest first, at most [`PROGRAMS_MAX`].
    pub(crate) programs: Vec<Process>,
    /// How many more there are.
    pub(crate) more_programs: usize,
}

impl Space {
    /// A space and the processes inside.
    pub(crate) fn new(info: SpaceInfo, face: Ipv4Addr, mut programs: Vec<Process>) -> Self {
        programs.sort_unstable_by_key(|process| (process.started, process.pid));
        let more_programs = programs.len().saturating_sub(PROGRAMS_MAX);
        programs.truncate(PROGRAMS_MAX);
        Self {
            name: info.name,
            directory: info
                .directory
                .map(|path| path.to_string_lossy().into_owned()),
            ipv4: info.ipv4.into(),
            ipv6: info.ipv6.into(),
            url: info.url,
            https: info.https,
            face,
            programs,
            more_programs,
        }
    }
}

impl Picture {
    /// Its JSON form, on one line.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            schema: u32,
            #[serde(flatten)]
            picture: &'a Picture,
        }
        document(&Document {
            schema: SCHEMA,
            picture: self,
        })
    }
}

/// An event as `wharf events --json` has it, and of a conflict the `story`, as `wharf run` tells it.
pub(crate) fn told(event: &Event) -> String {
    #[derive(Serialize)]
    struct Told<'a> {
        schema: u32,
        #[serde(flatten)]
        event: &'a Event,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        story: Vec<String>,
    }
    document(&Told {
        schema: SCHEMA,
        event,
        // What the program was started as is not told; whoever reads this knows.
        story: conflict::story(event, &["CMD".into()]),
    })
}

/// That so many events were not told.
pub(crate) fn missed(count: u64) -> String {
    serde_json::json!({ "schema": SCHEMA, "missed": count }).to_string()
}

/// Where the page stands in time: its clock may differ from the machine's.
pub(crate) fn clock() -> String {
    serde_json::json!({ "schema": SCHEMA, "now": Timestamp::now() }).to_string()
}

fn document(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect(
        "a document holds only strings, numbers and sequences, which always have a JSON form",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::testing::event;
    use crate::event::{Kind, Reason};
    use crate::list::Protocol;
    use crate::list::testing::{sample, sample_process};
    use crate::publish::{Place, State};
    use crate::web::traffic::{End, Load, Way};

    fn space(programs: usize) -> Space {
        let info = SpaceInfo {
            name: "shop".into(),
            directory: Some("/home/ada/shop".into()),
            ipv4: "10.77.3.2".parse().unwrap(),
            ipv6: "fd77::3:2".parse().unwrap(),
            network: 1,
            url: None,
            https: None,
        };
        let programs = (0..programs).map(|_| sample_process("/usr/bin/node server.js"));
        Space::new(info, "127.77.3.2".parse().unwrap(), programs.collect())
    }

    #[test]
    fn the_document_is_made_of_what_the_commands_print() {
        let listener = sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 3000);
        let publication = Publication {
            space: "shop".into(),
            inside: 3000.try_into().unwrap(),
            place: Place {
                protocol: Protocol::Tcp,
                address: "127.0.0.1".parse().unwrap(),
                port: 8080.try_into().unwrap(),
            },
            state: State::Elsewhere { to: "blog".into() },
        };
        let route = Route {
            way: Way {
                from: None,
                program: None,
                to: End::Space {
                    space: "shop".into(),
                    port: 3000.try_into().unwrap(),
                },
            },
            load: Load {
                sessions: 1,
                begun: 2,
                sent: 3,
                received: 4,
            },
        };
        let picture = Picture {
            spaces: vec![space(1)],
            listeners: vec![listener.clone()],
            published: vec![publication],
            focus: Some("blog".into()),
            routes: vec![route],
        };
        let document: Value = serde_json::from_str(&picture.json()).unwrap();
        assert_eq!(
            document["listeners"],
            json!([serde_json::to_value(&listener).unwrap()])
        );
        assert_eq!(
            document["published"],
            json!([{ "space": "shop", "inside": 3000, "protocol": "tcp", "address": "127.0.0.1", "port": 8080,
                "state": "elsewhere", "to": "blog" }])
        );
        assert_eq!(
            document["routes"],
            json!([{ "from": null, "program": null, "to": { "place": "space", "space": "shop", "port": 3000 },
                "sessions": 1, "begun": 2, "sent": 3, "received": 4 }])
        );
        assert_eq!(
            (&document["schema"], &document["focus"]),
            (&json!(1), &json!("blog"))
        );
        let told = &document["spaces"][0];
        assert_eq!(told["face"], "127.77.3.2");
        assert_eq!(told["programs"][0]["program"], "node");
    }

    #[test]
    fn of_many_programs_some_are_told_and_the_rest_counted() {
        let many = space(PROGRAMS_MAX + 3);
        assert_eq!((many.programs.len(), many.more_programs), (PROGRAMS_MAX, 3));
    }

    #[test]
    fn only_a_conflict_has_a_story() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let listening = event(now, "shop", 3000);
        let document: Value = serde_json::from_str(&told(&listening)).unwrap();
        assert_eq!(document["event"], "listening");
        assert_eq!(document.get("story"), None);
        let conflict = Event {
            kind: Kind::Conflict {
                reason: Reason::Reserved("web".into()),
            },
            ..listening
        };
        let document: Value = serde_json::from_str(&told(&conflict)).unwrap();
        assert_eq!(
            document["story"],
            json!([
                "tcp 127.0.0.1:3000: address already in use: wharf.toml of space shop keeps port 3000 for web"
            ])
        );
    }
}
