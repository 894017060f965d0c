//! Segments that ask: is the tail lost, is the window still closed, does the peer live, how much does the path take?

use super::active::{Active, Probe};
use super::connection::Outgoing;
use super::output::{Shape, Stretch};
use super::sender::{Fin, TailProbe};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Active {
    /// What a timer asked for.
    pub(super) fn transmit_probe(&mut self, now: Instant, shape: &Shape) -> Option<Outgoing> {
        match self.probe.take()? {
            Probe::Tail => self.probe_tail(now, shape),
            Probe::Window => self.probe_window(now, shape),
            // RFC 9293 §3.8.4: a sequence number that the peer has to answer.
            Probe::KeepAlive => {
                let control = self.control(self.sender.nxt.back(1), Flags::NONE, shape.options);
                Some(Outgoing::bare(control))
            }
        }
    }

    /// RFC 8985 §7.3: new data if there is any and the peer's window allows it, else the last segment again.
    fn probe_tail(&mut self, now: Instant, shape: &Shape) -> Option<Outgoing> {
        let room = self.sender.window_end().since(self.sender.nxt);
        let text = self.sender.unsent().min(shape.mss);
        let end = self.sender.nxt;
        if text > 0 && room >= text {
            self.sender.tail_probe = Some(TailProbe {
                end: end + text,
                repeated: false,
            });
            return Some(self.send_new(
                now,
                Stretch {
                    start: end,
                    text,
                    fin: false,
                },
                shape,
            ));
        }
        let (start, stop) = self.sender.board.tail()?;
        self.sender.tail_probe = Some(TailProbe {
            end,
            repeated: true,
        });
        Some(self.send_again(now, start, stop, shape))
    }

    /// RFC 9293 §3.8.6.1: whatever fits into the window; if nothing does, one octet beyond it, which stays unsent until the peer
    /// acknowledges it.
    fn probe_window(&mut self, now: Instant, shape: &Shape) -> Option<Outgoing> {
        let start = self.sender.nxt;
        let text = self.sender.unsent();
        let room = self.sender.window_end().since(start);
        if self.sender.board.outstanding() > 0 || !self.sender.has_unsent() {
            return None;
        }
        if room > 0 {
            let text = text.min(room).min(shape.mss);
            let fin = self.sender.fin == Fin::Queued && self.sender.unsent() == text && text < room;
            return Some(self.send_new(now, Stretch { start, text, fin }, shape));
        }
        let (outgoing, end) = self.segment(
            Stretch {
                start,
                text: text.min(1),
                fin: text == 0,
            },
            Flags::NONE,
            shape,
        );
        self.sender.max = self.sender.max.max(end);
        Some(outgoing)
    }

    /// One segment longer than the others (RFC 4821 §7).
    pub(super) fn probe_path(&mut self, now: Instant, size: u16, shape: &Shape) -> Outgoing {
        let text = usize::from(size) - shape.options.len();
        let start = self.sender.nxt;
        let shape = Shape {
            mss: text,
            most: text,
            ..*shape
        };
        let stretch = Stretch {
            start,
            text,
            fin: false,
        };
        let outgoing = self.send_new(now, stretch, &shape);
        self.sender.path.probing(start, self.sender.nxt, size);
        outgoing
    }
}
