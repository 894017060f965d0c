//! Queries against spaces that a test makes up, and resolvers on 127.0.0.1.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, timeout};

use super::*;

/// One space, `shop`.
struct Shop;

const SHOP: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 77, 3, 2),
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 3, 2),
);

const GATEWAY: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 77, 0, 1),
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1),
);

impl Spaces for Shop {
    fn addresses(&self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        (name == "shop").then_some(SHOP)
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        let own = address == SHOP.0 || address == SHOP.1;
        own.then(|| "shop".to_owned())
    }

    fn gateway(&self) -> (Ipv4Addr, Ipv6Addr) {
        GATEWAY
    }
}

fn resolver(servers: &[SocketAddr]) -> Rc<Resolver<Shop>> {
    let upstreams = Rc::new(Upstreams {
        servers: servers.to_vec(),
        ..Upstreams::default()
    });
    Rc::new(Resolver::new(Shop, move || Rc::clone(&upstreams)))
}

/// Runs a test; one that hangs fails.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { timeout(Duration::from_secs(60), test).await.expect("hangs") };
    LocalSet::new().block_on(&runtime, limited);
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut query = Message::new(0x1234, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

/// What is said to a question when there are no resolvers.
async fn alone(query: &Message) -> Message {
    let reply = resolver(&[]).answer(&bytes(query), Transport::Udp).await;
    let reply = Message::from_vec(&reply.unwrap()).unwrap();
    assert_eq!(reply.metadata.id, query.metadata.id);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert_eq!(reply.queries, query.queries);
    reply
}

/// The records of an answer as text, without owner and type.
fn data(reply: &Message) -> Vec<String> {
    reply
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

#[test]
fn names_that_are_ours_have_their_addresses() {
    run(async {
        let cases = [
            ("shop.internal.", RecordType::A, vec!["10.77.3.2"]),
            ("SHOP.Internal.", RecordType::AAAA, vec!["fd77::3:2"]),
            (
                "shop.internal.",
                RecordType::ANY,
                vec!["10.77.3.2", "fd77::3:2"],
            ),
            ("host.internal.", RecordType::A, vec!["10.77.0.1"]),
            ("gateway.internal.", RecordType::AAAA, vec!["fd77::1"]),
            ("localhost.", RecordType::A, vec!["127.0.0.1"]),
            ("a.b.LOCALHOST.", RecordType::AAAA, vec!["::1"]),
            (
                "2.3.77.10.in-addr.arpa.",
                RecordType::PTR,
                vec!["shop.internal."],
            ),
            (
                "1.0.77.10.IN-ADDR.arpa.",
                RecordType::PTR,
                vec!["gateway.internal."],
            ),
            (
                "2.0.0.0.3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa.",
                RecordType::PTR,
                vec!["shop.internal."],
            ),
        ];
        for (name, kind, expected) in cases {
            let query = question(name, kind);
            let reply = alone(&query).await;
            assert_eq!(
                reply.metadata.response_code,
                ResponseCode::NoError,
                "{name}"
            );
            assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
            assert_eq!(data(&reply), expected, "{name} {kind}");
            for record in &reply.answers {
                assert!(
                    record.name.eq_case(query.queries[0].name()),
                    "as it was written"
                );
                assert!((1..=60).contains(&record.ttl));
            }
        }
    });
}

#[test]
fn what_ours_does_not_have_is_denied_with_a_soa() {
    run(async {
        let cases = [
            ("shoop.internal.", RecordType::A, ResponseCode::NXDomain),
            ("3000.shop.internal.", RecordType::A, ResponseCode::NXDomain),
            ("a.host.internal.", RecordType::AAAA, ResponseCode::NXDomain),
            ("shop.internal.", RecordType::MX, ResponseCode::NoError),
            ("internal.", RecordType::A, ResponseCode::NoError),
            ("localhost.", RecordType::TXT, ResponseCode::NoError),
        ];
        for (name, kind, expected) in cases {
            let reply = alone(&question(name, kind)).await;
            assert_eq!(reply.metadata.response_code, expected, "{name} {kind}");
            assert_eq!(data(&reply), [""; 0], "{name}");
            let [soa] = &reply.authorities[..] else {
                panic!("{name}: no SOA")
            };
            assert_eq!(soa.record_type(), RecordType::SOA);
            assert_eq!(soa.ttl, 1, "the space may start at any moment");
            assert!(soa.name.zone_of(&Name::from_ascii(name).unwrap()), "{name}");
        }
        let apex = alone(&question("internal.", RecordType::SOA)).await;
        assert_eq!(apex.answers[0].record_type(), RecordType::SOA);
    });
}

#[test]
fn edns_is_spoken_with_those_who_speak_it() {
    run(async {
        let mut query = question("shop.internal.", RecordType::A);
        assert!(alone(&query).await.edns.is_none());
        query.set_edns(Edns::new());
        let reply = alone(&query).await;
        assert_eq!(reply.edns.unwrap().max_payload(), 1232);
        query.edns.as_mut().unwrap().set_version(1);
        let reply = alone(&query).await;
        // 16 is both BADVERS and BADSIG (RFC 6891 §9, RFC 8945 §3).
        assert_eq!(u16::from(reply.metadata.response_code), 16);
        assert_eq!(data(&reply), [""; 0]);
    });
}

#[test]
fn what_is_no_simple_question_is_refused() {
    run(async {
        let mut update = question("shop.internal.", RecordType::SOA);
        update.metadata.op_code = OpCode::Notify;
        let reply = alone(&update).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NotImp);
        let none = Message::new(7, MessageType::Query, OpCode::Query);
        let reply = alone(&none).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
    });
}

#[test]
fn what_is_no_query_is_dropped_and_counted() {
    run(async {
        let resolver = resolver(&[]);
        let whole = bytes(&question("shop.internal.", RecordType::A));
        let mut reply = whole.clone();
        reply[2] |= 0x80;
        let mut missing = whole.clone();
        missing[11] = 1;
        let mut circle = whole[..12].to_vec();
        circle.extend([0xc0, 12, 0, 1, 0, 1]);
        let cases = [
            &[][..],
            b"x",
            &whole[..11],
            &whole[..20],
            &reply,
            &missing,
            &circle,
        ];
        for (number, query) in (1..).zip(cases) {
            assert_eq!(
                resolver.answer(query, Transport::Udp).await,
                None,
                "{query:x?}"
            );
            assert_eq!(resolver.counts().malformed, number);
        }
        assert_eq!(
            resolver.counts(),
            Counts {
                malformed: 7,
                ..Counts::default()
            }
        );
    });
}

proptest! {
    #[test]
    fn no_bytes_do_harm(
        mut query in proptest::collection::vec(any::<u8>(), 0..600),
        shape in any::<bool>(),
    ) {
        if shape && query.len() >= 12 {
            // Nearer to a query: one question, perhaps one more record.
            query[2] &= 0x07;
            let more = query[11] & 1;
            query[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, more]);
        }
        run(async {
            let resolver = resolver(&[]);
            if let Some(reply) = resolver.answer(&query, Transport::Udp).await {
                assert_eq!(reply[..2], query[..2]);
                assert!(reply.len() <= 1232);
            }
        });
    }
}

/// A resolver of the machine: for each question, the replies that it sends. It takes UDP and TCP.
async fn machine<R>(replies: R) -> SocketAddr
where
    R: Fn(Asked<'_>) -> Vec<Vec<u8>> + 'static,
{
    let (socket, listener) = loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            break (socket, listener);
        }
    };
    let address = socket.local_addr().unwrap();
    let replies = Rc::new(replies);
    let over_tcp = Rc::clone(&replies);
    spawn_local(async move {
        let mut query = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut query).await.unwrap();
            let asked = Asked {
                query: &query[..length],
                from,
                transport: Transport::Udp,
            };
            for reply in replies(asked) {
                socket.send_to(&reply, from).await.unwrap();
            }
        }
    });
    spawn_local(async move {
        loop {
            let (mut stream, from) = listener.accept().await.unwrap();
            let query = framed(&mut stream).await.unwrap();
            let asked = Asked {
                query: &query,
                from,
                transport: Transport::Tcp,
            };
            for reply in over_tcp(asked) {
                forward::send(&mut stream, &reply).await.unwrap();
            }
        }
    });
    address
}

/// A question as it reaches a resolver.
struct Asked<'a> {
    query: &'a [u8],
    from: SocketAddr,
    transport: Transport,
}

impl Asked<'_> {
    /// The reply with a record of this text.
    fn say(&self, text: &str) -> Vec<u8> {
        bytes(&self.reply(text))
    }

    fn reply(&self, text: &str) -> Message {
        let query = Message::from_vec(self.query).unwrap();
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        let name = query.queries[0].name().clone();
        let txt = TXT::new(vec![text.to_owned()]);
        reply.add_answer(Record::from_rdata(name, 60, RData::TXT(txt)));
        reply.add_queries(query.queries);
        reply
    }

    fn fail(&self, code: ResponseCode) -> Vec<u8> {
        let mut reply = self.reply("");
        reply.answers.clear();
        reply.metadata.response_code = code;
        bytes(&reply)
    }
}

async fn framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// An address of 127.0.0.1 where nobody listens.
async fn nobody() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

/// What is said about example.com.
async fn example(resolver: &Resolver<Shop>, transport: Transport) -> Message {
    let query = bytes(&question("example.com.", RecordType::TXT));
    let reply = resolver.answer(&query, transport).await.unwrap();
    assert_eq!(reply[..2], query[..2]);
    Message::from_vec(&reply).unwrap()
}

#[test]
fn other_names_go_to_the_machine_and_back_byte_for_byte() {
    run(async {
        // Records that no library knows, an option and letters of mixed case: all of it is none of
        // our business.
        let tail =
            b"\x07eXaMpLe\x03cOm\0\xff\x01\0\x01\0\0\x29\x10\0\0\0\x80\0\0\x06\xfd\xe9\0\x02hi";
        let query = [b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01", &tail[..]].concat();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (expected, count) = (query.clone(), Rc::clone(&seen));
        let server = machine(move |asked| {
            assert_eq!(asked.query[2..], expected[2..]);
            let id = u16::from_be_bytes([asked.query[0], asked.query[1]]);
            count.borrow_mut().push((id, asked.from.port()));
            let mut reply = asked.query.to_vec();
            reply[2] |= 0x80;
            reply.extend(b"and bytes that nobody understands");
            vec![reply]
        });
        let resolver = resolver(&[server.await]);
        for _ in 0..8 {
            let reply = resolver.answer(&query, Transport::Udp).await.unwrap();
            assert_eq!(reply[..2], query[..2]);
            assert_eq!(reply[12..query.len()], query[12..]);
            assert!(reply.ends_with(b"and bytes that nobody understands"));
        }
        assert_eq!(
            resolver.counts(),
            Counts {
                forwarded: 8,
                ..Counts::default()
            }
        );
        let ids: HashSet<_> = seen.borrow().iter().map(|(id, _)| *id).collect();
        let ports: HashSet<_> = seen.borrow().iter().map(|(_, port)| *port).collect();
        assert!(
            ids.len() > 4 && ports.len() > 4,
            "each question has its own: {seen:?}"
        );
    });
}

#[test]
fn names_that_clouds_answer_are_passed_on() {
    run(async {
        let resolver = resolver(&[machine(|asked| vec![asked.say("cloud")]).await]);
        for name in [
            "metadata.google.internal.",
            "1.0.0.10.in-addr.arpa.",
            "internal.example.",
        ] {
            let query = bytes(&question(name, RecordType::PTR));
            let reply = resolver.answer(&query, Transport::Udp).await.unwrap();
            assert_eq!(
                data(&Message::from_vec(&reply).unwrap()),
                ["cloud"],
                "{name}"
            );
        }
    });
}

#[test]
fn forged_replies_are_not_believed() {
    run(async {
        let server = machine(|asked| {
            let mut number = asked.say("wrong number");
            number[1] ^= 1;
            let mut question = asked.reply("wrong question");
            question.queries[0].set_query_type(RecordType::A);
            let mut nothing = asked.reply("no question");
            nothing.queries.clear();
            let mut query = asked.query.to_vec();
            query[3] ^= 0;
            vec![
                number,
                bytes(&question),
                bytes(&nothing),
                query,
                b"x".to_vec(),
                asked.say("right"),
            ]
        });
        let reply = example(&resolver(&[server.await]), Transport::Udp).await;
        assert_eq!(data(&reply), ["right"]);
    });
}

#[test]
fn replies_from_other_addresses_are_not_heard() {
    run(async {
        let forger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = machine(move |asked| {
            // It knows everything, but has another address; its reply is there first.
            forger.send_to(&asked.say("forged"), asked.from).unwrap();
            vec![asked.say("right")]
        });
        let reply = example(&resolver(&[server.await]), Transport::Udp).await;
        assert_eq!(data(&reply), ["right"]);
    });
}

#[test]
fn a_resolver_that_fails_is_passed_over_at_once() {
    run(async {
        let codes = [
            ResponseCode::ServFail,
            ResponseCode::Refused,
            ResponseCode::NotImp,
        ];
        let good = machine(|asked| vec![asked.say("second")]).await;
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut bad = vec![nobody().await];
            for code in codes {
                bad.push(machine(move |asked| vec![asked.fail(code)]).await);
            }
            for bad in bad {
                let resolver = resolver(&[bad, good]);
                let mut fastest = Duration::MAX;
                for _ in 0..3 {
                    let began = Instant::now();
                    assert_eq!(data(&example(&resolver, transport).await), ["second"]);
                    fastest = fastest.min(began.elapsed());
                }
                assert!(fastest < forward::PATIENCE, "there was nothing to wait for");
            }
        }
    });
}

#[test]
fn a_resolver_that_is_silent_does_not_hold_the_next_one_up_for_long() {
    run(async {
        let silent = machine(|_| Vec::new()).await;
        let good = machine(|asked| vec![asked.say("second")]).await;
        let reply = example(&resolver(&[silent, good]), Transport::Udp).await;
        assert_eq!(data(&reply), ["second"]);
    });
}

#[test]
fn a_lost_datagram_is_sent_again() {
    run(async {
        let first = Cell::new(true);
        let server = machine(move |asked| match first.replace(false) {
            true => Vec::new(),
            false => vec![asked.say("again")],
        });
        let reply = example(&resolver(&[server.await]), Transport::Udp).await;
        assert_eq!(data(&reply), ["again"]);
    });
}

#[test]
fn servfail_when_nobody_answers_and_the_resolvers_own_no_when_all_say_it() {
    run(async {
        let resolver_of_nobody = resolver(&[nobody().await, nobody().await]);
        let reply = example(&resolver_of_nobody, Transport::Udp).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(
            resolver_of_nobody.counts(),
            Counts {
                failed: 1,
                ..Counts::default()
            }
        );
        let refusing = machine(|asked| vec![asked.fail(ResponseCode::Refused)]).await;
        let reply = example(&resolver(&[refusing, nobody().await]), Transport::Udp).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    });
}

#[test]
fn no_such_name_is_an_answer() {
    run(async {
        let no = machine(|asked| vec![asked.fail(ResponseCode::NXDomain)]).await;
        let never = machine(|_| panic!("the first one has answered")).await;
        let reply = example(&resolver(&[no, never]), Transport::Udp).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    });
}

#[test]
fn a_truncated_reply_sends_the_program_to_tcp_and_so_do_we() {
    run(async {
        let server = machine(|asked| {
            if asked.transport == Transport::Tcp {
                return vec![asked.say(&"long ".repeat(50))];
            }
            let mut cut = asked.reply("");
            cut.answers.clear();
            cut.metadata.truncation = true;
            vec![bytes(&cut)]
        });
        let resolver = resolver(&[server.await]);
        assert!(example(&resolver, Transport::Udp).await.metadata.truncation);
        let whole = example(&resolver, Transport::Tcp).await;
        assert_eq!(data(&whole), ["long ".repeat(50)]);
    });
}

#[test]
fn a_reply_that_is_too_long_for_the_program_is_cut() {
    run(async {
        let server = machine(|asked| {
            let mut reply = asked.reply("");
            let name = reply.queries[0].name().clone();
            for last in 0..100 {
                let address = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
                reply.add_answer(Record::from_rdata(name.clone(), 60, address));
            }
            vec![bytes(&reply)]
        });
        let resolver = resolver(&[server.await]);
        let mut query = question("example.com.", RecordType::TXT);
        let cut = resolver
            .answer(&bytes(&query), Transport::Udp)
            .await
            .unwrap();
        let cut = Message::from_vec(&cut).unwrap();
        assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.edns.is_none());
        assert_eq!(cut.queries, query.queries);
        query.set_edns(Edns::new());
        query.edns.as_mut().unwrap().set_max_payload(1232);
        let cut = resolver
            .answer(&bytes(&query), Transport::Udp)
            .await
            .unwrap();
        let cut = Message::from_vec(&cut).unwrap();
        assert!(cut.metadata.truncation && cut.edns.is_some());
        query.edns.as_mut().unwrap().set_max_payload(4096);
        let whole = resolver
            .answer(&bytes(&query), Transport::Udp)
            .await
            .unwrap();
        assert_eq!(Message::from_vec(&whole).unwrap().answers.len(), 101);
    });
}

#[test]
fn queries_past_the_limit_are_dropped() {
    run(async {
        let resolver = resolver(&[machine(|_| Vec::new()).await]);
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..FORWARDS_MAX {
            let resolver = Rc::clone(&resolver);
            waiting.spawn_local(async move { example(&resolver, Transport::Udp).await });
        }
        while resolver.forwards.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let query = bytes(&question("example.com.", RecordType::A));
        assert_eq!(resolver.answer(&query, Transport::Udp).await, None);
        assert_eq!(resolver.counts().overflow, 1);
        let own = bytes(&question("shop.internal.", RecordType::A));
        assert!(
            resolver.answer(&own, Transport::Udp).await.is_some(),
            "costs nothing"
        );
        drop(waiting);
        while resolver.forwards.available_permits() < FORWARDS_MAX {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_udp_socket_is_served() {
    run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let silent = machine(|_| Vec::new()).await;
        spawn_local(resolver(&[silent]).serve_udp(socket));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        client
            .send(&bytes(&question("example.com.", RecordType::A)))
            .await
            .unwrap();
        client.send(b"no query").await.unwrap();
        client
            .send(&bytes(&question("shop.internal.", RecordType::A)))
            .await
            .unwrap();
        let mut reply = [0; 512];
        let length = client.recv(&mut reply).await.unwrap();
        let reply = Message::from_vec(&reply[..length]).unwrap();
        assert_eq!(
            data(&reply),
            ["10.77.3.2"],
            "it does not wait behind a slow one"
        );
    });
}

#[test]
fn a_tcp_listener_is_served_query_by_query() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(resolver(&[]).serve_tcp(listener));
        let mut stream = TcpStream::connect(address).await.unwrap();
        for name in ["shop.internal.", "host.internal.", "localhost."] {
            // In two pieces, as a stream may deliver it.
            let query = bytes(&question(name, RecordType::A));
            stream.write_u16(query.len() as u16).await.unwrap();
            stream.write_all(&query).await.unwrap();
            let reply = Message::from_vec(&framed(&mut stream).await.unwrap()).unwrap();
            assert_eq!(reply.answers.len(), 1, "{name}");
        }
        stream.write_all(b"\0\x05hello").await.unwrap();
        assert!(
            framed(&mut stream).await.is_err(),
            "no query: the stream is closed"
        );
    });
}
