//! A socket before it listens or is connected.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use wharf_net::Setting;
use wharf_net::tcp::{Algorithm, KeepAlive};
use wharf_port::table::Reuse;
use wharf_port::{Domain, Protocol};

use crate::held::Held;
use crate::{Stack, TcpListener, TcpStream, ToSocketAddr, address, error};

/// A TCP socket that neither listens nor is connected: for options that have to be set before, as tokio's.
///
/// ```
/// use wharf_socket::{Stack, TcpListener, TcpSocket};
///
/// fn listen(stack: &Stack) -> std::io::Result<TcpListener> {
///     let socket = TcpSocket::new_v4(stack)?;
///     socket.set_recv_buffer_size(64 << 10)?;
///     socket.bind("0.0.0.0:80")?;
///     socket.listen(16)
/// }
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    held: Held,
    domain: Domain,
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    ///
    /// When there are a million sockets, or the stack has ended.
    pub fn new_v4(stack: &Stack) -> io::Result<Self> {
        Self::new(stack, Domain::V4)
    }

    /// A socket for IPv6, and for IPv4 too if bound to `[::]`.
    ///
    /// # Errors
    ///
    /// When there are a million sockets, or the stack has ended.
    pub fn new_v6(stack: &Stack) -> io::Result<Self> {
        Self::new(stack, Domain::Dual)
    }

    pub(crate) fn new(stack: &Stack, domain: Domain) -> io::Result<Self> {
        Ok(Self {
            held: Held::open(stack, Protocol::Tcp, domain)?,
            domain,
        })
    }

    /// `SO_REUSEADDR`: whether the address may be taken from connections in TIME-WAIT. The other side of the bargain, the
    /// socket of before, must have had it too.
    ///
    /// # Errors
    ///
    /// When the stack has ended, as for all options.
    pub fn set_reuseaddr(&self, reuse: bool) -> io::Result<()> {
        let port = self.reuseport()?;
        self.held.set(Setting::Reuse(Reuse::new(reuse, port)))
    }

    /// `SO_REUSEPORT`: whether others that have it too may listen at the same address; connections are spread among them.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_reuseport(&self, reuse: bool) -> io::Result<()> {
        let address = self.reuseaddr()?;
        self.held.set(Setting::Reuse(Reuse::new(address, reuse)))
    }

    /// Whether `SO_REUSEADDR` is set.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        Ok(self.held.settings()?.reuse.address())
    }

    /// Whether `SO_REUSEPORT` is set.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn reuseport(&self) -> io::Result<bool> {
        Ok(self.held.settings()?.reuse.port())
    }

    /// `IPV6_V6ONLY`: whether a socket at `[::]` leaves IPv4 to others.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_only_v6(&mut self, only: bool) -> io::Result<()> {
        if self.domain == Domain::V4 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.domain = if only { Domain::V6Only } else { Domain::Dual };
        self.held.set(Setting::Domain(self.domain))
    }

    /// `SO_RCVBUF`, in bytes; ends its auto-tuning.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
        self.held.set(Setting::ReceiveBuffer(size as usize))
    }

    /// `SO_RCVBUF`, in bytes: what was set, or what a connection begins with.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        Ok(u32::try_from(self.held.settings()?.receive_buffer).unwrap_or(u32::MAX))
    }

    /// `SO_SNDBUF`, in bytes; ends its auto-tuning.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_send_buffer_size(&self, size: u32) -> io::Result<()> {
        self.held.set(Setting::SendBuffer(size as usize))
    }

    /// `SO_SNDBUF`, in bytes: what was set, or what a connection begins with.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        Ok(u32::try_from(self.held.settings()?.send_buffer).unwrap_or(u32::MAX))
    }

    /// `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.held.set(Setting::NoDelay(nodelay))
    }

    /// Whether `TCP_NODELAY` is set.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.held.settings()?.nodelay)
    }

    /// `SO_KEEPALIVE` and its times; none without. tokio's takes a bool, and leaves the times to other crates.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_keepalive(&self, keepalive: Option<KeepAlive>) -> io::Result<()> {
        self.held.set(Setting::KeepAlive(keepalive))
    }

    /// Whether `SO_KEEPALIVE` is set, and its times.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn keepalive(&self) -> io::Result<Option<KeepAlive>> {
        Ok(self.held.settings()?.keepalive)
    }

    /// `TCP_USER_TIMEOUT`: how long data may stay unacknowledged (RFC 5482).
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.held.set(Setting::UserTimeout(timeout))
    }

    /// `TCP_CONGESTION`: which congestion control its connection uses, or those that it accepts; before it is connected.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_congestion(&self, algorithm: Algorithm) -> io::Result<()> {
        self.held.set(Setting::Congestion(algorithm))
    }

    /// Which congestion control its connection will use.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn congestion(&self) -> io::Result<Algorithm> {
        Ok(self.held.settings()?.congestion)
    }

    /// Takes an address of the host's, or a wildcard; port 0 is replaced by a free one.
    ///
    /// # Errors
    ///
    /// Those of [`TcpListener::bind`].
    pub fn bind(&self, address: impl ToSocketAddr) -> io::Result<()> {
        self.held.bind(address::local(&address)?)
    }

    /// Where it is bound.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.held.local_addr(self.domain))
    }

    /// Takes connections from now on; `backlog` and one more may wait to be accepted, further ones are not answered. They
    /// inherit the options.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse): another socket listens there, though bound with reuse.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.held.attempt(|state, _, id| {
            let listened = state.host.listen(id, backlog as usize);
            listened.map(drop).map_err(error::listen)
        })?;
        Ok(TcpListener::new(self.held, self.domain))
    }

    /// Connects to a peer.
    ///
    /// # Errors
    ///
    /// Those of [`TcpStream::connect`].
    pub async fn connect(self, address: impl ToSocketAddr) -> io::Result<TcpStream> {
        let stream = self.start_connect(address)?;
        stream.connected().await?;
        Ok(stream)
    }

    /// Sends a SYN and doesn't wait, as connect(2) of a nonblocking socket: [`TcpStream::connected`] does. What is written before is
    /// queued.
    ///
    /// # Errors
    ///
    /// Those of [`TcpStream::connect`] that are known at once.
    pub fn start_connect(self, address: impl ToSocketAddr) -> io::Result<TcpStream> {
        let remote = address::remote(&address)?;
        let flow = self.held.attempt(|state, now, id| {
            state.host.connect(now, id, remote).map_err(error::connect)
        })?;
        Ok(TcpStream::new(self.held, flow))
    }
}
