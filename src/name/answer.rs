//! From a request to the listener that it is for, or to the page that says why there is none.

use std::rc::Rc;

use futures_util::future::join_all;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::explain::{self, Asked, links};
use super::host::{self, Place};
use super::listen::Client;
use super::page::{Form, Page};
use super::pool::Answer;
use super::proxy::Passage;
use super::route::{self, ASK_AGAIN, Choice, Kind};
use super::upstream::{self, Key, Upstream};
use super::{Front, PortInfo, SpaceRef, Spaces, headers, probe, web};

/// What a client gets: a program's own answer, or one of ours.
pub(super) type Body = Either<Answer, web::Body>;

impl<S: Spaces> Front<S> {
    /// Answers one request, always.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> Response<Body> {
        let form = Form::of(request.headers());
        match self.find(request, client).await {
            Ok(response) => response,
            Err(page) => page.respond(form).map(|page| Either::Right(page.into())),
        }
    }

    async fn find(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> Result<Response<Body>, Page> {
        let authority = authority(&request)?;
        let asked = Asked {
            authority: &authority,
            scheme: client.scheme,
        };
        let place = host::place(authority.as_str())
            .ok_or_else(|| explain::bad("the host name is malformed"))?;
        let (name, port) = match place {
            Place::Space { name, port } => (name, port),
            Place::Page if !is_for_curl(&request) => {
                sound(&request)?;
                let answer = self.spaces.page(request, &authority).await;
                return answer
                    .map(|answer| answer.map(Either::Right))
                    .map_err(|error| {
                        Page::new(StatusCode::SERVICE_UNAVAILABLE, "There is no page")
                            .say(format!("{error}."))
                    });
            }
            Place::Wharf | Place::Page => {
                return Err(self.everything(StatusCode::OK, asked).await);
            }
            Place::NoSuchPort { number } => return Err(explain::no_such_port(&number)),
            Place::Foreign => return Err(explain::foreign(&authority)),
        };
        sound(&request)?;
        let Some(space) = self.spaces.find(&name) else {
            let page = self.everything(StatusCode::NOT_FOUND, asked).await;
            return Err(explain::unknown(page, &name));
        };
        let listeners = self.spaces.listeners(&space).await;
        let listener = match port {
            Some(port) => listeners.iter().find(|listener| listener.port == port),
            None => self.web_server(&space, &listeners, asked).await?,
        };
        let listener = listener
            .ok_or_else(|| explain::nobody(&space, port).link(links(&space, &*listeners, asked)))?;
        let upstream = self.upstream(&space, listener, &listeners);
        // Over HTTPS it would have had the connection untouched.
        if let Ok(known) = upstream.kind.try_lock()
            && let Some((Kind::Secure, _)) = *known
        {
            return Err(explain::speaks_tls(&space, listener));
        }
        let passage = Passage {
            authority: &authority,
            space: &space,
            listener,
            upstream,
        };
        self.pass(request, passage, client).await
    }

    /// The listener that answers to the bare name, by the rule of [`route`]; `None` if there are no
    /// listeners.
    async fn web_server<'a>(
        &self,
        space: &SpaceRef,
        listeners: &'a [PortInfo],
        asked: Asked<'_>,
    ) -> Result<Option<&'a PortInfo>, Page> {
        match self.choose(space, listeners).await {
            Choice::One(listener) => Ok(Some(listener)),
            Choice::Several(several) => {
                Err(explain::which(space).link(links(space, several, asked)))
            }
            Choice::Nobody if listeners.is_empty() => Ok(None),
            Choice::Nobody => {
                Err(explain::no_web_server(space).link(links(space, listeners, asked)))
            }
        }
    }

    /// Applies the rule of [`route`].
    pub(super) async fn choose<'a>(
        &self,
        space: &SpaceRef,
        listeners: &'a [PortInfo],
    ) -> Choice<'a> {
        if let [only] = listeners {
            return Choice::One(only);
        }
        let mut found = self.kinds(space, listeners, Ask::Once).await;
        if !found.iter().any(|(_, kind)| *kind == Kind::Page) {
            found = self.kinds(space, listeners, Ask::Again).await;
        }
        route::choose(&found)
    }

    /// What those listeners are that could be web servers. All are asked at the same time.
    async fn kinds<'a>(
        &self,
        space: &SpaceRef,
        listeners: &'a [PortInfo],
        ask: Ask,
    ) -> Vec<(&'a PortInfo, Kind)> {
        let candidates = listeners.iter().filter(|l| route::worth_asking(l));
        let kinds = candidates.map(async |listener| {
            let upstream = self.upstream(space, listener, listeners);
            (listener, self.kind(space, listener, &upstream, ask).await)
        });
        join_all(kinds).await
    }

    /// What a listener is: what is remembered, or what it says now.
    pub(super) async fn kind(
        &self,
        space: &SpaceRef,
        listener: &PortInfo,
        upstream: &Upstream,
        ask: Ask,
    ) -> Kind {
        let mut remembered = upstream.kind.lock().await;
        if let Some((kind, asked)) = *remembered {
            let settled = matches!(kind, Kind::Page | Kind::Secure | Kind::Other);
            if settled || ask == Ask::Once || asked.elapsed() < ASK_AGAIN {
                return kind;
            }
        }
        let dial = async || upstream::dial(&*self.spaces, space, listener).await;
        let kind = probe::kind(dial, &format!("{}.localhost", space.name)).await;
        *remembered = Some((kind, Instant::now()));
        kind
    }

    /// The way to a listener. What is kept for listeners that the space no longer has goes.
    pub(super) fn upstream(
        &self,
        space: &SpaceRef,
        listener: &PortInfo,
        listeners: &[PortInfo],
    ) -> Rc<Upstream> {
        let mut upstreams = self.upstreams.borrow_mut();
        let key = Key::new(space, listener);
        if let Some(upstream) = upstreams.get(&key) {
            return Rc::clone(upstream);
        }
        let current: Vec<Key> = listeners.iter().map(|l| Key::new(space, l)).collect();
        upstreams.retain(|key, _| key.space != space.id || current.contains(key));
        let upstream = Upstream::new(self.dials.clone(), space.clone(), listener.clone());
        let upstream = Rc::new(upstream);
        upstreams.insert(key, Rc::clone(&upstream));
        upstream
    }

    /// The page of all spaces and their ports.
    async fn everything(&self, status: StatusCode, asked: Asked<'_>) -> Page {
        let mut all = Vec::new();
        for space in self.spaces.all() {
            let listeners = self.spaces.listeners(&space).await;
            all.extend(explain::listing(&space, &listeners, asked));
        }
        let page = Page::new(status, "wharf: spaces on this machine");
        if all.is_empty() {
            return page.say("No space runs now. Start a program in one: wharf run -- COMMAND");
        }
        page.link(all)
    }
}

/// Whether a listener that is no page yet may be asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Once,
    Again,
}

/// Whom a request names. An authority in the target overrides `Host` (RFC 9112 §3.2.2), but in
/// HTTP/2 they may not differ (RFC 9113 §8.3.1).
pub(super) fn authority(request: &Request<Incoming>) -> Result<Authority, Page> {
    if request.method() == Method::CONNECT {
        return Err(
            Page::new(StatusCode::NOT_IMPLEMENTED, "This is not a proxy")
                .say("wharf serves spaces by name and takes no CONNECT."),
        );
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(explain::bad("it has more than one Host"));
    }
    if let Some(authority) = request.uri().authority() {
        let same = |host: &str| host.eq_ignore_ascii_case(authority.as_str());
        let agrees = host.is_none_or(|host| host.to_str().is_ok_and(same));
        if request.version() == Version::HTTP_2 && !agrees {
            return Err(explain::bad("Host and :authority differ"));
        }
        return Ok(authority.clone());
    }
    match host {
        Some(host) => {
            Authority::try_from(host.as_bytes()).map_err(|_| explain::bad("its Host is malformed"))
        }
        None if request.version() == Version::HTTP_10 => Ok(Authority::from_static("localhost")),
        None => Err(explain::bad("it has no Host")),
    }
}

/// Whether the page is asked for in text, which it has no use for.
fn is_for_curl(request: &Request<Incoming>) -> bool {
    request.uri().path() == "/" && Form::of(request.headers()) == Form::Text
}

/// Refuses requests that two servers could read in two ways, and those that go round in a circle.
fn sound(request: &Request<Incoming>) -> Result<(), Page> {
    if !headers::plain_coding(request.headers()) {
        return Err(
            Page::new(StatusCode::NOT_IMPLEMENTED, "Unknown transfer coding")
                .say("The request's Transfer-Encoding is something else than chunked."),
        );
    }
    if headers::loops(request.headers()) {
        return Err(Page::new(StatusCode::LOOP_DETECTED, "This request goes round in a circle")
            .say("It has passed wharf many times already: a server in a space passes it on to its own name."));
    }
    Ok(())
}
