//! TLS: ended by the front, or passed through to programs that speak it themselves.

use std::sync::Arc;

use hyper::{StatusCode, Version};
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::name::Certificates;
use crate::trust::authority::{Draft, Files};

/// A front's port of HTTPS, and what clients must trust to use it.
struct Secured {
    address: SocketAddr,
    authority: CertificateDer<'static>,
    _scratch: tempfile::TempDir,
}

async fn secure(town: &Town) -> Secured {
    let scratch = tempfile::tempdir().unwrap();
    let files = Files::below(scratch.path());
    Draft::new().unwrap().write(&files).unwrap();
    let authority = CertificateDer::from_pem_file(&files.certificate).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door::Secure(Rc::new(Certificates::of(files)));
    spawn_local(Rc::clone(&town.front).serve(listener, door));
    Secured {
        address,
        authority,
        _scratch: scratch,
    }
}

/// A handshake over a connection, by a client that trusts one certificate and offers these protocols.
async fn shake<I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: I,
    trusted: &CertificateDer<'static>,
    name: &str,
    alpn: &[&str],
) -> io::Result<TlsStream<I>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Secured {
    async fn connect(&self, name: &str, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        shake(stream, &self.authority, name, alpn).await
    }

    async fn get(&self, name: &str) -> Response<Incoming> {
        let stream = self.connect(name, &["http/1.1"]).await.unwrap();
        let (mut client, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        spawn_local(connection);
        let host = format!("{name}:7443");
        client.send_request(get(&host, "/")).await.unwrap()
    }
}

/// A program that speaks TLS with a certificate of its own, and says one line inside of it.
async fn own_tls(line: &'static str) -> (SocketAddr, CertificateDer<'static>) {
    let names = ["shop.localhost", "8443.shop.localhost"].map(str::to_owned);
    let key = KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(names).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let secret = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], secret)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = program(async move |stream| {
        if let Ok(mut stream) = acceptor.accept(stream).await {
            stream.write_all(line.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (address.await, certificate)
}

async fn line(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut line = String::new();
    stream.read_to_string(&mut line).await.unwrap();
    line
}

#[test]
fn names_mean_over_tls_what_they_mean_without() {
    town(async |town| {
        let server = server(async |request| {
            let headers = request.headers();
            assert_eq!(headers["x-forwarded-proto"], "https");
            assert_eq!(headers["host"], "shop.localhost:7443");
            assert!(
                headers["forwarded"]
                    .to_str()
                    .unwrap()
                    .ends_with("proto=https")
            );
            Response::new(full("of the shop"))
        });
        town.add("shop", 80, server.await);
        let secured = secure(&town).await;
        assert_eq!(
            text(secured.get("shop.localhost").await).await,
            "of the shop"
        );
        let unknown = secured.get("blog.localhost").await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        let page = text(unknown).await;
        assert!(page.contains("https://shop.localhost:7443/"), "{page}");
        let own = secured.get("localhost").await;
        assert_eq!(own.status(), StatusCode::OK);
    });
}

#[test]
fn http2_is_agreed_on_in_the_handshake() {
    town(async |town| {
        town.add("shop", 80, says("of the shop").await);
        let secured = secure(&town).await;
        let alpn = ["h2", "http/1.1"];
        let stream = secured.connect("shop.localhost", &alpn).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (mut client, connection) = conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        spawn_local(connection);
        let request = Request::get("https://shop.localhost:7443/")
            .version(Version::HTTP_2)
            .body(empty());
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(text(response).await, "of the shop");
    });
}

#[test]
fn an_upgraded_connection_passes_over_tls() {
    town(async |town| {
        let parrot = program(async |mut stream| {
            head(&mut stream).await;
            let answer =
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        town.add("shop", 80, parrot.await);
        let secured = secure(&town).await;
        let mut stream = secured.connect("shop.localhost", &[]).await.unwrap();
        let request = "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        stream.write_all(b"to and fro").await.unwrap();
        let mut back = [0; 10];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"to and fro");
    });
}

#[test]
fn a_program_that_speaks_tls_shows_its_own_certificate() {
    town(async |town| {
        let (address, certificate) = own_tls("from inside").await;
        town.add("shop", 8443, address);
        let secured = secure(&town).await;
        for name in ["8443.shop.localhost", "shop.localhost"] {
            let stream = TcpStream::connect(secured.address).await.unwrap();
            let stream = shake(stream, &certificate, name, &["h2"]).await.unwrap();
            assert_eq!(line(stream).await, "from inside", "{name}");
        }
        assert_eq!(town.census.dials.get(), 4, "two to find out, one for each");
        // Beside a page the bare name is the page's, and the port is still the program's.
        town.add("shop", 80, says("a page").await);
        assert_eq!(text(secured.get("shop.localhost").await).await, "a page");
        let stream = TcpStream::connect(secured.address).await.unwrap();
        let stream = shake(stream, &certificate, "8443.shop.localhost", &[]).await;
        assert_eq!(line(stream.unwrap()).await, "from inside");
    });
}

#[test]
fn of_programs_without_a_page_the_one_with_tls_answers() {
    town(async |town| {
        let (address, certificate) = own_tls("from inside").await;
        town.add("shop", 8443, address);
        let api = server(async |_| Response::new(full("{}")));
        town.add("shop", 3000, api.await);
        let secured = secure(&town).await;
        let stream = TcpStream::connect(secured.address).await.unwrap();
        let stream = shake(stream, &certificate, "shop.localhost", &[]).await;
        assert_eq!(line(stream.unwrap()).await, "from inside");
        let page = town.get("shop.localhost", "/").await;
        assert_eq!(page.status(), StatusCode::BAD_GATEWAY);
        let page = text(page).await;
        assert!(page.contains("speaks TLS"), "{page}");
    });
}

#[test]
fn what_only_the_program_can_speak_is_passed_on_unasked() {
    // The program sees the greeting as it was sent, whatever it thinks of it.
    async fn greeted(town: &Town, port: u16) -> mpsc::Receiver<u8> {
        let (seen, sees) = mpsc::channel(1);
        let address = program(async move |mut stream| {
            let mut record = [0; 6];
            stream.read_exact(&mut record).await.unwrap();
            seen.send(record[5]).await.unwrap();
        });
        town.add("shop", port, address.await);
        sees
    }
    const CLIENT_HELLO: u8 = 1;
    town(async |town| {
        let mut database = greeted(&town, 5432).await;
        let mut broker = greeted(&town, 9999).await;
        let secured = secure(&town).await;
        let cases = [
            ("5432.shop.localhost", &[][..], &mut database),
            ("9999.shop.localhost", &["mqtt"][..], &mut broker),
        ];
        for (name, alpn, sees) in cases {
            let refused = secured.connect(name, alpn).await;
            assert!(refused.is_err(), "the program closed");
            assert_eq!(sees.recv().await, Some(CLIENT_HELLO), "{name}");
        }
        assert_eq!(town.census.dials.get(), 2, "nobody was asked first");
    });
}

#[test]
fn a_foreign_name_gets_no_certificate() {
    town(async |town| {
        let secured = secure(&town).await;
        let refused = secured.connect("example.com", &[]).await.unwrap_err();
        assert!(refused.to_string().contains("alert"), "{refused}");
    });
}

#[test]
fn who_speaks_without_tls_is_shown_the_way() {
    town(async |town| {
        let secured = secure(&town).await;
        let ask = async |host: &str| {
            let stream = TcpStream::connect(secured.address).await.unwrap();
            let (mut client, connection) =
                conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            spawn_local(connection);
            client
                .send_request(get(host, "/cart?item=1"))
                .await
                .unwrap()
        };
        let moved = ask("shop.localhost:7443").await;
        assert_eq!(moved.status(), StatusCode::PERMANENT_REDIRECT);
        let towards = "https://shop.localhost:7443/cart?item=1";
        assert_eq!(moved.headers()["location"], towards);
        let foreign = ask("example.com:7443").await;
        assert_eq!(foreign.status(), StatusCode::MISDIRECTED_REQUEST);
        assert!(!foreign.headers().contains_key("location"));
    });
}

#[test]
fn a_first_message_may_come_byte_by_byte_but_not_for_ever() {
    town(async |town| {
        town.add("shop", 80, says("of the shop").await);
        let secured = secure(&town).await;
        // A message of 16 MiB that goes on and on.
        let mut stream = TcpStream::connect(secured.address).await.unwrap();
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.resize(5 + 0x4000, 0);
        record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        let mut sent = 0;
        while stream.write_all(&record).await.is_ok() {
            sent += record.len();
            assert!(sent < 16 << 20, "all of it was read");
            // Whatever comes back comes before the end.
            if stream
                .try_read(&mut [0; 64])
                .is_ok_and(|length| length == 0)
            {
                break;
            }
        }
        // One byte at a time does no harm.
        let (near, far) = tokio::io::duplex(1);
        let mut stream = TcpStream::connect(secured.address).await.unwrap();
        spawn_local(async move {
            let mut far = far;
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut far, &mut stream, 1, 1).await;
        });
        let stream = shake(near, &secured.authority, "shop.localhost", &["http/1.1"]).await;
        let (mut client, connection) = conn::http1::handshake(TokioIo::new(stream.unwrap()))
            .await
            .unwrap();
        spawn_local(connection);
        let response = client.send_request(get("shop.localhost", "/")).await;
        assert_eq!(text(response.unwrap()).await, "of the shop");
    });
}

#[test]
fn a_connection_passed_through_ends_with_its_space() {
    town(async |town| {
        let held = program(async |mut stream| {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
        let space = town.add("shop", 5432, held.await);
        let secured = secure(&town).await;
        let stream = TcpStream::connect(secured.address).await.unwrap();
        let authority = secured.authority.clone();
        let waits =
            spawn_local(async move { shake(stream, &authority, "shop.localhost", &[]).await });
        while town.front.tunnels.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        town.front.forget(space.id);
        assert!(waits.await.unwrap().is_err());
    });
}
