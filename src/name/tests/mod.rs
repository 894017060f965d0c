//! The front over real sockets of 127.0.0.1, with servers that stand for programs in spaces.

mod bodies;
mod downgrade;
mod endings;
mod http2;
mod routing;
mod secure;
mod smuggling;
mod upgrades;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn;
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::{Door, Front, PortInfo, SpaceRef, Spaces, web};

type AnyBody = BoxBody<Bytes, hyper::Error>;

/// A machine with a front and some spaces.
struct Town {
    front: Rc<Front<Rc<Census>>>,
    census: Rc<Census>,
    /// Where the front listens.
    address: SocketAddr,
}

/// Listeners, and where they are served.
type Ports = Vec<(PortInfo, SocketAddr)>;

/// The spaces of a town. Their ports are served at addresses of the machine.
#[derive(Default)]
struct Census {
    spaces: RefCell<Vec<(SpaceRef, Ports)>>,
    next: Cell<u64>,
    dials: Cell<usize>,
}

impl Spaces for Rc<Census> {
    fn find(&self, name: &str) -> Option<SpaceRef> {
        self.all().into_iter().find(|space| space.name == name)
    }

    fn all(&self) -> Vec<SpaceRef> {
        self.spaces
            .borrow()
            .iter()
            .map(|(space, _)| space.clone())
            .collect()
    }

    async fn listeners(&self, space: &SpaceRef) -> Rc<[PortInfo]> {
        let spaces = self.spaces.borrow();
        let ports = spaces
            .iter()
            .filter(|(s, _)| s == space)
            .flat_map(|(_, ports)| ports);
        ports.map(|(port, _)| port.clone()).collect()
    }

    async fn dial(&self, space: &SpaceRef, port: &PortInfo) -> io::Result<TcpStream> {
        self.dials.set(self.dials.get() + 1);
        let address = {
            let spaces = self.spaces.borrow();
            let mut ports = spaces
                .iter()
                .filter(|(s, _)| s == space)
                .flat_map(|(_, ports)| ports);
            ports.find(|(p, _)| p == port).map(|(_, address)| *address)
        };
        let address = address.ok_or(io::ErrorKind::ConnectionRefused)?;
        TcpStream::connect(address).await
    }

    async fn page(
        &self,
        _: Request<Incoming>,
        authority: &Authority,
    ) -> io::Result<Response<web::Body>> {
        let text = format!("the page of {authority}");
        Ok(Response::new(Full::new(Bytes::from(text)).into()))
    }
}

/// Runs a test in a town; one that hangs fails.
fn town(test: impl AsyncFnOnce(Town)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let everything = async {
        let census = Rc::new(Census::default());
        let front = Front::new(Rc::clone(&census));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(Rc::clone(&front).serve(listener, Door::Open));
        test(Town {
            front,
            census,
            address,
        })
        .await;
    };
    let limit = Duration::from_secs(60);
    let limited = async {
        tokio::time::timeout(limit, everything)
            .await
            .expect("hangs")
    };
    LocalSet::new().block_on(&runtime, limited);
}

impl Town {
    /// Founds a space, or adds a listener to one.
    fn add(&self, name: &str, port: u16, address: SocketAddr) -> SpaceRef {
        let id = self.census.next.replace(self.census.next.get() + 1);
        let listener = PortInfo {
            port,
            addresses: vec![address.ip()],
            program: "server".into(),
            listener: id,
        };
        let mut spaces = self.census.spaces.borrow_mut();
        if let Some((space, ports)) = spaces.iter_mut().find(|(space, _)| space.name == name) {
            ports.push((listener, address));
            return space.clone();
        }
        let name = name.to_owned();
        let directory = format!("/home/me/{name}").into();
        let space = SpaceRef {
            id,
            name,
            directory,
        };
        spaces.push((space.clone(), vec![(listener, address)]));
        space
    }

    /// Founds a space without listeners.
    fn found(&self, name: &str) {
        let nowhere = ([127, 0, 0, 1], 9).into();
        self.add(name, 9, nowhere);
        self.close(name, 9);
    }

    /// A listener stops listening.
    fn close(&self, name: &str, port: u16) {
        let mut spaces = self.census.spaces.borrow_mut();
        let (_, ports) = spaces
            .iter_mut()
            .find(|(space, _)| space.name == name)
            .unwrap();
        ports.retain(|(listener, _)| listener.port != port);
    }

    /// A client that speaks HTTP/1.1.
    async fn client(&self) -> conn::http1::SendRequest<AnyBody> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (client, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        spawn_local(connection.with_upgrades());
        client
    }

    /// A client that speaks HTTP/2 with prior knowledge.
    async fn client2(&self) -> conn::http2::SendRequest<AnyBody> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let io = TokioIo::new(stream);
        let (client, connection) = conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        spawn_local(connection);
        client
    }

    /// One GET on a connection of its own.
    async fn get(&self, host: &str, path: &str) -> Response<Incoming> {
        self.client()
            .await
            .send_request(get(host, path))
            .await
            .unwrap()
    }

    /// Sends bytes as they are and reads until the front closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

fn get(host: &str, path: &str) -> Request<AnyBody> {
    Request::get(path)
        .header("host", host)
        .body(empty())
        .unwrap()
}

fn empty() -> AnyBody {
    full("")
}

fn full(text: impl Into<Bytes>) -> AnyBody {
    Full::new(text.into())
        .map_err(|never: Infallible| match never {})
        .boxed()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// A body that is sent piece by piece.
fn fed() -> (mpsc::Sender<Frame<Bytes>>, AnyBody) {
    let (feed, mut pieces) = mpsc::channel::<Frame<Bytes>>(1);
    let stream = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx).map(|p| p.map(Ok)));
    (feed, BodyExt::boxed(StreamBody::new(stream)))
}

/// A program that speaks HTTP/1.1.
async fn server<A>(answer: A) -> SocketAddr
where
    A: AsyncFn(Request<Incoming>) -> Response<AnyBody> + 'static,
{
    let answer = Rc::new(answer);
    program(async move |stream| {
        let service = service_fn(|request| {
            let answer = Rc::clone(&answer);
            async move { Ok::<_, Infallible>(answer(request).await) }
        });
        let server = hyper::server::conn::http1::Builder::new();
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await;
    })
    .await
}

/// A program that answers everything with the same HTML page.
async fn says(words: &'static str) -> SocketAddr {
    server(async move |_| {
        let response = Response::builder().header("content-type", "text/html");
        response.body(full(words)).unwrap()
    })
    .await
}

/// A program that does anything with each of its connections.
async fn program<P: AsyncFn(TcpStream) + 'static>(serve: P) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Rc::new(serve);
    spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = Rc::clone(&serve);
            spawn_local(async move { serve(stream).await });
        }
    });
    address
}

/// Reads a request's head, byte by byte so that nothing of the body is lost.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}
