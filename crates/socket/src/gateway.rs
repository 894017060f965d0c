//! The far end of everything: for stacks whose host accepts anything, as a VPN's or a virtual machine's gateway does.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::task::Poll;

use bytes::Bytes;
use wharf_net::{Event, Host, Instant, KnockId, Refusal, Unreachable};
use wharf_port::{Endpoint, Flow};

use crate::held::Held;
use crate::shared::On;
use crate::{Stack, TcpStream, error};

/// Everything that comes to a stack whose host [accepts anything](wharf_net::Config::accept_anything), and that no socket of it is
/// bound for.
///
/// Without one, connections are refused and datagrams answered as unreachable. What is not fetched waits, 4,096 at most and
/// 16 MiB; then connection requests go unanswered, to be repeated, and datagrams are lost.
///
/// ```
/// use tokio::io::copy_bidirectional;
/// use wharf_socket::{Arrival, Gateway, Stack};
///
/// /// Lets whoever is behind the link reach the TCP servers that this machine reaches.
/// async fn relay(stack: &Stack) -> std::io::Result<()> {
///     let gateway = Gateway::new(stack);
///     loop {
///         let Arrival::Knock(knock) = gateway.arrival().await? else {
///             continue;
///         };
///         tokio::spawn(async move {
///             // Not answered before the server has: refused stays refused.
///             let address = std::net::SocketAddr::from(knock.flow().local);
///             let mut outside = tokio::net::TcpStream::connect(address).await?;
///             let mut inside = knock.admit().await?;
///             copy_bidirectional(&mut inside, &mut outside).await
///         });
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Gateway {
    stack: Stack,
}

/// Something that came to a gateway.
#[derive(Debug)]
#[non_exhaustive]
pub enum Arrival {
    /// Somebody wants to connect.
    Knock(Knock),
    /// A datagram, or a train of them.
    Datagram {
        /// From `remote`, to `local`.
        flow: Flow,
        /// The datagram, or one after the other.
        payload: Bytes,
        /// When it is a train: the bytes of each datagram in it; the last may be shorter.
        segment: Option<u16>,
    },
    /// A datagram, or a train of them, without a source port: nobody can answer it (RFC 768).
    OneWay {
        /// To whom.
        local: Endpoint,
        /// From whom.
        remote: IpAddr,
        /// The datagram, or one after the other.
        payload: Bytes,
        /// As a [`Datagram`](Self::Datagram)'s.
        segment: Option<u16>,
    },
    /// An ICMP echo request.
    Echo(Echo),
    /// An ICMP error about a datagram that the gateway sent.
    Rejected {
        /// The datagram's flow.
        flow: Flow,
        /// What it says.
        unreachable: Unreachable,
    },
}

/// An ICMP echo request to an address that is not the host's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Who was asked.
    pub local: IpAddr,
    /// Who asks.
    pub remote: IpAddr,
    /// The asker's mark for its session.
    pub ident: u16,
    /// The asker's mark for this request.
    pub sequence: u16,
    /// To be given back unchanged.
    pub payload: Bytes,
}

/// A connection request, unanswered so far. Dropped, it is refused with a reset.
#[derive(Debug)]
pub struct Knock {
    stack: Stack,
    id: KnockId,
    flow: Flow,
    verdict: Verdict,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Given,
}

impl Gateway {
    /// Takes what comes to the stack's host from now on. Several of one stack share it.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        stack.shared().lock().arrivals.gateways += 1;
        Self {
            stack: stack.clone(),
        }
    }

    /// Waits for the next that comes.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`NetworkDown`](io::ErrorKind::NetworkDown): the stack has ended.
    pub async fn arrival(&self) -> io::Result<Arrival> {
        let event =
            self.stack
                .shared()
                .until(On::Arrival, |state, _| match state.arrivals.next() {
                    Some(event) => Poll::Ready(Ok(event)),
                    None => Poll::Pending,
                });
        Ok(match event.await? {
            Waiting::Knock(id, flow) => Arrival::Knock(Knock {
                stack: self.stack.clone(),
                id,
                flow,
                verdict: Verdict::Open,
            }),
            Waiting::Datagram(flow, payload, segment) => Arrival::Datagram {
                flow,
                payload,
                segment,
            },
            Waiting::OneWay(local, remote, payload, segment) => Arrival::OneWay {
                local,
                remote,
                payload,
                segment,
            },
            Waiting::Echo(echo) => Arrival::Echo(echo),
            Waiting::Rejected(flow, unreachable) => Arrival::Rejected { flow, unreachable },
        })
    }

    /// Sends a datagram from `flow.local`, which may be any endpoint, to `flow.remote`; with `segment` a train of them,
    /// that many bytes each. Waits when the link has no room. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`UdpSocket::send`](crate::UdpSocket::send).
    pub async fn send(&self, flow: Flow, payload: Bytes, segment: Option<u16>) -> io::Result<()> {
        let shared = self.stack.shared();
        let sent = shared.until(On::Room, |state, now| {
            if !state.host.has_output_room() {
                return Poll::Pending;
            }
            let sent = state
                .host
                .send_datagram(now, flow, payload.clone(), segment);
            Poll::Ready(sent.map_err(error::send))
        });
        sent.await
    }

    /// Answers a datagram that came on `flow` with an ICMP error.
    pub fn reject(&self, flow: Flow, unreachable: Unreachable) {
        self.stack
            .shared()
            .with(|state, now| state.host.reject_datagram(now, flow, unreachable));
    }

    /// Answers an echo request.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): not such as it came.
    pub fn reply(&self, echo: Echo) -> io::Result<()> {
        let Echo {
            local,
            remote,
            ident,
            sequence,
            payload,
        } = echo;
        self.stack.shared().attempt(|state, now| {
            let host = &mut state.host;
            let replied = host.echo_reply(now, local, remote, ident, sequence, payload);
            replied.map_err(error::send)
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stack.shared().with(|state, now| {
            state.arrivals.gateways -= 1;
            if state.arrivals.gateways == 0 {
                while let Some(waiting) = state.arrivals.next() {
                    turn_away(&mut state.host, now, waiting);
                }
            }
        });
    }
}

impl Knock {
    /// Who wants to connect where: `remote` to `local`.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Answers, and waits for the end of the handshake.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected): it has waited for more than two minutes, or the peer has withdrawn it. Others
    /// as [`TcpStream::connect`].
    pub async fn admit(mut self) -> io::Result<TcpStream> {
        self.verdict = Verdict::Given;
        let id = self.stack.shared().attempt(|state, now| {
            let admitted = state.host.admit(now, self.id);
            admitted.map_err(|why| io::Error::new(io::ErrorKind::NotConnected, why))
        })?;
        let stream = TcpStream::new(Held::new(&self.stack, id), self.flow);
        stream.connected().await?;
        Ok(stream)
    }

    /// Turns the request away in words of the caller's choice.
    pub fn refuse(mut self, refusal: Refusal) {
        self.answer(refusal);
    }

    fn answer(&mut self, refusal: Refusal) {
        self.verdict = Verdict::Given;
        self.stack
            .shared()
            .with(|state, now| state.host.refuse(now, self.id, refusal));
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        if self.verdict == Verdict::Open {
            self.answer(Refusal::Reset);
        }
    }
}

/// What waits for a gateway to fetch it, within bounds.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    queue: VecDeque<Waiting>,
    octets: usize,
    gateways: usize,
}

#[derive(Debug)]
pub(crate) enum Waiting {
    Knock(KnockId, Flow),
    Datagram(Flow, Bytes, Option<u16>),
    OneWay(Endpoint, IpAddr, Bytes, Option<u16>),
    Echo(Echo),
    Rejected(Flow, Unreachable),
}

impl Waiting {
    fn of(event: Event) -> Option<Self> {
        Some(match event {
            Event::Knock { knock, flow } => Self::Knock(knock, flow),
            Event::Datagram {
                flow,
                payload,
                segment,
            } => Self::Datagram(flow, payload, segment),
            Event::OneWay {
                local,
                remote,
                payload,
                segment,
            } => Self::OneWay(local, remote, payload, segment),
            Event::Echo {
                local,
                remote,
                ident,
                sequence,
                payload,
            } => Self::Echo(Echo {
                local,
                remote,
                ident,
                sequence,
                payload,
            }),
            Event::Rejected { flow, unreachable } => Self::Rejected(flow, unreachable),
            _ => return None,
        })
    }

    fn octets(&self) -> usize {
        match self {
            Self::Datagram(_, payload, _)
            | Self::OneWay(_, _, payload, _)
            | Self::Echo(Echo { payload, .. }) => payload.len(),
            Self::Knock(..) | Self::Rejected(..) => 0,
        }
    }
}

impl Arrivals {
    /// Something has come: it waits, is turned away where there is no gateway, and dropped where there is no room.
    pub(crate) fn take(&mut self, host: &mut Host, now: Instant, event: Event) {
        let Some(waiting) = Waiting::of(event) else {
            return;
        };
        if self.gateways == 0 {
            return turn_away(host, now, waiting);
        }
        if self.queue.len() >= MAX_WAITING || self.octets + waiting.octets() > MAX_OCTETS {
            if let Waiting::Knock(knock, _) = waiting {
                host.refuse(now, knock, Refusal::Silent);
            }
            return;
        }
        self.octets += waiting.octets();
        self.queue.push_back(waiting);
    }

    fn next(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        self.octets -= waiting.octets();
        Some(waiting)
    }
}

fn turn_away(host: &mut Host, now: Instant, waiting: Waiting) {
    match waiting {
        Waiting::Knock(knock, _) => host.refuse(now, knock, Refusal::Reset),
        Waiting::Datagram(flow, ..) => host.reject_datagram(now, flow, Unreachable::Port),
        // An error about a datagram from no port would reach nobody.
        Waiting::OneWay(..) | Waiting::Echo(_) | Waiting::Rejected(..) => {}
    }
}

/// Arrivals that wait at once.
const MAX_WAITING: usize = 4096;
/// Their bytes.
const MAX_OCTETS: usize = 16 << 20;
