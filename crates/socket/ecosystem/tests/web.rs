//! axum on one stack, hyper's client on the other.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use network::{bytes, pair, soon};
use wharf_ecosystem::web::Listener;
use wharf_socket::{Stack, TcpListener, TcpStream};

async fn serve(stack: &Stack) {
    let pages = Router::new()
        .route(
            "/hello/{name}",
            get(|Path(name): Path<String>| async move { format!("hello, {name}") }),
        )
        .route("/echo", post(|body: Bytes| async { body }));
    let listener = TcpListener::bind(stack, "[::]:80").await.unwrap();
    tokio::spawn(async { axum::serve(Listener(listener), pages).await.unwrap() });
}

async fn client(stack: &Stack, address: &str) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(stack, address).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> (u16, Bytes) {
    let response = soon(sender.send_request(request)).await.unwrap();
    let status = response.status().as_u16();
    let body = soon(response.into_body().collect()).await.unwrap();
    (status, body.to_bytes())
}

#[tokio::test]
async fn axum_answers_hyper_over_both_families() {
    let (left, right) = pair();
    serve(&right).await;
    for address in ["10.0.0.2:80", "[fd00::2]:80"] {
        let mut sender = client(&left, address).await;
        let request = |path: &str, body: Vec<u8>| {
            let method = if body.is_empty() { "GET" } else { "POST" };
            let builder = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "right");
            builder.body(Full::new(Bytes::from(body))).unwrap()
        };
        let hello = ask(&mut sender, request("/hello/left", Vec::new())).await;
        assert_eq!(hello, (200, Bytes::from_static(b"hello, left")));
        let said = bytes(1_000_000);
        let (status, heard) = ask(&mut sender, request("/echo", said.clone())).await;
        assert!(status == 200 && heard == said);
        assert_eq!(
            ask(&mut sender, request("/nowhere", Vec::new())).await.0,
            404
        );
    }
}
