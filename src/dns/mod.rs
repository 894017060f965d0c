//! The name service of spaces: names of spaces from us, everything else from the machine's
//! resolvers.
//!
//! A program in a space asks whatever addresses `resolv.conf` names, as always. Those queries end
//! up here:
//!
//! | name | answer |
//! |---|---|
//! | `NAME.internal` | the addresses of the space NAME |
//! | `host.internal`, `gateway.internal` | the addresses of the gateway, which stand for the machine |
//! | another `NAME.internal`, anything below a space's name | there is no such name |
//! | `localhost`, `anything.localhost` | loopback (RFC 6761 §6.3) |
//! | the reverse names of these addresses | their name |
//! | everything else | what the machine's resolvers say, byte for byte |
//!
//! Names with more labels below `.internal` (`metadata.google.internal`) are passed on, because
//! clouds answer them, and none of them can be a space's.
//!
//! It is *not* a resolver: it keeps no cache and follows no delegation. Resolvers are asked from
//! the machine's own network, so it does no harm if one of their addresses is served by us inside a
//! space.
//!
//! # Theory of operation
//!
//! [`Resolver::answer`] takes one query and gives one reply, without a transport;
//! [`Resolver::serve_udp`] and [`Resolver::serve_tcp`] put sockets around it. [`question`] reads as
//! much of a query as is needed, [`zone`] decides what is ours, [`forward`] asks the resolvers that
//! [`resolv`] found in `resolv.conf`; [`change`] notices when that changes.
//!
//! RFCs: 1035 (messages), 2308 (negative answers), 5452 (forged answers), 6761 (`.localhost`), 6891
//! (EDNS), 7766 (TCP), 8482 (ANY).

mod change;
mod forward;
mod question;
mod resolv;
mod serve;
mod zone;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use hickory_proto::op::{OpCode, ResponseCode};
use tokio::sync::Semaphore;

pub(crate) use change::Change;
pub(crate) use resolv::{ResolvConf, Upstreams};

use question::{Answer, Question};

/// Queries that wait for the machine's resolvers at one time. Further ones are dropped, so that
/// their senders try again.
pub(crate) const FORWARDS_MAX: usize = 256;

/// What the name service has to know of spaces. The daemon implements it.
pub(crate) trait Spaces: 'static {
    /// The addresses of the running space with this name, which arrives in lower case.
    fn addresses(&self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)>;

    /// The name of the running space with this address.
    fn name(&self, address: IpAddr) -> Option<String>;

    /// The gateway's addresses, where a space reaches the machine.
    fn gateway(&self) -> (Ipv4Addr, Ipv6Addr);
}

/// How a query came, and how its reply goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In a datagram: the reply may have to be cut short.
    Udp,
    /// In a stream: replies have up to 65,535 bytes.
    Tcp,
}

/// How many queries met which fate, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Answered by ourselves.
    pub(crate) own: u64,
    /// Answered by one of the machine's resolvers.
    pub(crate) forwarded: u64,
    /// Answered with SERVFAIL, since no resolver answered.
    pub(crate) failed: u64,
    /// Dropped: no DNS query.
    pub(crate) malformed: u64,
    /// Dropped: too many at one time.
    pub(crate) overflow: u64,
}

/// Answers the queries of programs in spaces.
pub(crate) struct Resolver<S> {
    spaces: S,
    upstreams: Box<dyn Fn() -> Rc<Upstreams>>,
    forwards: Semaphore,
    counts: Cell<Counts>,
}

impl<S> std::fmt::Debug for Resolver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("upstreams", &(self.upstreams)())
            .field("counts", &self.counts.get())
            .finish_non_exhaustive()
    }
}

impl<S: Spaces> Resolver<S> {
    /// A name service for these spaces. `upstreams` is called for each query that is passed on;
    /// usually it is [`ResolvConf::current`].
    pub(crate) fn new(spaces: S, upstreams: impl Fn() -> Rc<Upstreams> + 'static) -> Self {
        Self {
            spaces,
            upstreams: Box::new(upstreams),
            forwards: Semaphore::new(FORWARDS_MAX),
            counts: Cell::default(),
        }
    }

    /// How many queries met which fate.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// The reply to a query. `None` if it deserves none: what came is no DNS query, or too many are
    /// under way.
    ///
    /// It takes as long as the machine's resolvers do, ten seconds at most.
    pub(crate) async fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let outcome = self.decide(query, transport).await;
        let mut counts = self.counts.get();
        let fate = match &outcome {
            Ok((Source::Own, _)) => &mut counts.own,
            Ok((Source::Upstream, _)) => &mut counts.forwarded,
            Ok((Source::Nobody, _)) => &mut counts.failed,
            Err(Dropped::Malformed) => &mut counts.malformed,
            Err(Dropped::Overflow) => &mut counts.overflow,
        };
        *fate += 1;
        self.counts.set(counts);
        outcome.ok().map(|(_, reply)| reply)
    }

    async fn decide(
        &self,
        query: &[u8],
        transport: Transport,
    ) -> Result<(Source, Vec<u8>), Dropped> {
        let question = Question::read(query).ok_or(Dropped::Malformed)?;
        let own = match self.own(&question) {
            Some(Ok(answer)) => Some(question.reply(query, answer)),
            Some(Err(code)) => Some(question.failure(query, code)),
            None => None,
        };
        if let Some(reply) = own {
            return Ok((Source::Own, reply.ok_or(Dropped::Malformed)?));
        }
        let _permit = self.forwards.try_acquire().map_err(|_| Dropped::Overflow)?;
        let reply = forward::ask(&(self.upstreams)(), query, &question, transport).await;
        let (source, reply) = match reply {
            Some(reply) => (Source::Upstream, question.fit(query, reply, transport)),
            None => (
                Source::Nobody,
                question.failure(query, ResponseCode::ServFail),
            ),
        };
        Ok((source, reply.ok_or(Dropped::Malformed)?))
    }

    /// Our own answer or refusal; `None` if the machine's resolvers are to be asked.
    fn own(&self, question: &Question) -> Option<Result<Answer, ResponseCode>> {
        // Zones are not changed or transferred through here (RFC 1996, 2136).
        if question.op_code() != OpCode::Query {
            return Some(Err(ResponseCode::NotImp));
        }
        match question.query() {
            Some(query) => zone::answer(&self.spaces, query).map(Ok),
            None => Some(Err(ResponseCode::FormErr)),
        }
    }
}

/// Who answered a query.
#[derive(Clone, Copy, Debug)]
enum Source {
    Own,
    Upstream,
    Nobody,
}

/// Why a query is not answered at all.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    Malformed,
    Overflow,
}
