//! Passing a request on to a listener, and its response back.

use std::error::Error;
use std::io;
use std::rc::Rc;

use http_body_util::Either;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::upgrade::{self, OnUpgrade};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;

use super::answer::Body;
use super::headers::{self, Hop};
use super::listen::Client;
use super::page::Page;
use super::pool::Answer;
use super::upstream::{self, Failure, Upstream};
use super::{Front, PortInfo, SpaceRef, Spaces, probe};

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    /// The name that the client asked for, with the machine's port.
    pub(super) authority: &'a Authority,
    pub(super) space: &'a SpaceRef,
    pub(super) listener: &'a PortInfo,
    pub(super) upstream: Rc<Upstream>,
}

impl<S: Spaces> Front<S> {
    /// Passes a request on, and gives the response as soon as its head is there.
    pub(super) async fn pass(
        &self,
        mut request: Request<Incoming>,
        passage: Passage<'_>,
        client: Client,
    ) -> Result<Response<Body>, Page> {
        let asked = request.version();
        let http2 = asked == Version::HTTP_2 && self.speaks_http2(&passage).await;
        let upgrade = upgrade::on(&mut request);
        let hop = headers::strip(request.headers_mut());
        let host = host(request.headers(), passage.authority);
        let origin = headers::Origin {
            client: client.address.ip(),
            host: &host,
            scheme: client.scheme,
        };
        headers::forward(request.headers_mut(), &origin, asked);
        let answer = if http2 {
            for_http2(&mut request, passage.authority, &hop);
            let answer = passage.upstream.http2.request(request).await;
            answer
                .map(|answer| answer.map(Answer::from))
                .map_err(Failure::Http2)
        } else {
            for_http1(&mut request, host, &hop);
            let dial =
                async || upstream::dial(&*self.spaces, passage.space, passage.listener).await;
            passage.upstream.http1.request(request, dial).await
        };
        let mut response = answer.map_err(|error| failure(&error, &passage))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(_) = hop.upgrade else {
                return Err(broken(&passage).say("It changed the protocol without being asked."));
            };
            self.tunnel(
                passage.space.id,
                upgrade,
                upgrade::on(&mut response),
                client,
            );
            return Ok(switched(response));
        }
        if !headers::plain_coding(response.headers()) {
            return Err(broken(&passage).say("Its transfer coding is something else than chunked."));
        }
        headers::strip(response.headers_mut());
        *response.version_mut() = Version::default();
        Ok(response.map(Either::Left))
    }

    /// Whether the listener speaks HTTP/2 without an upgrade: asked once, then remembered. While it
    /// can't be reached, nothing is learnt.
    async fn speaks_http2(&self, passage: &Passage<'_>) -> bool {
        let ask = async || {
            let stream = upstream::dial(&*self.spaces, passage.space, passage.listener).await?;
            io::Result::Ok(probe::speaks_http2(stream).await)
        };
        let known = &passage.upstream.speaks_http2;
        known.get_or_try_init(ask).await.is_ok_and(|speaks| *speaks)
    }

    /// Copies bytes both ways until both sides have ended, one has failed or the space has gone.
    fn tunnel(&self, space: u64, upgraded: OnUpgrade, server: OnUpgrade, client: Client) {
        self.dig(space, async move {
            let _seat = client.seat;
            let Ok((client, server)) = futures_util::try_join!(upgraded, server) else {
                return;
            };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            // An error means that one side has gone; both connections are dropped then.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }

    /// Has a connection carried on into a space, until it or the space ends.
    pub(super) fn dig(&self, space: u64, tunnel: impl Future<Output = ()> + 'static) {
        let mut tunnels = self.tunnels.borrow_mut();
        let tunnels = tunnels.entry(space).or_default();
        while tunnels.try_join_next().is_some() {}
        tunnels.spawn_local(tunnel);
    }
}

/// Makes a request one of HTTP/1.1: target in origin form, `Host`, and a body whose end is marked.
fn for_http1(request: &mut Request<Incoming>, host: HeaderValue, hop: &Hop) {
    *request.uri_mut() = path(request.uri()).into();
    *request.version_mut() = Version::HTTP_11;
    let endless = request.body().size_hint().exact().is_none() && !request.body().is_end_stream();
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers::join_cookies(headers);
    if endless && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocols) = &hop.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocols.clone());
    }
    if hop.trailers {
        headers.append(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Makes a request one of HTTP/2: the name stands in `:authority`.
fn for_http2(request: &mut Request<Incoming>, authority: &Authority, hop: &Hop) {
    let mut parts = hyper::http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(path(request.uri()));
    *request.uri_mut() =
        Uri::from_parts(parts).expect("scheme, authority and path are a whole URI");
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.remove(HOST);
    if hop.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The path and query alone.
fn path(uri: &Uri) -> PathAndQuery {
    let path = uri.path_and_query().cloned();
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// The authority, as a field's value. Mostly it is the one in `Host`, which needn't be copied.
fn host(headers: &HeaderMap, authority: &Authority) -> HeaderValue {
    let same = |host: &&HeaderValue| *host == authority.as_str();
    headers.get(HOST).filter(same).cloned().unwrap_or_else(|| {
        HeaderValue::from_str(authority.as_str()).expect("an authority is ASCII without controls")
    })
}

/// The response that agrees to change the protocol. Its `Upgrade` says which one was chosen.
fn switched(mut response: Response<Answer>) -> Response<Body> {
    let chosen = response.headers().get(UPGRADE).cloned();
    let headers: &mut HeaderMap = response.headers_mut();
    headers::strip(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(chosen) = chosen {
        headers.insert(UPGRADE, chosen);
    }
    response.map(Either::Left)
}

/// Says why there is no response.
fn failure(error: &Failure, passage: &Passage<'_>) -> Page {
    let (port, name) = (passage.listener.port, &passage.space.name);
    if !error.is_connect() {
        return broken(passage).say(format!("{}.", reason(error)));
    }
    let timed_out = cause(error).is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
    if timed_out {
        let title = format!("Port {port} of the space {name} accepts no connections");
        return Page::new(StatusCode::GATEWAY_TIMEOUT, title)
            .say("Something listens there, but it is too busy, or stopped.")
            .waits();
    }
    let title = format!("Port {port} of the space {name} can't be reached");
    Page::new(StatusCode::BAD_GATEWAY, title)
        .say(format!("{}.", reason(error)))
        .say("The program may just be restarting.")
        .waits()
}

fn broken(passage: &Passage<'_>) -> Page {
    let (port, name) = (passage.listener.port, &passage.space.name);
    let title = format!("Port {port} of the space {name} did not answer in HTTP");
    Page::new(StatusCode::BAD_GATEWAY, title)
}

/// The innermost error: what really happened.
fn reason(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut error = Some(error);
    while let Some(e) = error {
        if let Some(cause) = e.downcast_ref() {
            return Some(cause);
        }
        error = e.source();
    }
    None
}
