//! hickory's resolver over wharf's UDP and TCP.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_net::runtime::{DnsUdpSocket, RuntimeProvider, TokioHandle, TokioTime};
use tokio::io::ReadBuf;
use wharf_socket::{Stack, TcpSocket, TcpStream, UdpSocket};

/// Where the resolver's sockets are: on a stack.
///
/// ```
/// use hickory_resolver::Resolver;
/// use hickory_resolver::config::{NameServerConfig, ResolverConfig};
/// use wharf_ecosystem::dns::Provider;
/// use wharf_socket::Stack;
///
/// async fn addresses(stack: &Stack) -> Result<Vec<std::net::IpAddr>, Box<dyn std::error::Error>> {
///     let server = NameServerConfig::udp_and_tcp([10, 0, 0, 2].into());
///     let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
///     let resolver = Resolver::builder_with_config(config, Provider::new(stack)).build()?;
///     Ok(resolver.lookup_ip("www.example.").await?.iter().collect())
/// }
/// ```
#[derive(Clone)]
pub struct Provider {
    stack: Stack,
    /// Whose tasks end when the last clone of it is dropped.
    handle: TokioHandle,
}

impl Provider {
    /// Sockets on `stack`.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        Self {
            stack: stack.clone(),
            handle: TokioHandle::default(),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.stack).finish()
    }
}

type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl RuntimeProvider for Provider {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Datagrams;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> TokioHandle {
        self.handle.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        patience: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        let stack = self.stack.clone();
        Box::pin(async move {
            let socket = match server {
                SocketAddr::V4(_) => TcpSocket::new_v4(&stack)?,
                SocketAddr::V6(_) => TcpSocket::new_v6(&stack)?,
            };
            socket.set_nodelay(true)?;
            if let Some(from) = from {
                socket.bind(from)?;
            }
            let patience = patience.unwrap_or(Duration::from_secs(5));
            let stream = tokio::time::timeout(patience, socket.connect(server)).await??;
            Ok(AsyncIoTokioAsStd(stream))
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Opening<Datagrams> {
        let stack = self.stack.clone();
        Box::pin(async move { Ok(Datagrams(UdpSocket::bind(&stack, local).await?)) })
    }
}

/// A UDP socket of the resolver's.
#[derive(Debug)]
pub struct Datagrams(UdpSocket);

impl DnsUdpSocket for Datagrams {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let received = self.0.poll_recv_from(cx, &mut buffer);
        received.map_ok(|from| (buffer.filled().len(), from))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send_to(cx, data, target)
    }
}
