//! HTTP/2 with prior knowledge, to servers that speak it and to those that don't.

use super::*;
use hyper::{HeaderMap, StatusCode, Version};

fn request(path: &str, body: AnyBody) -> Request<AnyBody> {
    let uri = format!("http://shop.localhost:7070{path}");
    Request::post(uri)
        .version(Version::HTTP_2)
        .body(body)
        .unwrap()
}

/// Sends back what it gets, with a trailer.
async fn talk(request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.uri().authority().unwrap(), "shop.localhost:7070");
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["via"], "2 wharf");
    assert!(!request.headers().contains_key("host"));
    let (feed, body) = fed();
    tokio::spawn(async move {
        let mut asked = request.into_body();
        while let Some(frame) = asked.frame().await {
            let Ok(data) = frame.unwrap().into_data() else {
                break;
            };
            feed.send(Frame::data(data)).await.unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        feed.send(Frame::trailers(trailers)).await.unwrap();
    });
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body).unwrap())
}

/// A program that speaks HTTP/2 only, as gRPC servers do.
async fn grpc(town: &Town, connections: Rc<Cell<usize>>) -> SpaceRef {
    let address = program(async move |stream| {
        connections.set(connections.get() + 1);
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server
            .serve_connection(TokioIo::new(stream), service_fn(talk))
            .await;
    });
    town.add("shop", 50051, address.await)
}

#[test]
fn a_server_without_http2_answers_clients_that_speak_it() {
    town(async |town| {
        let echo = server(async |request| {
            assert_eq!(request.version(), Version::HTTP_11);
            let headers = request.headers();
            assert_eq!(headers["host"], "shop.localhost:7070");
            assert_eq!(headers["cookie"], "a=1; b=2");
            assert_eq!(headers["transfer-encoding"], "chunked");
            Response::new(request.into_body().boxed())
        });
        town.add("shop", 80, echo.await);
        let mut client = town.client2().await;
        let (feed, body) = fed();
        let mut request = request("/", body);
        request
            .headers_mut()
            .append("cookie", "a=1".parse().unwrap());
        request
            .headers_mut()
            .append("cookie", "b=2".parse().unwrap());
        spawn_local(async move { feed.send(Frame::data("abc".into())).await });
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(text(response).await, "abc");
    });
}

#[test]
fn a_stream_with_trailers_passes_both_ways_at_once() {
    town(async |town| {
        let connections = Rc::default();
        grpc(&town, Rc::clone(&connections)).await;
        let mut client = town.client2().await;
        for _ in 0..3 {
            let (feed, body) = fed();
            let mut request = request("/chat.Chat/Talk", body);
            request
                .headers_mut()
                .insert("te", "trailers".parse().unwrap());
            let mut response = client.send_request(request).await.unwrap();
            for word in ["one", "two", "three"] {
                feed.send(Frame::data(word.into())).await.unwrap();
                let frame = response.body_mut().frame().await.unwrap().unwrap();
                assert_eq!(
                    frame.into_data().unwrap(),
                    word,
                    "before the next word is said"
                );
            }
            drop(feed);
            let last = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(last.into_trailers().unwrap()["grpc-status"], "0");
            assert!(response.body_mut().frame().await.is_none());
        }
        assert_eq!(
            connections.get(),
            2,
            "one to find out, one for all requests"
        );
    });
}

#[test]
fn requests_at_once_share_a_connection() {
    town(async |town| {
        let echo = server(async |request| Response::new(full(request.uri().path().to_owned())));
        town.add("shop", 80, echo.await);
        let client = town.client2().await;
        let requests = (0..50).map(|number| {
            let mut client = client.clone();
            async move {
                let path = format!("/{number}");
                let response = client.send_request(request(&path, empty())).await.unwrap();
                assert_eq!(text(response).await, path);
            }
        });
        futures_util::future::join_all(requests).await;
    });
}

#[test]
fn names_are_those_of_http1() {
    town(async |town| {
        town.add("shop", 80, says("shop").await);
        let mut client = town.client2().await;
        let unknown = Request::get("http://shoop.localhost:7070/")
            .body(empty())
            .unwrap();
        let response = client.send_request(unknown).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let two = Request::get("http://shop.localhost:7070/").header("host", "other.localhost");
        let response = client
            .send_request(two.body(empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    });
}

#[test]
fn a_client_of_http1_gets_an_explanation_from_a_server_that_speaks_http2_only() {
    town(async |town| {
        grpc(&town, Rc::default()).await;
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let page = text(response).await;
        assert!(
            page.contains("Port 50051 of the space shop did not answer in HTTP"),
            "{page}"
        );
    });
}
