//! axum over wharf's TCP.

use std::io;
use std::net::SocketAddr;

use wharf_socket::{TcpListener, TcpStream};

/// A [`TcpListener`] for [`axum::serve()`].
///
/// ```
/// use axum::{Router, routing::get};
/// use wharf_ecosystem::web::Listener;
/// use wharf_socket::{Stack, TcpListener};
///
/// async fn serve(stack: &Stack) -> std::io::Result<()> {
///     let pages = Router::new().route("/", get(|| async { "hello" }));
///     let listener = TcpListener::bind(stack, "0.0.0.0:80").await?;
///     axum::serve(Listener(listener), pages).await
/// }
/// ```
#[derive(Debug)]
pub struct Listener(pub TcpListener);

impl axum::serve::Listener for Listener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    /// Waits forever once the stack has ended: nobody comes any more, and axum takes no error.
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match self.0.accept().await {
            Ok(accepted) => accepted,
            Err(_) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
