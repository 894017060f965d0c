//! Requests that two servers could read differently: none may arrive as anything but what was
//! checked.

use super::*;

/// A program that reads whatever comes on its connections into one pot, and answers each connection
/// once.
pub(super) async fn pot(town: &Town) -> Rc<RefCell<Vec<String>>> {
    let pot: Rc<RefCell<Vec<String>>> = Rc::default();
    let inside = Rc::clone(&pot);
    let address = program(async move |mut stream| {
        let slot = inside.borrow().len();
        inside.borrow_mut().push(String::new());
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            inside.borrow_mut()[slot] += &String::from_utf8_lossy(&piece[..length]);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    town.add("shop", 80, address.await);
    pot
}

/// What is wrong, and a request in which it is.
const REFUSED: [(&str, &str); 34] = [
    (
        "a bare CR in a value",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX: a\rb\r\n\r\n",
    ),
    (
        "a bare CR in a name",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX\r: a\r\n\r\n",
    ),
    (
        "NUL in a value",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX: a\0b\r\n\r\n",
    ),
    (
        "a blank before the colon",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length : 5\r\n\r\nhello",
    ),
    (
        "a folded field",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX: a\r\n b\r\n\r\n",
    ),
    (
        "a blank before the first field",
        "GET / HTTP/1.1\r\n X: a\r\nHost: shop.localhost\r\n\r\n",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    ),
    (
        "lengths in a list",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5, 6\r\n\r\nhello!",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: +5\r\n\r\nhello",
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 0x5\r\n\r\nhello",
    ),
    (
        "a huge length",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ),
    (
        "a negative length",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: -1\r\n\r\n",
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "another coding first",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "identity and chunked",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "no coding that exists",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a vertical tab in a coding",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two hosts",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nHost: other.localhost\r\n\r\n",
    ),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    (
        "a user in the host",
        "GET / HTTP/1.1\r\nHost: shop.localhost@other.localhost\r\n\r\n",
    ),
    (
        "two hosts in one",
        "GET / HTTP/1.1\r\nHost: shop.localhost, other.localhost\r\n\r\n",
    ),
    (
        "a blank before the colon of the coding",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a folded coding",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding in quotation marks",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding with a parameter",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ),
    (
        "an empty coding beside one",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a length with a blank inside",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5 5\r\n\r\nhello",
    ),
    (
        "an empty length",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: \r\n\r\nhello",
    ),
    (
        "NUL in the target",
        "GET /a\0b HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    ),
    (
        "a field without a name",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\n: a\r\n\r\n",
    ),
    (
        "a blank in the target",
        "GET /a b HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    ),
    (
        "another version",
        "GET / HTTP/1.9\r\nHost: shop.localhost\r\n\r\n",
    ),
];

#[test]
fn malformed_requests_are_refused_and_never_arrive() {
    town(async |town| {
        let pot = pot(&town).await;
        for (what, request) in REFUSED {
            let mut client = TcpStream::connect(town.address).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "501"].contains(&status), "{what}: {answer:?}");
            assert_eq!(*pot.borrow(), [""; 0], "{what}");
        }
    });
}

#[test]
fn a_length_beside_chunked_is_dropped_and_the_connection_closed_after_it() {
    let fields = [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ];
    town(async |town| {
        let pot = pot(&town).await;
        for fields in fields {
            pot.borrow_mut().clear();
            let smuggled = "GET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
            let request = format!(
                "POST / HTTP/1.1\r\nHost: shop.localhost\r\n{fields}\r\n0\r\n\r\n{smuggled}"
            );
            let answer = town.raw(&request).await;
            // RFC 9112 §6.1: process by Transfer-Encoding alone, then close.
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
            let arrived = pot.borrow().join("");
            assert!(!arrived.contains("smuggled"), "{arrived}");
            assert!(
                !arrived.to_ascii_lowercase().contains("content-length"),
                "{arrived}"
            );
        }
    });
}

/// What is odd about a request that may pass, the request, and what must be in the one that arrives.
const NORMALISED: [(&str, &str, &str); 8] = [
    (
        "bare line feeds",
        "POST / HTTP/1.1\nHost: shop.localhost\nContent-Length: 5\n\nhello",
        "content-length: 5\r\n",
    ),
    (
        "an empty line first",
        "\r\nPOST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\n\r\nhello",
        "content-length: 5\r\n",
    ),
    (
        "one length twice",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "content-length: 5\r\n",
    ),
    (
        "blanks around a length",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: \t 5 \t\r\n\r\nhello",
        "content-length: 5\r\n",
    ),
    (
        "leading zeros",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 0000000005\r\n\r\nhello",
        "hello",
    ),
    (
        "a tab before the coding",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding:\tChunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n",
    ),
    (
        "a chunk with an extension",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n5\r\nhello\r\n",
    ),
    (
        "a target with another host",
        "POST http://shop.localhost/ HTTP/1.1\r\nHost: other.localhost\r\nContent-Length: 5\r\n\r\nhello",
        "host: shop.localhost\r\n",
    ),
];

#[test]
fn odd_requests_arrive_as_one_plain_request() {
    town(async |town| {
        let pot = pot(&town).await;
        for (what, request, expected) in NORMALISED {
            pot.borrow_mut().clear();
            let smuggled =
                "GET /smuggled HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n";
            let answer = town.raw(&format!("{request}{smuggled}")).await;
            // The second request is the client's own, and for somebody else.
            assert!(answer.contains("HTTP/1.1 404 "), "{what}: {answer}");
            let arrived = pot.borrow().join("").to_ascii_lowercase();
            assert!(arrived.contains(expected), "{what}: {arrived:?}");
            assert_eq!(
                arrived.matches(" http/1.1\r\n").count(),
                1,
                "{what}: {arrived:?}"
            );
            assert_eq!(
                arrived.matches("content-length").count(),
                usize::from(!request.contains("Transfer"))
            );
            assert!(!arrived.contains("other.localhost"), "{what}: {arrived:?}");
            assert!(
                !arrived.replace("\r\n", "").contains('\n'),
                "{what}: {arrived:?}"
            );
        }
    });
}

#[test]
fn a_malformed_chunk_cuts_the_request_off() {
    let chunks = [
        "g\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
    ];
    town(async |town| {
        let pot = pot(&town).await;
        for chunk in chunks {
            pot.borrow_mut().clear();
            let request = format!(
                "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}\
                 GET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"
            );
            let answer = town.raw(&request).await;
            assert!(
                answer.matches("HTTP/1.1 ").count() <= 1,
                "{chunk:?}: {answer}"
            );
            assert!(!pot.borrow().join("").contains("smuggled"), "{chunk:?}");
        }
    });
}

#[test]
fn fields_that_frame_a_message_cannot_be_named_away() {
    town(async |town| {
        let pot = pot(&town).await;
        let request = "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\n\
                       Connection: close, Host, Content-Length, X-Forwarded-For\r\n\r\nhello";
        town.raw(request).await;
        let arrived = pot.borrow().join("").to_ascii_lowercase();
        assert!(
            arrived.contains("\r\nhost: shop.localhost\r\n"),
            "{arrived}"
        );
        assert!(arrived.contains("\r\ncontent-length: 5\r\n"), "{arrived}");
        assert!(
            arrived.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
            "{arrived}"
        );
    });
}
