//! Connections that stay, and bodies of every kind, in both directions.

use super::*;
use hyper::body::Body;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

/// A sum over a body that notices what is missing, doubled or swapped.
async fn digest<B: Body<Data = Bytes, Error = hyper::Error> + Unpin>(mut body: B) -> (u64, u64) {
    let (mut length, mut sum) = (0, 0_u64);
    while let Some(frame) = body.frame().await {
        for byte in frame.unwrap().into_data().unwrap() {
            length += 1;
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
    }
    (length, sum)
}

/// Feeds bytes that don't repeat soon, and says their digest.
async fn feed_much(feed: mpsc::Sender<Frame<Bytes>>, mebibytes: u64) -> (u64, u64) {
    let (mut length, mut sum) = (0, 0_u64);
    for round in 0..mebibytes * 16 {
        let piece: Vec<u8> = (0..65_536_u64)
            .map(|i| ((i * i + round * 7) >> 3) as u8)
            .collect();
        for byte in &piece {
            length += 1;
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
        if feed.send(Frame::data(piece.into())).await.is_err() {
            break;
        }
    }
    (length, sum)
}

#[test]
fn one_connection_serves_many_requests_on_one_upstream_connection() {
    town(async |town| {
        town.add("shop", 80, says("again").await);
        let mut client = town.client().await;
        for _ in 0..10 {
            client.ready().await.unwrap();
            let response = client
                .send_request(get("shop.localhost", "/"))
                .await
                .unwrap();
            assert_eq!(text(response).await, "again");
        }
        assert_eq!(town.census.dials.get(), 1);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    town(async |town| {
        let echo = server(async |request| Response::new(full(request.uri().path().to_owned())));
        town.add("shop", 80, echo.await);
        let one = |path, end| format!("GET {path} HTTP/1.1\r\nHost: shop.localhost\r\n{end}\r\n");
        let requests = one("/1", "") + &one("/2", "") + &one("/3", "Connection: close\r\n");
        let answers = town.raw(&requests).await;
        let found: Vec<_> = answers
            .match_indices("\r\n\r\n/")
            .map(|(at, _)| at)
            .collect();
        let bodies: Vec<_> = found.iter().map(|at| &answers[at + 4..at + 6]).collect();
        assert_eq!(bodies, ["/1", "/2", "/3"]);
    });
}

#[test]
fn large_bodies_stream_both_ways_without_being_kept() {
    town(async |town| {
        // The server sends each piece back as it comes: this would stop dead if one side were
        // buffered first.
        let echo = server(async |request| {
            assert!(!request.headers().contains_key("content-length"));
            assert_eq!(request.headers()["transfer-encoding"], "chunked");
            Response::new(request.into_body().boxed())
        });
        town.add("shop", 80, echo.await);
        let (feed, body) = fed();
        let sent = spawn_local(feed_much(feed, 64));
        let request = Request::post("/")
            .header("host", "shop.localhost")
            .body(body)
            .unwrap();
        let response = town.client().await.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let came = digest(response.into_body()).await;
        assert_eq!(came, sent.await.unwrap());
        assert_eq!(came.0, 64 << 20);
    });
}

#[test]
fn a_slow_reader_slows_the_writer_down() {
    town(async |town| {
        let written = Rc::new(Cell::new(0_usize));
        let count = Rc::clone(&written);
        let flood = server(async move |_| {
            let (feed, body) = fed();
            let count = Rc::clone(&count);
            spawn_local(async move {
                let piece = Bytes::from(vec![b'x'; 1 << 16]);
                while feed.send(Frame::data(piece.clone())).await.is_ok() {
                    count.set(count.get() + piece.len());
                }
            });
            Response::new(body)
        });
        town.add("shop", 80, flood.await);
        let mut response = town.get("shop.localhost", "/").await;
        response.body_mut().frame().await.unwrap().unwrap();
        // Nobody reads on: the flood stops once the kernel's buffers on the way are full.
        let mut before = 0;
        while written.get() != before {
            before = written.get();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(before < 64 << 20, "{before} bytes are somewhere");
    });
}

#[test]
fn a_body_of_known_length_keeps_it() {
    town(async |town| {
        let measure = server(async |request| {
            let length = request.headers()["content-length"]
                .to_str()
                .unwrap()
                .to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(full(format!("{length} {}", body.len())))
        });
        town.add("shop", 80, measure.await);
        let request = Request::put("/")
            .header("host", "shop.localhost")
            .body(full("12345"));
        let response = town
            .client()
            .await
            .send_request(request.unwrap())
            .await
            .unwrap();
        assert_eq!(response.headers()["content-length"], "3");
        assert_eq!(text(response).await, "5 5");
    });
}

#[test]
fn a_get_with_a_chunked_body_keeps_it() {
    town(async |town| {
        let echo = server(async |request| Response::new(request.into_body().boxed()));
        town.add("shop", 80, echo.await);
        let request = "GET / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\
                       Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let answer = town.raw(request).await;
        assert!(
            answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            "{answer}"
        );
    });
}

#[test]
fn an_answer_to_head_keeps_its_length_and_has_no_body() {
    town(async |town| {
        let server = server(async |_| {
            let response = Response::builder().header("content-length", "42");
            response.body(empty()).unwrap()
        });
        town.add("shop", 80, server.await);
        let request = "HEAD / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n";
        let answer = town.raw(request).await;
        assert!(answer.contains("content-length: 42\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    });
}

#[test]
fn events_arrive_one_by_one_as_they_are_sent() {
    town(async |town| {
        let (feeds, mut feed) = mpsc::channel(1);
        let events = server(async move |_| {
            let (feed, body) = fed();
            feeds.send(feed).await.unwrap();
            let response = Response::builder().header("content-type", "text/event-stream");
            response.body(body).unwrap()
        });
        town.add("shop", 80, events.await);
        let mut response = town.get("shop.localhost", "/").await;
        let feed = feed.recv().await.unwrap();
        for number in 0..5 {
            let event = format!("data: {number}\n\n");
            feed.send(Frame::data(event.clone().into())).await.unwrap();
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(
                frame.into_data().unwrap(),
                event,
                "before the next one is sent"
            );
        }
        drop(feed);
        assert!(response.body_mut().frame().await.is_none());
    });
}

#[test]
fn trailers_pass_both_ways() {
    town(async |town| {
        let echo = server(async |request| {
            assert_eq!(request.headers()["te"], "trailers");
            let body = request.into_body().collect().await.unwrap();
            let mut trailers = body.trailers().cloned().unwrap();
            assert_eq!(trailers["x-sum"], "1");
            trailers.insert("x-sum", "2".parse().unwrap());
            let (feed, answer) = fed();
            spawn_local(async move {
                feed.send(Frame::data(body.to_bytes())).await.unwrap();
                feed.send(Frame::trailers(trailers)).await.unwrap();
            });
            let response = Response::builder().header("trailer", "x-sum");
            response.body(answer).unwrap()
        });
        town.add("shop", 80, echo.await);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let (feed, body) = fed();
        spawn_local(async move {
            feed.send(Frame::data("abc".into())).await.unwrap();
            feed.send(Frame::trailers(trailers)).await.unwrap();
        });
        let request = Request::post("/")
            .header("host", "shop.localhost")
            .header("trailer", "x-sum")
            .header("te", "trailers")
            .header("connection", "te")
            .body(body)
            .unwrap();
        let response = town.client().await.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "2");
        assert_eq!(body.to_bytes(), "abc");
    });
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    town(async |town| {
        let echo = server(async |request| Response::new(request.into_body().boxed()));
        town.add("shop", 80, echo.await);
        let mut client = TcpStream::connect(town.address).await.unwrap();
        let request = "POST / HTTP/1.1\r\nHost: shop.localhost\r\nExpect: 100-continue\r\n\
                       Content-Length: 4\r\nConnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"body").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nbody"), "{answer}");
    });
}

#[test]
fn a_hundred_clients_at_once_get_their_own_answers() {
    town(async |town| {
        let echo = server(async |request| {
            tokio::task::yield_now().await;
            Response::new(full(request.uri().path().to_owned()))
        });
        town.add("shop", 80, echo.await);
        let town = Rc::new(town);
        let clients = (0..100).map(|number| {
            let town = Rc::clone(&town);
            spawn_local(async move {
                let path = format!("/{number}");
                let mut client = town.client().await;
                for _ in 0..5 {
                    client.ready().await.unwrap();
                    let request = get("shop.localhost", &path);
                    let response = client.send_request(request).await.unwrap();
                    assert_eq!(text(response).await, path);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}
