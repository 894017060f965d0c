//! The sockets that commands are about, by number.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use wharf_socket::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, UdpSocket};

/// What a number stands for.
#[derive(Clone)]
pub(crate) enum Handle {
    Listener(Arc<TcpListener>),
    Stream(Arc<Stream>),
    Datagrams(Arc<UdpSocket>),
}

/// All of them.
#[derive(Default)]
pub(crate) struct Handles(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    last: u64,
    known: HashMap<u64, Handle>,
}

impl Handles {
    pub(crate) fn add(&self, handle: Handle) -> u64 {
        let mut numbers = self.lock();
        numbers.last += 1;
        let number = numbers.last;
        numbers.known.insert(number, handle);
        number
    }

    pub(crate) fn find(&self, number: u64) -> Option<Handle> {
        self.lock().known.get(&number).cloned()
    }

    pub(crate) fn remove(&self, number: u64) -> Option<Handle> {
        self.lock().known.remove(&number)
    }

    pub(crate) fn drain(&self) -> Vec<Handle> {
        self.lock()
            .known
            .drain()
            .map(|(_, handle)| handle)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, and the task that writes to it: commands don't wait for the peer's window.
pub(crate) struct Stream {
    half: OwnedReadHalf,
    orders: mpsc::Sender<Order>,
    /// `shutdown` with `rd`: whatever comes, the reader is told that it was all.
    deaf: AtomicBool,
}

/// Something for the writing task.
enum Order {
    Write(Data, oneshot::Sender<io::Result<()>>),
    Shutdown(oneshot::Sender<io::Result<()>>),
}

/// What to write.
pub(crate) enum Data {
    Bytes(Vec<u8>),
    /// So many bytes more of the stream in which byte i is `(i*7 + (i>>8)) & 0xff`, i modulo 65536.
    Pattern(usize),
}

impl Stream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (half, write) = stream.into_split();
        let (orders, inbox) = mpsc::channel(MAX_ORDERS);
        tokio::spawn(obey(inbox, write));
        Self {
            half,
            orders,
            deaf: AtomicBool::new(false),
        }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        self.half.as_ref()
    }

    /// Has it written, after everything ordered before.
    pub(crate) async fn write(&self, data: Data) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        self.order(|done| Order::Write(data, done)).await
    }

    /// Closes the direction to the peer, after everything ordered before.
    pub(crate) async fn shutdown(&self) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        self.order(Order::Shutdown).await
    }

    async fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Order,
    ) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let (done, outcome) = oneshot::channel();
        let ordered = self.orders.send(order(done)).await;
        ordered.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(outcome)
    }

    pub(crate) fn stop_listening(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Reads what comes next; nothing means the end.
    pub(crate) async fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        if self.deaf.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let mut data = vec![0; most];
        loop {
            match self.tcp().try_read(&mut data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.tcp().readable().await?;
                }
                result => {
                    data.truncate(result?);
                    return Ok(data);
                }
            }
        }
    }
}

/// Writes as ordered. When nobody orders any more, what was ordered is still written, then the direction is closed.
async fn obey(mut orders: mpsc::Receiver<Order>, mut half: OwnedWriteHalf) {
    let mut place = 0;
    while let Some(order) = orders.recv().await {
        let (result, done) = match order {
            Order::Write(Data::Bytes(bytes), done) => (half.write_all(&bytes).await, done),
            Order::Write(Data::Pattern(count), done) => {
                (write_pattern(&mut half, &mut place, count).await, done)
            }
            Order::Shutdown(done) => (half.shutdown().await, done),
        };
        // Who ordered it need not have waited.
        let _ = done.send(result);
    }
}

/// Writes the next `count` bytes of the pattern, from `place` on.
async fn write_pattern(
    half: &mut OwnedWriteHalf,
    place: &mut usize,
    mut count: usize,
) -> io::Result<()> {
    while count > 0 {
        let piece: Vec<u8> = (*place..).take(count.min(PIECE)).map(pattern).collect();
        half.write_all(&piece).await?;
        count -= piece.len();
        *place = (*place + piece.len()) % PERIOD;
    }
    Ok(())
}

fn pattern(at: usize) -> u8 {
    let at = at % PERIOD;
    (at * 7 + (at >> 8)) as u8
}

/// After so many bytes the pattern begins anew.
const PERIOD: usize = 65_536;
/// Bytes of the pattern that are made at once.
const PIECE: usize = 16 * 1024;
/// Orders that a stream has waiting at once; more wait for room.
const MAX_ORDERS: usize = 64;
