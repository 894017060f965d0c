//! hyper on both sides, over our sockets and no others.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use network::{RIGHT, at, pair, soon};
use wharf_link::Capabilities;
use wharf_socket::{TcpListener, TcpStream};

/// Answers with the request's path, and its body back to front.
async fn reverse(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut body = request
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec();
    body.reverse();
    let mut response = Response::new(Full::new(body.into()));
    response
        .headers_mut()
        .insert("x-path", path.parse().unwrap());
    Ok(response)
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(reverse));
        tokio::spawn(connection);
    }
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_turn() {
    let (left, right) = pair(Capabilities::ALL);
    for ip in RIGHT {
        let listener = TcpListener::bind(&right, at(ip, 80)).await.unwrap();
        tokio::spawn(serve(listener));
        let stream = TcpStream::connect(&left, at(ip, 80)).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        for size in [0, 1, 1 << 20] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let request = Request::post(format!("/{size}"))
                .header("host", "right")
                .body(Full::new(Bytes::from(body.clone())))
                .unwrap();
            let response = soon(sender.send_request(request)).await.unwrap();
            assert_eq!(response.headers()["x-path"], format!("/{size}"));
            let got = soon(response.into_body().collect())
                .await
                .unwrap()
                .to_bytes();
            assert!(got.iter().eq(body.iter().rev()));
        }
    }
}
