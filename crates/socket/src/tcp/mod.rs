//! TCP: listeners, streams, their halves, and sockets that are neither yet.

mod halves;
mod listener;
mod options;
mod socket;
mod stream;
mod transfer;

pub use halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use listener::TcpListener;
pub use socket::TcpSocket;
pub use stream::TcpStream;
