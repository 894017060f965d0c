//! The small services that every host once had: echo (RFC 862), discard (RFC 863), chargen (RFC 864).

use std::str::FromStr;

use tokio::io::{self, AsyncWriteExt};
use wharf_socket::{Stack, TcpListener, TcpStream, UdpSocket};

/// A service at a port, of IPv4 and IPv6.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    kind: Kind,
    port: u16,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    TcpEcho,
    UdpEcho,
    TcpDiscard,
    TcpChargen,
}

impl Service {
    /// What is always there.
    pub(crate) const STANDARD: [Self; 4] = [
        Self::new(Kind::TcpEcho, 7),
        Self::new(Kind::UdpEcho, 7),
        Self::new(Kind::TcpDiscard, 9),
        Self::new(Kind::TcpChargen, 19),
    ];

    const fn new(kind: Kind, port: u16) -> Self {
        Self { kind, port }
    }

    pub(crate) async fn start(&self, stack: &Stack) -> io::Result<()> {
        let address = ([0_u8; 16], self.port);
        if let Kind::UdpEcho = self.kind {
            tokio::spawn(echo_datagrams(UdpSocket::bind(stack, address).await?));
            return Ok(());
        }
        let listener = TcpListener::bind(stack, address).await?;
        let kind = self.kind;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // How a session ends is its peer's affair.
                tokio::spawn(serve(kind, stream));
            }
        });
        Ok(())
    }
}

async fn serve(kind: Kind, mut stream: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    let nowhere = &mut io::sink();
    match kind {
        Kind::TcpEcho => drop(io::copy(&mut from, &mut to).await?),
        Kind::TcpDiscard | Kind::UdpEcho => drop(io::copy(&mut from, nowhere).await?),
        Kind::TcpChargen => tokio::select! {
            end = io::copy(&mut from, nowhere) => drop(end?),
            end = generate(&mut to) => end?,
        },
    }
    to.shutdown().await
}

async fn generate(to: &mut (impl io::AsyncWrite + Unpin)) -> io::Result<()> {
    let text: Vec<u8> = (b' '..=b'~').cycle().take(95 * 86).collect();
    loop {
        to.write_all(&text).await?;
    }
}

async fn echo_datagrams(socket: UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 65_535];
    loop {
        // A peer that is gone, or that no way leads to, is no reason to stop.
        if let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], peer).await;
        }
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, port) = text.split_once(':').ok_or("KIND:PORT")?;
        let kind = match kind {
            "tcp-echo" => Kind::TcpEcho,
            "udp-echo" => Kind::UdpEcho,
            "tcp-discard" => Kind::TcpDiscard,
            "tcp-chargen" => Kind::TcpChargen,
            _ => return Err(format!("no service is called {kind}")),
        };
        let port = port.parse().map_err(|_| format!("{port} is no port"))?;
        Ok(Self::new(kind, port))
    }
}
