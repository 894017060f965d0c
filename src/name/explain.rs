//! What the front's pages say: what happened, why, and what to do.

use hyper::StatusCode;
use hyper::http::uri::Authority;

use super::page::{Link, Page};
use super::{PortInfo, Scheme, SpaceRef};

/// What the client asked for, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) authority: &'a Authority,
    pub(super) scheme: Scheme,
}

/// The address of a space, or of one of its ports, at the same port of the machine that the client
/// used.
fn url(space: &SpaceRef, port: Option<u16>, asked: Asked<'_>) -> String {
    let own = port.map(|port| format!("{port}.")).unwrap_or_default();
    let scheme = asked.scheme.as_str();
    let machine = asked.authority.port_u16().map(|port| format!(":{port}"));
    let machine = machine.unwrap_or_default();
    format!("{scheme}://{own}{}.localhost{machine}/", space.name)
}

/// What there is to say of a space: its only listener has the space's own name.
pub(super) fn listing(space: &SpaceRef, listeners: &[PortInfo], asked: Asked<'_>) -> Vec<Link> {
    let note = match listeners {
        [] => format!("nothing listens · {}", space.directory.display()),
        [only] => note(space, only),
        several => return links(space, several, asked),
    };
    let url = url(space, None, asked);
    vec![Link { url, note }]
}

/// The addresses of these listeners.
pub(super) fn links<'a>(
    space: &SpaceRef,
    listeners: impl IntoIterator<Item = &'a PortInfo>,
    asked: Asked<'_>,
) -> Vec<Link> {
    let link = |listener: &PortInfo| Link {
        url: url(space, Some(listener.port), asked),
        note: note(space, listener),
    };
    listeners.into_iter().map(link).collect()
}

/// What a person wants to know of a listener.
fn note(space: &SpaceRef, listener: &PortInfo) -> String {
    let PortInfo { port, program, .. } = listener;
    let directory = space.directory.display();
    match &program[..] {
        "" => format!("port {port} · {directory}"),
        program => format!("port {port} · {program} · {directory}"),
    }
}

/// A request that nobody could answer, because `what`.
pub(super) fn bad(what: &str) -> Page {
    Page::new(StatusCode::BAD_REQUEST, "This request can't be answered")
        .say(format!("It isn't clear whom it is for: {what}."))
}

/// `number` stands where a port should.
pub(super) fn no_such_port(number: &str) -> Page {
    Page::new(StatusCode::NOT_FOUND, format!("There is no port {number}"))
        .say("Ports are numbers from 1 to 65535.")
}

/// A name outside of `.localhost`.
pub(super) fn foreign(authority: &Authority) -> Page {
    let title = format!("{} is not served here", authority.host());
    Page::new(StatusCode::MISDIRECTED_REQUEST, title)
        .say("wharf answers to names such as NAME.localhost and PORT.NAME.localhost.")
}

/// The page of what there is, for a name that isn't there.
pub(super) fn unknown(page: Page, name: &str) -> Page {
    let title = format!("There is no space called {name}");
    let page = Page { title, ..page };
    match page.links[..] {
        [] => page,
        _ => page.say("These are what there is:"),
    }
}

/// A space, or a port of it, where nothing listens.
pub(super) fn nobody(space: &SpaceRef, port: Option<u16>) -> Page {
    let name = &space.name;
    let title = match port {
        Some(port) => format!("Nothing listens on port {port} of the space {name}"),
        None => format!("Nothing listens in the space {name}"),
    };
    let directory = space.directory.display();
    Page::new(StatusCode::SERVICE_UNAVAILABLE, title)
        .say("The program may still be starting.")
        .say(format!(
            "To start one, in {directory}: wharf run -- COMMAND"
        ))
        .waits()
}

/// A listener that can't be asked in clear.
pub(super) fn speaks_tls(space: &SpaceRef, listener: &PortInfo) -> Page {
    let (port, name) = (listener.port, &space.name);
    let title = format!("Port {port} of the space {name} speaks TLS");
    Page::new(StatusCode::BAD_GATEWAY, title).say(format!(
        "Ask it over HTTPS; where, says: wharf url --https --space {name} {port}"
    ))
}

/// Several listeners do equally well.
pub(super) fn which(space: &SpaceRef) -> Page {
    let title = format!("The space {} has several web servers", space.name);
    Page::new(StatusCode::MULTIPLE_CHOICES, title)
        .say("Which of them do you want? The port in front of the name says it.")
}

/// Several listeners, and none of them does.
pub(super) fn no_web_server(space: &SpaceRef) -> Page {
    let title = format!(
        "Nothing in the space {} looks like a web server",
        space.name
    );
    Page::new(StatusCode::BAD_GATEWAY, title)
        .say("The port in front of the name reaches a listener whatever it is:")
}
