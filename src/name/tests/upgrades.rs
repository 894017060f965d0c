//! Connections that change their protocol, as WebSockets do.

use super::*;
use hyper::StatusCode;

/// A program that changes to a protocol that says everything back, and `bye` at the end.
async fn parrot() -> SocketAddr {
    program(async |mut stream| {
        let asked = head(&mut stream).await.to_ascii_lowercase();
        assert!(asked.contains("\r\nupgrade: parrot/2, parrot\r\n"), "{asked}");
        assert!(asked.contains("\r\nconnection: upgrade\r\n"), "{asked}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: parrot\r\n\
                      Sec-Accept: yes\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.write_all(b"bye").await.unwrap();
    })
    .await
}

const ASK: &str = "GET /socket HTTP/1.1\r\nHost: shop.localhost\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: parrot/2, parrot\r\n\r\n";

#[test]
fn both_sides_switch_and_bytes_flow_until_both_have_ended() {
    town(async |town| {
        town.add("shop", 80, parrot().await);
        let mut client = TcpStream::connect(town.address).await.unwrap();
        client.write_all(ASK.as_bytes()).await.unwrap();
        let answer = head(&mut client).await;
        assert!(
            answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{answer}"
        );
        assert!(
            answer
                .to_ascii_lowercase()
                .contains("\r\nupgrade: parrot\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nSec-Accept: yes\r\n"), "{answer}");
        let mut said = [0; 5];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(
            &said, b"hello",
            "what came together with the head is not lost"
        );
        for word in [&b"one"[..], b"two", &[b'x'; 100_000]] {
            let mut said = vec![0; word.len()];
            let (mut read, mut write) = client.split();
            let (wrote, heard) = tokio::join!(write.write_all(word), read.read_exact(&mut said));
            wrote.unwrap();
            heard.unwrap();
            assert_eq!(said, word);
        }
        client.shutdown().await.unwrap();
        let mut last = String::new();
        client.read_to_string(&mut last).await.unwrap();
        assert_eq!(last, "bye", "the other direction is still open");
    });
}

#[test]
fn a_server_may_decline_to_switch() {
    town(async |town| {
        town.add("shop", 80, says("no").await);
        let response = town.raw(&ASK.replace("keep-alive", "close")).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nno"), "{response}");
    });
}

#[test]
fn a_server_may_not_switch_unasked() {
    town(async |town| {
        let hasty = program(async |mut stream| {
            head(&mut stream).await;
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.read_u8().await;
        });
        town.add("shop", 80, hasty.await);
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    });
}

#[test]
fn an_upgrade_to_http2_is_not_passed_on() {
    town(async |town| {
        let server = server(async |request| {
            let headers = request.headers();
            assert!(!headers.contains_key("upgrade") && !headers.contains_key("http2-settings"));
            Response::new(full("plain"))
        });
        town.add("shop", 80, server.await);
        let request = Request::get("/")
            .header("host", "shop.localhost")
            .header("connection", "upgrade, http2-settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAAQAAP__")
            .body(empty());
        let response = town
            .client()
            .await
            .send_request(request.unwrap())
            .await
            .unwrap();
        assert_eq!(text(response).await, "plain");
    });
}

#[test]
fn a_tunnel_ends_with_its_space() {
    town(async |town| {
        let space = town.add("shop", 80, parrot().await);
        let mut client = TcpStream::connect(town.address).await.unwrap();
        client.write_all(ASK.as_bytes()).await.unwrap();
        head(&mut client).await;
        let mut said = [0; 5];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(town.front.tunnels.borrow()[&space.id].len(), 1);
        town.front.forget(space.id);
        assert_eq!(client.read(&mut said).await.unwrap_or(0), 0);
        assert!(town.front.upstreams.borrow().is_empty());
    });
}
