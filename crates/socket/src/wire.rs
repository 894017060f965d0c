//! One link of a stack: its frames into the host, and the host's frames onto it.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use wharf_link::{AsyncLink, BATCH, Slots};
use wharf_net::{Frame, Host, Instant};
use wharf_port::table::Device;

/// See the [module](self).
pub(crate) struct Wire<L> {
    pub(crate) link: L,
    device: Device,
    slots: Slots,
    /// A frame that the link has no room for yet.
    pub(crate) unsent: Option<Frame>,
    /// Why the link is there no more: what is for it is lost from then on.
    pub(crate) gone: Option<io::Error>,
    /// So many came at once that more may be waiting, even of a link that is gone.
    full: bool,
}

impl<L: AsyncLink> Wire<L> {
    pub(crate) fn new(link: L, device: Device) -> Self {
        Self {
            link,
            device,
            slots: Slots::default(),
            unsent: None,
            gone: None,
            full: false,
        }
    }

    /// Tells the link how late it is.
    pub(crate) fn advance(&mut self, elapsed: Duration) {
        if self.gone.is_none() {
            self.gone = self.link.advance(elapsed).err();
        }
    }

    /// Takes a batch of frames; whether there may be more.
    pub(crate) fn receive(&mut self, cx: &mut Context<'_>, host: &mut Host, now: Instant) -> bool {
        self.full = false;
        if self.gone.is_some() {
            return false;
        }
        for _ in 0..BATCH {
            match self.slots.poll_receive(cx, &mut self.link) {
                Poll::Ready(Ok(bytes)) => host.receive_bytes(now, self.device, bytes),
                Poll::Ready(Err(error)) if is_down(&error) => {}
                Poll::Ready(Err(error)) => {
                    self.gone = Some(error);
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        self.full = true;
        true
    }

    /// Sends until the host has nothing more for the link, or the link no room; how many frames. `busy` is set when it is worth
    /// looking again at once.
    pub(crate) fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        host: &mut Host,
        now: Instant,
        busy: &mut bool,
    ) -> usize {
        let mut sent = 0;
        while let Some(frame) = self
            .unsent
            .take()
            .or_else(|| host.transmit_on(now, self.device))
        {
            sent += 1;
            if self.gone.is_some() {
                continue;
            }
            match send(cx, &mut self.link, &frame) {
                Poll::Pending => {
                    self.unsent = Some(frame);
                    return sent - 1;
                }
                Poll::Ready(result) => *busy |= self.note(result),
            }
        }
        if self.gone.is_none()
            && let Poll::Ready(result) = self.link.poll_flush(cx)
        {
            *busy |= self.note(result);
        }
        sent
    }

    /// Whether what the link answered is a reason to look again at once: there is nobody at its other end.
    fn note(&mut self, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => false,
            // Refused as malformed: lost, as the link says.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => false,
            Err(error) if is_down(&error) => true,
            // Whoever left may have said much before.
            Err(_) if self.full => true,
            Err(error) => {
                self.gone = Some(error);
                false
            }
        }
    }
}

fn send(cx: &mut Context<'_>, link: &mut impl AsyncLink, frame: &Frame) -> Poll<io::Result<()>> {
    const MAX_PARTS: usize = 17;
    let mut parts = [IoSlice::new(&[]); MAX_PARTS];
    let body = frame.body();
    if body.len() >= MAX_PARTS {
        return link.poll_send(cx, &[IoSlice::new(&frame.to_link())]);
    }
    parts[0] = IoSlice::new(frame.head());
    for (part, slice) in parts[1..].iter_mut().zip(body) {
        *part = IoSlice::new(slice);
    }
    link.poll_send(cx, &parts[..=body.len()])
}

fn is_down(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NetworkDown
}
