//! rustls at both ends of a connection of ours.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod certificate;
mod network;

use std::io::ErrorKind;
use std::sync::Arc;

use certificate::{NAME, configurations};
use network::{bytes, pair, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wharf_socket::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mebibyte_goes_there_and_back_under_tls() {
    let (left, right) = pair();
    let (server, client) = configurations();
    let listener = TcpListener::bind(&right, "10.0.0.2:443").await.unwrap();
    let echo = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await;
        let (mut from, mut to) = tokio::io::split(stream.unwrap());
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let stream = TcpStream::connect(&left, "10.0.0.2:443").await.unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let stream = connector.connect(NAME.try_into().unwrap(), stream).await;
    let (mut from, mut to) = tokio::io::split(stream.unwrap());
    let said = bytes(1 << 20);
    let write = async {
        to.write_all(&said).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let ((), read) = soon(async { tokio::join!(write, from.read_to_end(&mut heard)) }).await;
    read.unwrap();
    assert!(heard == said);
    soon(echo).await.unwrap();
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let (left, right) = pair();
    let ((server, _), (_, client)) = (configurations(), configurations());
    let listener = TcpListener::bind(&right, "10.0.0.2:443").await.unwrap();
    let accept = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(server)).accept(stream).await
    });
    let stream = TcpStream::connect(&left, "10.0.0.2:443").await.unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let refused = soon(connector.connect(NAME.try_into().unwrap(), stream)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidData);
    // The client's alert has come through.
    assert_eq!(
        soon(accept).await.unwrap().unwrap_err().kind(),
        ErrorKind::InvalidData
    );
}
