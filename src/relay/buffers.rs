//! Where bytes from the machine's sockets are read into: large buffers, shared by all connections, used again.

use std::os::fd::BorrowedFd;

use bytes::{Bytes, BytesMut};

use crate::sys;

/// Bytes of a buffer: one read takes as much, and a few together stay within a core's cache.
const CAPACITY: usize = 512 << 10;
/// With less room than this left in a buffer, the next one is taken: a whole datagram fits.
const ROOM_MIN: usize = 64 << 10;
/// Where this much is there and asked for, a read takes it.
pub(super) const READ_MIN: usize = ROOM_MIN;
/// Buffers that are kept to be used again.
const KEPT: usize = 4;
/// Up to this many bytes are copied, so that a few that stay long don't keep a buffer.
const COPIED: usize = 2 << 10;

/// The buffers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    kept: [BytesMut; KEPT],
    current: usize,
}

impl Buffers {
    /// Reads once from `socket`, at most `limit` bytes; empty at the end of the stream.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        limit: usize,
    ) -> rustix::io::Result<Bytes> {
        let buffer = self.with_room();
        sys::receive(socket, buffer, limit)?;
        if buffer.len() > COPIED {
            return Ok(buffer.split().freeze());
        }
        let bytes = Bytes::copy_from_slice(buffer);
        buffer.clear();
        Ok(bytes)
    }

    /// A buffer with at least [`ROOM_MIN`] bytes of room; allocates only where all are still in use.
    fn with_room(&mut self) -> &mut BytesMut {
        let has_room = |buffer: &BytesMut| buffer.capacity() >= ROOM_MIN;
        if !has_room(&self.kept[self.current]) {
            let order = (self.current + 1..KEPT).chain(0..=self.current);
            let free = order
                .into_iter()
                .find(|&index| self.kept[index].try_reclaim(CAPACITY));
            self.current = free.unwrap_or((self.current + 1) % KEPT);
            if free.is_none() {
                self.kept[self.current] = BytesMut::with_capacity(CAPACITY);
            }
        }
        &mut self.kept[self.current]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn buffers_are_used_again_when_their_bytes_are_done_with() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let (mut buffers, mut places) = (Buffers::default(), HashSet::new());
        for round in 0..200_u8 {
            near.write_all(&[round; 60_000]).unwrap();
            let mut left = 60_000;
            while left > 0 {
                let bytes = buffers.receive(far.as_fd(), CAPACITY).unwrap();
                assert!(bytes.iter().all(|&byte| byte == round));
                left -= bytes.len();
                places.insert(bytes.as_ptr() as usize / CAPACITY);
            }
        }
        assert!(places.len() <= 2 * KEPT, "{} places", places.len());
    }

    #[test]
    fn few_bytes_hold_no_buffer_and_many_are_kept_whole() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut buffers = Buffers::default();
        let kept: Vec<_> = (0..100_u8)
            .map(|round| {
                near.write_all(&[round; 3000]).unwrap();
                let mut all = Vec::new();
                while all.len() < 3000 {
                    all.extend_from_slice(&buffers.receive(far.as_fd(), 3000 - all.len()).unwrap());
                }
                all
            })
            .collect();
        assert!(
            kept.iter()
                .zip(0..)
                .all(|(bytes, round)| *bytes == [round; 3000])
        );
        drop(near);
        assert!(buffers.receive(far.as_fd(), 1).unwrap().is_empty());
    }
}
