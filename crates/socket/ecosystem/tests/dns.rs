//! hickory's resolver on one stack, a small DNS server on the other.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::net::IpAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use network::{pair, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wharf_ecosystem::dns::Provider;
use wharf_socket::{Stack, TcpListener, UdpSocket};

/// Over what a question came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

/// `www.example.` has an address of each family, `many.example.` more than a datagram takes.
fn answer(question: &[u8], transport: Transport) -> Vec<u8> {
    let question = Message::from_vec(question).unwrap();
    let query = &question.queries[0];
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.add_query(query.clone());
    let record = |data| Record::from_rdata(query.name().clone(), 60, data);
    match (query.name().to_string().as_str(), query.query_type()) {
        ("www.example.", RecordType::A) => {
            reply.add_answer(record(RData::A(A::new(192, 0, 2, 1))));
        }
        ("www.example.", RecordType::AAAA) => {
            let address = "2001:db8::1".parse().unwrap();
            reply.add_answer(record(RData::AAAA(AAAA(address))));
        }
        ("many.example.", RecordType::A) if transport == Transport::Udp => {
            reply.metadata.truncation = true;
        }
        ("many.example.", RecordType::A) => {
            let all = (0..200).map(|last| record(RData::A(A::new(192, 0, 2, last))));
            reply.add_answers(all);
        }
        ("many.example.", _) => {}
        _ => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.to_vec().unwrap()
}

async fn serve(stack: &Stack) {
    let socket = UdpSocket::bind(stack, "10.0.0.2:53").await.unwrap();
    let listener = TcpListener::bind(stack, "10.0.0.2:53").await.unwrap();
    tokio::spawn(async move {
        while let Ok(asked) = socket.recv_whole().await {
            let reply = answer(&asked.payload, Transport::Udp);
            let sender = asked.sender().expect("queries come from a port");
            socket.send_to(&reply, sender).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // RFC 7766 §8: each message follows its length.
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.unwrap();
                let reply = answer(&question, Transport::Tcp);
                stream.write_u16(reply.len() as u16).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        }
    });
}

fn resolver(stack: &Stack) -> Resolver<Provider> {
    let server = NameServerConfig::udp_and_tcp([10, 0, 0, 2].into());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let builder = Resolver::builder_with_config(config, Provider::new(stack));
    builder.build().unwrap()
}

#[tokio::test]
async fn names_are_looked_up_over_udp_and_whatever_is_too_long_over_tcp() {
    let (left, right) = pair();
    serve(&right).await;
    let resolver = resolver(&left);
    let v4 = soon(resolver.ipv4_lookup("www.example.")).await.unwrap();
    let texts: Vec<_> = v4
        .answers()
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    assert_eq!(texts, ["192.0.2.1"]);
    let all = soon(resolver.lookup_ip("www.example.")).await.unwrap();
    let wanted: IpAddr = "192.0.2.1".parse().unwrap();
    assert!(all.iter().any(|address| address == wanted));
    let many = soon(resolver.ipv4_lookup("many.example.")).await.unwrap();
    assert_eq!(many.answers().len(), 200);
    let name: Name = "none.example.".parse().unwrap();
    let none = soon(resolver.lookup_ip(name)).await.unwrap_err();
    assert!(none.is_nx_domain(), "{none}");
}
