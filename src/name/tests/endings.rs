//! One side goes away in the middle.

use super::*;
use hyper::StatusCode;

#[test]
fn a_server_that_dies_in_a_body_ends_the_response_visibly() {
    town(async |town| {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ] {
            let dying = program(async move |mut stream| {
                head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            town.add("shop", 80, dying.await);
            let response = town.get("shop.localhost", "/").await;
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.unwrap_err();
            town.close("shop", 80);
        }
    });
}

#[test]
fn a_server_that_dies_before_it_answers_is_explained() {
    town(async |town| {
        let dying = program(async |mut stream| {
            head(&mut stream).await;
        });
        town.add("shop", 80, dying.await);
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let page = text(response).await;
        assert!(
            page.contains("Port 80 of the space shop did not answer in HTTP"),
            "{page}"
        );
    });
}

#[test]
fn a_server_that_speaks_something_else_is_explained() {
    town(async |town| {
        let ssh = program(async |mut stream| {
            let _ = stream.write_all(b"SSH-2.0-x\r\n").await;
            head(&mut stream).await;
        });
        town.add("shop", 22, ssh.await);
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    });
}

#[test]
fn an_answer_with_an_unknown_transfer_coding_is_refused() {
    town(async |town| {
        let odd = program(async |mut stream| {
            head(&mut stream).await;
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        town.add("shop", 80, odd.await);
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    });
}

/// A program that says when a request has come, and when its connection is over.
async fn watched(answer: &'static str) -> (SocketAddr, mpsc::Receiver<&'static str>) {
    let (events, watch) = mpsc::channel(2);
    let address = program(async move |mut stream| {
        head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        events.send("asked").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        events.send("over").await.unwrap();
    });
    (address.await, watch)
}

#[test]
fn a_client_that_leaves_takes_the_servers_connection_along() {
    let answers = [
        "",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for answer in answers {
        town(async |town| {
            let (address, mut watch) = watched(answer).await;
            town.add("shop", 80, address);
            let mut client = TcpStream::connect(town.address).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
            client.write_all(request).await.unwrap();
            assert_eq!(watch.recv().await, Some("asked"));
            drop(client);
            assert_eq!(watch.recv().await, Some("over"), "after {answer:?}");
        });
    }
}

#[test]
fn a_client_that_leaves_in_its_own_body_takes_the_servers_connection_along() {
    town(async |town| {
        let (address, mut watch) = watched("").await;
        town.add("shop", 80, address);
        let mut client = TcpStream::connect(town.address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 10\r\n\r\nhalf";
        client.write_all(request).await.unwrap();
        assert_eq!(watch.recv().await, Some("asked"));
        drop(client);
        assert_eq!(watch.recv().await, Some("over"));
    });
}

#[test]
fn a_client_of_http2_that_cancels_a_stream_takes_the_servers_connection_along() {
    town(async |town| {
        let address = program(async |mut stream| {
            // Closes on the question whether it speaks HTTP/2.
            head(&mut stream).await;
        });
        let space = town.add("shop", 80, address.await);
        let mut client = town.client2().await;
        let uri = "http://shop.localhost/";
        let request = || Request::get(uri).body(empty()).unwrap();
        let response = client.send_request(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let (address, mut watch) = watched("").await;
        town.census.spaces.borrow_mut()[0].1[0].1 = address;
        let waiting = spawn_local(client.send_request(request()));
        assert_eq!(watch.recv().await, Some("asked"));
        waiting.abort();
        assert_eq!(watch.recv().await, Some("over"));
        town.front.forget(space.id);
    });
}

#[test]
fn a_server_that_comes_back_is_asked_again() {
    town(async |town| {
        town.add("shop", 80, says("first").await);
        let mut client = town.client().await;
        let response = client
            .send_request(get("shop.localhost", "/"))
            .await
            .unwrap();
        assert_eq!(text(response).await, "first");
        town.close("shop", 80);
        client.ready().await.unwrap();
        let response = client
            .send_request(get("shop.localhost", "/"))
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(response).await.contains("Nothing listens"));
        town.add("shop", 80, says("second").await);
        client.ready().await.unwrap();
        let response = client
            .send_request(get("shop.localhost", "/"))
            .await
            .unwrap();
        assert_eq!(text(response).await, "second");
        assert_eq!(
            town.front.upstreams.borrow().len(),
            1,
            "the old listener is forgotten"
        );
    });
}

#[test]
fn an_idle_connection_to_a_server_is_given_up_soon() {
    town(async |town| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let (address, mut watch) = watched(answer).await;
        town.add("shop", 80, address);
        assert_eq!(text(town.get("shop.localhost", "/").await).await, "ok");
        assert_eq!(watch.recv().await, Some("asked"));
        assert!(watch.try_recv().is_err(), "it may be needed again");
        assert_eq!(watch.recv().await, Some("over"));
    });
}

#[test]
fn connections_end_when_the_front_stops_serving() {
    town(async |town| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = spawn_local(Rc::clone(&town.front).serve(listener, Door::Open));
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        head(&mut client).await;
        serving.abort();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
    });
}
