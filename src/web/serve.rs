//! From a request for `wharf.localhost` to its answer.

use std::cell::RefCell;
use std::future::Future;
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::body::Body;
use super::errand::{self, Errand};
use super::files::{self, File};
use super::guard;
use super::key::Keys;
use crate::failure::{Failure, status, status_of};
use crate::list::render::SCHEMA;
use crate::protocol::{Ask, Reply};

/// Nothing but the page's own files is loaded, nothing is framed, and no text becomes a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const JSON: &str = "application/json";

/// What the page has of the daemon.
pub(crate) trait Desk {
    /// Who may look.
    fn keys(&self) -> &RefCell<Keys>;

    /// Answers what a command would ask.
    ///
    /// # Errors
    /// As the command's.
    fn answer(&self, ask: Ask) -> impl Future<Output = Result<Reply>>;

    /// What there is and what happens, as server-sent events; `None` if too many look already.
    fn tell(&self) -> Option<mpsc::Receiver<Bytes>>;
}

/// Answers one request, always.
pub(crate) async fn answer(
    desk: &impl Desk,
    request: Request<Incoming>,
    authority: &Authority,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = match route(&head) {
        Ok(Wish::File(file)) => whole(StatusCode::OK, file.kind, file.text),
        Ok(wish) => own(desk, wish, &head, body, authority)
            .await
            .unwrap_or_else(Refusal::respond),
        Err(refusal) => refusal.respond(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
enum Wish {
    File(&'static File),
    /// The key for a ticket.
    Session,
    /// What there is and what happens.
    Live,
    Errand(Errand),
}

fn route(head: &Parts) -> Result<Wish, Refusal> {
    let path = head.uri.path();
    let (wish, methods, allowed) = if let Some(file) = files::at(path) {
        (
            Wish::File(file),
            &[Method::GET, Method::HEAD][..],
            "GET, HEAD",
        )
    } else if path == "/live" {
        (Wish::Live, &[Method::GET][..], "GET")
    } else if path == "/session" {
        (Wish::Session, &[Method::POST][..], "POST")
    } else if let Some(errand) = Errand::at(path) {
        (Wish::Errand(errand), &[Method::POST][..], "POST")
    } else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such page"));
    };
    match methods.contains(&head.method) {
        true => Ok(wish),
        false => Err(Refusal {
            allowed: Some(allowed),
            ..Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "that is done in another way",
            )
        }),
    }
}

/// Answers what only the page itself may ask.
async fn own(
    desk: &impl Desk,
    wish: Wish,
    head: &Parts,
    body: Incoming,
    authority: &Authority,
) -> Result<Response<Body>, Refusal> {
    if !guard::is_own(&head.headers, authority) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "only the page itself may ask this",
        ));
    }
    let said = guard::bearer(&head.headers).unwrap_or_default();
    if let Wish::Session = wish {
        let key = desk.keys().borrow_mut().exchange(said, Instant::now());
        let key = key.ok_or_else(Refusal::unknown)?;
        return Ok(document(
            StatusCode::OK,
            &json!({ "schema": SCHEMA, "key": key }),
        ));
    }
    if !desk.keys().borrow().opens(said) {
        return Err(Refusal::unknown());
    }
    match wish {
        Wish::Errand(errand) => run(desk, errand, head, body).await,
        _ => match desk.tell() {
            Some(told) => Ok(respond(
                StatusCode::OK,
                "text/event-stream",
                Body::Told(told),
            )),
            None => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many pages are open; close one",
            )),
        },
    }
}

async fn run(
    desk: &impl Desk,
    errand: Errand,
    head: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Refusal> {
    let kind = head.headers.get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().eq_ignore_ascii_case(JSON.as_bytes())) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "requests are JSON (application/json)",
        ));
    }
    let body = Limited::new(body, errand::LONGEST).collect().await;
    let body = body.map_err(|_| {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is too long, or was cut off",
        )
    })?;
    let ask = errand.ask(&body.to_bytes())?;
    let reply = desk.answer(ask).await?;
    Ok(document(StatusCode::OK, &errand::answer(reply)))
}

/// Why something isn't answered.
#[derive(Debug)]
struct Refusal {
    code: StatusCode,
    message: String,
    /// The exit status of the command that asks the same.
    status: u8,
    allowed: Option<&'static str>,
}

impl Refusal {
    fn new(code: StatusCode, message: &str) -> Self {
        let status = match code {
            StatusCode::NOT_FOUND => status::NOTHING,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => status::NOT_PERMITTED,
            StatusCode::SERVICE_UNAVAILABLE => status::WHARF_FAILED,
            _ => status::USAGE,
        };
        Self {
            code,
            message: message.into(),
            status,
            allowed: None,
        }
    }

    fn unknown() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "this needs a key of this daemon; `wharf web` prints an address that has one",
        )
    }

    fn respond(self) -> Response<Body> {
        let mut response = document(self.code, &errand::refusal(&self.message, self.status));
        let headers = response.headers_mut();
        if let Some(allowed) = self.allowed {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if self.code == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What the command would have said, and the code that is nearest to its exit status.
impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        let status = status_of(&error);
        let code = match status {
            status::NOTHING => StatusCode::NOT_FOUND,
            status::USAGE => StatusCode::BAD_REQUEST,
            status::NOT_PERMITTED => StatusCode::FORBIDDEN,
            status::CONFLICT => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            code,
            message: format!("{error:#}"),
            status,
            allowed: None,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        anyhow::Error::from(failure).into()
    }
}

fn document(code: StatusCode, document: &Value) -> Response<Body> {
    whole(code, JSON, format!("{document}\n"))
}

fn whole(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    respond(code, kind, Full::new(text.into()).into())
}

fn respond(code: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
