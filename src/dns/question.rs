//! Reading a query, as far as it is needed, and writing replies to it.
//!
//! A query that is passed on is looked at up to its question only: what follows is between the
//! program and the resolver. RFC 1035 §4.1, RFC 6891 (EDNS).

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::Transport;

/// The largest UDP reply without EDNS (RFC 1035 §4.2.1).
const UDP_MAX: usize = 512;

/// The largest UDP message that we say we take: what passes any link in one packet (DNS flag day
/// 2020).
const EDNS_MAX: u16 = 1232;

/// A query's header and question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    header: Header,
    /// The question, if there is exactly one.
    query: Option<Query>,
}

/// An answer of our own.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// `NoError`, or `NXDomain` if there is no such name.
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
    /// The zone's SOA, if there are no answers (RFC 2308 §3).
    pub(super) authority: Option<Record>,
}

impl Question {
    /// Reads a query; `None` if it is none.
    pub(super) fn read(query: &[u8]) -> Option<Self> {
        let (header, query) = read(query)?;
        (header.metadata.message_type == MessageType::Query).then_some(Self { header, query })
    }

    pub(super) fn op_code(&self) -> OpCode {
        self.header.metadata.op_code
    }

    pub(super) fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    /// Whether a message is the reply to this question when it was asked under `id`. Resolvers that
    /// fail may leave the question out.
    pub(super) fn is_answered_by(&self, reply: &[u8], id: u16) -> bool {
        let Some((header, query)) = read(reply) else {
            return false;
        };
        let meta = header.metadata;
        let same = match query {
            Some(query) => Some(&query) == self.query.as_ref(),
            None => header.counts.queries == 0 && meta.response_code != ResponseCode::NoError,
        };
        meta.id == id && meta.message_type == MessageType::Response && same
    }

    /// A reply with records of our own. `None` if the rest of the query can't be read.
    pub(super) fn reply(&self, query: &[u8], answer: Answer) -> Option<Vec<u8>> {
        let edns = Message::from_vec(query).ok()?.edns;
        let mut reply = self.begin(edns.as_ref());
        // RFC 6891 §6.1.3: there is no version but 0.
        if edns.is_some_and(|edns| edns.version() > 0) {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return reply.to_vec().ok();
        }
        reply.metadata.authoritative = true;
        reply.metadata.response_code = answer.code;
        reply.answers = answer.answers;
        reply.authorities.extend(answer.authority);
        reply.to_vec().ok()
    }

    /// A reply that says only why there is no answer. `None` if the rest of the query can't be
    /// read.
    pub(super) fn failure(&self, query: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
        let edns = Message::from_vec(query).ok()?.edns;
        let mut reply = self.begin(edns.as_ref());
        reply.metadata.response_code = code;
        reply.to_vec().ok()
    }

    /// A resolver's reply as the asker can take it: as it is, or without records and marked as
    /// truncated.
    pub(super) fn fit(
        &self,
        query: &[u8],
        reply: Vec<u8>,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        if transport == Transport::Tcp || reply.len() <= UDP_MAX {
            return Some(reply);
        }
        let edns = Message::from_vec(query).ok()?.edns;
        let limit = edns
            .as_ref()
            .map_or(UDP_MAX, |edns| usize::from(edns.max_payload()).max(UDP_MAX));
        if reply.len() <= limit {
            return Some(reply);
        }
        let mut cut = self.begin(edns.as_ref());
        cut.metadata.truncation = true;
        cut.to_vec().ok()
    }

    /// An empty reply. It speaks EDNS if the query did.
    fn begin(&self, edns: Option<&Edns>) -> Message {
        let meta = &self.header.metadata;
        let mut reply = Message::response(meta.id, meta.op_code);
        reply.metadata.recursion_desired = meta.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.checking_disabled = meta.checking_disabled;
        reply.queries.extend(self.query.clone());
        if edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_MAX);
            reply.set_edns(edns);
        }
        reply
    }
}

/// Whether a reply says that this resolver can't help, so that another one should be asked.
pub(super) fn is_no_help(reply: &[u8]) -> bool {
    read(reply).is_none_or(|(header, _)| {
        matches!(
            header.metadata.response_code,
            ResponseCode::ServFail | ResponseCode::NotImp | ResponseCode::Refused
        )
    })
}

/// Reads a message's header and, if there is exactly one, its question.
fn read(message: &[u8]) -> Option<(Header, Option<Query>)> {
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).ok()?;
    let query = match header.counts.queries {
        1 => Some(Query::read(&mut decoder).ok()?),
        _ => None,
    };
    Some((header, query))
}
