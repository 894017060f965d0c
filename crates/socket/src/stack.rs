//! A stack: a host on a link or several, driven by a task.

use std::io;
use std::sync::Arc;

use wharf_link::{AsyncLink, Link};
use wharf_net::{Capabilities, Cidr, Config, Discards, Host, Interface};

use crate::driver::Driver;
use crate::shared::{Phase, Shared};
use crate::wire::Wire;

/// A network host on a link, or on several, to open sockets in: what the kernel's network stack is to a program.
///
/// It is a handle, cheap to clone; each socket has one. A task of the runtime moves the frames. It ends
/// - when the last handle is dropped and every connection has come to its end, TIME-WAIT (a minute) included;
/// - at once by [`stop`](Self::stop);
/// - when the last link is gone, which only a link with another side can be.
///
/// From then on everything fails with [`NetworkDown`](io::ErrorKind::NetworkDown); [`ended`](Self::ended) waits for it.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use wharf_link::{Capabilities, memory};
/// use wharf_net::wire::ethernet::Mac;
/// use wharf_socket::{Config, Stack, TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (left, right) = memory::pair(256, 1500, Capabilities::ALL);
/// let host = |number: u8| {
///     let mut config = Config::new(Mac([2, 0, 0, 0, 0, number]), Stack::seed());
///     config.addresses = vec![format!("10.0.0.{number}/24").parse().unwrap()];
///     config
/// };
/// let (server, client) = (Stack::start(left, host(1)), Stack::start(right, host(2)));
///
/// let listener = TcpListener::bind(&server, "10.0.0.1:80").await?;
/// let mut stream = TcpStream::connect(&client, "10.0.0.1:80").await?;
/// let (mut accepted, peer) = listener.accept().await?;
/// assert_eq!(peer, stream.local_addr()?);
///
/// stream.write_all(b"over here").await?;
/// let mut text = [0; 9];
/// accepted.read_exact(&mut text).await?;
/// assert_eq!(&text, b"over here");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stack(Arc<Handle>);

/// What all handles share: when it is dropped, nobody has the stack any more.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Stack {
    /// Starts a host on one link. Its [`mtu`](Config::mtu) and [`capabilities`](Config::capabilities) become the link's, and no
    /// connection offers a larger window than the link can hold: more would ask for loss.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn start(link: impl AsyncLink + 'static, config: Config) -> Self {
        Self::start_on(link, Vec::new(), config)
    }

    /// Starts a host on several links. The first is described by `config`, each of the others by its [`Interface`]; MTU and
    /// capabilities become the links'. The stack ends when the last of them is gone.
    ///
    /// Each link has its own hardware address and its own addresses, and what is for an address has to come by its link
    /// ([`Config::further`]). Several cables that are *one* network are [`Joined`](wharf_link::Joined) instead.
    ///
    /// ```
    /// use wharf_link::{Capabilities, memory};
    /// use wharf_net::wire::ethernet::Mac;
    /// use wharf_socket::{Config, Interface, Stack};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (office, _switch) = memory::pair(256, 1500, Capabilities::ALL);
    /// let (storage, _array) = memory::pair(256, 9000, Capabilities::ALL);
    /// let mut config = Config::new(Mac([2, 0, 0, 0, 0, 1]), Stack::seed());
    /// config.addresses = vec!["10.0.0.1/24".parse()?];
    /// let mut second = Interface::new(Mac([2, 0, 0, 0, 0, 2]));
    /// second.addresses = vec!["10.9.0.1/24".parse()?];
    /// let stack = Stack::start_on(office, vec![(second, Box::new(storage))], config);
    /// assert_eq!(stack.addresses().len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_on(
        first: impl AsyncLink + 'static,
        further: Vec<(Interface, Box<dyn AsyncLink>)>,
        mut config: Config,
    ) -> Self {
        config.mtu = first.mtu();
        config.capabilities = capabilities(&first);
        let mut window = first.queue_bytes();
        let mut links = Vec::new();
        for (mut interface, link) in further {
            interface.mtu = link.mtu();
            interface.capabilities = capabilities(&link);
            window = window.min(link.queue_bytes());
            config.further.push(interface);
            links.push(link);
        }
        let window = window.max(LEAST_WINDOW);
        config.tcp.receive_max = config.tcp.receive_max.min(window);
        config.tcp.receive_initial = config.tcp.receive_initial.min(window);
        let host = Host::new(config);
        let first = Wire::new(first, Host::LINK);
        let devices: Vec<_> = host.links().skip(1).collect();
        let further = links.into_iter().zip(devices);
        let further = further.map(|(link, device)| Wire::new(link, device));
        let further = further.collect();
        let shared = Arc::new(Shared::new(host));
        tokio::spawn(Driver::new(first, further, Arc::clone(&shared)).run());
        Self(Arc::new(Handle(shared)))
    }

    /// A secret for [`Config::new`], from the operating system's generator.
    #[must_use]
    pub fn seed() -> [u8; 32] {
        rand::random()
    }

    /// Ends the stack at once, without a word to any peer: what is queued is lost.
    pub fn stop(&self) {
        self.shared().with(|state, _| {
            if !matches!(state.phase, Phase::Over(_)) {
                state.phase = Phase::Stopped;
            }
        });
    }

    /// Waits until the stack has ended; the error says why.
    pub async fn ended(&self) -> io::Error {
        self.shared().ended().await
    }

    /// The addresses that the stack's host has now, those of the loopback aside. With
    /// [`autoconfiguration`](Config::autoconfiguration), they come and go.
    #[must_use]
    pub fn addresses(&self) -> Vec<Cidr> {
        self.shared().lock().host.addresses().collect()
    }

    /// What went nowhere so far, and why.
    #[must_use]
    pub fn discards(&self) -> Discards {
        *self.shared().lock().host.discards()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.with(|state, _| {
            if matches!(state.phase, Phase::Running) {
                state.phase = Phase::Abandoned;
            }
        });
    }
}

fn capabilities(link: &impl Link) -> Capabilities {
    let theirs = link.capabilities();
    Capabilities {
        checksum: theirs.checksum,
        tcp_segment: theirs.tcp_segment,
        udp_segment: theirs.udp_segment,
    }
}

/// A window, in bytes, that is offered on any link: without window scaling there is none larger.
const LEAST_WINDOW: usize = 64 << 10;
