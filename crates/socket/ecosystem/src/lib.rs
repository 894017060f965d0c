//! What the ecosystem builds on sockets, on wharf's: adapters to copy, a few lines each, and examples and tests that use them.
//!
//! | library | what it wants | here |
//! |---|---|---|
//! | hyper, rustls (by tokio-rustls), whatever takes `AsyncRead` and `AsyncWrite` | a stream | nothing: [`TcpStream`](wharf_socket::TcpStream) as it is |
//! | axum | a `Listener` | [`web::Listener`] |
//! | quinn | an `AsyncUdpSocket` | [`quic::Socket`] |
//! | hickory's resolver | a `RuntimeProvider` | [`dns::Provider`] |
//!
//! It is a package of its own so that nobody who builds `wharf-socket` waits for these libraries.

pub mod dns;
pub mod quic;
pub mod web;
