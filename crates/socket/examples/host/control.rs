//! Doing as told: one JSON object a line, each answered by one, in order.
//!
//! ```text
//! hello                                    {"agent":..}
//! listen   ip port backlog opts{}          {"h":n,"port":p}
//! accept   h timeout                       {"h":n,"peer":[ip,port]}
//! connect  ip port [lip lport] opts{}      {"h":n,"port":p}          at once
//! status   h [timeout]                     {"state":"connecting|connected|error","err":..}
//! send     h data=hex | n=count [bg]       {"n":n}
//! recv     h max timeout                   {"data":hex,"eof":bool}
//! shutdown h how=rd|wr|rdwr;  close h;  abort h
//! set      h opts{nodelay,cork,keepalive,keepidle,keepintvl,keepcnt,user_timeout(ms),rcvbuf,sndbuf}
//! udp      ip port [peer=[ip,port]];  sendto h ip port data;  recvfrom h timeout -> data, peer
//! reset_all
//! ```
//!
//! Each answer has `"ok": true`, or false and the errno's name as `"err"`. Times are seconds.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use wharf_socket::{Stack, TcpSocket, TcpStream, UdpSocket};

use crate::handles::{Data, Handle, Handles, Stream};
use crate::options::{prepare, set};
use crate::words::{address, errno, hex, number, place, seconds, unhex};

/// What is there to be commanded.
struct Control {
    stack: Stack,
    handles: Handles,
}

type Answer = io::Result<Value>;

/// Listens at `path`; a socket file of before is replaced.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Obeys whoever connects; all have the same handles.
pub(crate) async fn serve(stack: Stack, listener: UnixListener) {
    let control = Arc::new(Control {
        stack,
        handles: Handles::default(),
    });
    while let Ok((stream, _)) = listener.accept().await {
        // A commander that leaves leaves its handles to the next.
        tokio::spawn(obey(Arc::clone(&control), stream));
    }
}

/// Does all that was said, though nobody may be left to be answered.
async fn obey(control: Arc<Control>, mut stream: UnixStream) {
    let (from, mut to) = stream.split();
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => control.perform(&request).await,
            Err(_) => Err(io::ErrorKind::InvalidInput.into()),
        };
        let answer = match answer {
            Ok(mut answer) => {
                answer["ok"] = true.into();
                answer
            }
            Err(error) => json!({"ok": false, "err": errno(&error)}),
        };
        let _ = to.write_all(format!("{answer}\n").as_bytes()).await;
    }
}

impl Control {
    async fn perform(&self, request: &Value) -> Answer {
        match request["op"].as_str().unwrap_or("") {
            "hello" => Ok(json!({"agent": "wharf-socket"})),
            "listen" => self.listen(request),
            "accept" => self.accept(request).await,
            "connect" => self.connect(request),
            "status" => self.status(request).await,
            "send" => self.send(request).await,
            "recv" => self.recv(request).await,
            "shutdown" => self.shutdown(request).await,
            "close" => {
                self.handle(request)?;
                self.handles.remove(number(request));
                Ok(json!({}))
            }
            "abort" => {
                self.stream(request)?.tcp().abort();
                self.handles.remove(number(request));
                Ok(json!({}))
            }
            "set" => {
                set(self.stream(request)?.tcp(), &request["opts"])?;
                Ok(json!({}))
            }
            "udp" => self.udp(request).await,
            "sendto" => self.send_to(request).await,
            "recvfrom" => self.recv_from(request).await,
            "reset_all" => {
                for handle in self.handles.drain() {
                    if let Handle::Stream(stream) = handle {
                        stream.tcp().abort();
                    }
                }
                Ok(json!({}))
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn listen(&self, request: &Value) -> Answer {
        let local = address(request, "ip", "port")?;
        let socket = self.open(local)?;
        socket.set_reuseaddr(true)?;
        prepare(&socket, &request["opts"])?;
        socket.bind(local)?;
        let listener = socket.listen(request["backlog"].as_u64().unwrap_or(128) as u32)?;
        let port = listener.local_addr()?.port();
        let handle = Handle::Listener(Arc::new(listener));
        Ok(json!({"h": self.handles.add(handle), "port": port}))
    }

    async fn accept(&self, request: &Value) -> Answer {
        let Handle::Listener(listener) = self.handle(request)? else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (stream, peer) = patiently(request, listener.accept()).await?;
        Ok(json!({"h": self.keep(stream), "peer": place(peer)}))
    }

    fn connect(&self, request: &Value) -> Answer {
        let remote = address(request, "ip", "port")?;
        let socket = self.open(remote)?;
        prepare(&socket, &request["opts"])?;
        if !request["lip"].is_null() || !request["lport"].is_null() {
            let unspecified = match remote.ip() {
                IpAddr::V4(_) => "0.0.0.0",
                IpAddr::V6(_) => "::",
            };
            let ip = request["lip"].as_str().unwrap_or(unspecified);
            let local = json!({"ip": ip, "port": request["lport"].as_u64().unwrap_or(0)});
            socket.bind(address(&local, "ip", "port")?)?;
        }
        let stream = socket.start_connect(remote)?;
        let port = stream.local_addr()?.port();
        Ok(json!({"h": self.keep(stream), "port": port}))
    }

    /// What has become of a connection; with a timeout, once its handshake is over.
    async fn status(&self, request: &Value) -> Answer {
        let stream = self.stream(request)?;
        let patience = request["timeout"].as_f64().unwrap_or(0.0);
        let connected = timeout(seconds(patience), stream.tcp().connected()).await;
        Ok(match connected {
            Ok(Ok(())) => json!({"state": "connected"}),
            Ok(Err(error)) => json!({"state": "error", "err": errno(&error)}),
            Err(_) if patience > 0.0 => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => json!({"state": "connecting"}),
        })
    }

    /// Has data written; in the background from the start, or else when it isn't taken soon.
    async fn send(&self, request: &Value) -> Answer {
        let stream = self.stream(request)?;
        if let Some(error) = stream.tcp().take_error()? {
            return Err(error);
        }
        let (count, data) = match request["n"].as_u64() {
            Some(count) => (count as usize, Data::Pattern(count as usize)),
            None => {
                let bytes = unhex(&request["data"])?;
                (bytes.len(), Data::Bytes(bytes))
            }
        };
        let written = patiently(request, stream.write(data)).await?;
        if request["bg"].is_null() || request["bg"] == false {
            match timeout(SOON, written).await {
                Ok(Ok(result)) => result?,
                Ok(Err(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(_) => {}
            }
        }
        Ok(json!({"n": count}))
    }

    async fn recv(&self, request: &Value) -> Answer {
        let stream = self.stream(request)?;
        let most = request["max"].as_u64().unwrap_or(65_536).clamp(1, 1 << 20) as usize;
        let data = patiently(request, stream.read(most)).await?;
        Ok(json!({"data": hex(&data), "eof": data.is_empty()}))
    }

    async fn shutdown(&self, request: &Value) -> Answer {
        let stream = self.stream(request)?;
        let how = request["how"].as_str().unwrap_or("rdwr");
        if matches!(how, "rd" | "rdwr") {
            stream.stop_listening();
        }
        if matches!(how, "wr" | "rdwr") {
            let done = patiently(request, stream.shutdown()).await?;
            match timeout(SOON, done).await {
                Ok(Ok(result)) => result?,
                Ok(Err(_)) => return Err(io::ErrorKind::NotConnected.into()),
                // Behind data that still waits for the peer.
                Err(_) => {}
            }
        }
        Ok(json!({}))
    }

    async fn udp(&self, request: &Value) -> Answer {
        let socket = UdpSocket::bind(&self.stack, address(request, "ip", "port")?).await?;
        if let Value::Array(peer) = &request["peer"]
            && let [ip, port] = &peer[..]
        {
            let peer = json!({"ip": ip, "port": port});
            socket.connect(address(&peer, "ip", "port")?).await?;
        }
        let port = socket.local_addr()?.port();
        let handle = Handle::Datagrams(Arc::new(socket));
        Ok(json!({"h": self.handles.add(handle), "port": port}))
    }

    async fn send_to(&self, request: &Value) -> Answer {
        let socket = self.datagrams(request)?;
        let data = unhex(&request["data"])?;
        let target = address(request, "ip", "port")?;
        patiently(request, socket.send_to(&data, target)).await?;
        Ok(json!({}))
    }

    async fn recv_from(&self, request: &Value) -> Answer {
        let socket = self.datagrams(request)?;
        let received = patiently(request, socket.recv_whole()).await?;
        Ok(json!({"data": hex(&received.payload), "peer": place(received.source())}))
    }

    fn open(&self, address: SocketAddr) -> io::Result<TcpSocket> {
        if address.is_ipv4() {
            return TcpSocket::new_v4(&self.stack);
        }
        let mut socket = TcpSocket::new_v6(&self.stack)?;
        socket.set_only_v6(true)?;
        Ok(socket)
    }

    fn keep(&self, stream: TcpStream) -> u64 {
        self.handles
            .add(Handle::Stream(Arc::new(Stream::new(stream))))
    }

    fn handle(&self, request: &Value) -> io::Result<Handle> {
        // As for a descriptor that isn't open: EBADF.
        let unknown = || io::Error::from_raw_os_error(9);
        self.handles.find(number(request)).ok_or_else(unknown)
    }

    fn stream(&self, request: &Value) -> io::Result<Arc<Stream>> {
        match self.handle(request)? {
            Handle::Stream(stream) => Ok(stream),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn datagrams(&self, request: &Value) -> io::Result<Arc<UdpSocket>> {
        match self.handle(request)? {
            Handle::Datagrams(socket) => Ok(socket),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// Waits as long as the request says.
async fn patiently<T>(request: &Value, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let patience = seconds(request["timeout"].as_f64().unwrap_or(5.0));
    timeout(patience, what)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// How long a `send` without `bg` waits for room before it goes on in the background.
const SOON: Duration = Duration::from_secs(1);
