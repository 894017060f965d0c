//! What a line says of a packet, and whether a packet is like that.

use std::fmt;

use wharf_net::wire::tcp::{Control, Flags, Options, SackBlock, SeqNum, Timestamps};

use crate::play::craft::Segment;

/// The peer's initial sequence number: near the end, so that numbers wrap within every longer script.
pub(crate) const PEER_ISN: SeqNum = SeqNum::new(0xffff_f000);

/// A segment in a script's words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) flags: Flags,
    /// ACK may be among the flags.
    pub(crate) acknowledges_perhaps: bool,
    pub(crate) start: u32,
    pub(crate) text: usize,
    pub(crate) ack: Option<u32>,
    pub(crate) window: Option<u16>,
    pub(crate) urgent: Option<u16>,
    pub(crate) mss: Option<u16>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) sack: Vec<(u32, u32)>,
    pub(crate) stamps: Option<(Option<u32>, Option<u32>)>,
    pub(crate) ecn: Option<u8>,
    pub(crate) without: Vec<String>,
    pub(crate) damaged: bool,
    /// A new connection in the place of one before: numbers are counted from here on.
    pub(crate) anew: bool,
    /// Which of the peer's ports.
    pub(crate) peer: u16,
}

/// What both sides' numbers are counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The host's initial sequence number, once it is known.
    pub(crate) host: SeqNum,
    /// The host's last timestamp.
    pub(crate) stamp: u32,
}

/// Octet `at` of either stream, 1 being the first.
pub(crate) fn octet(at: usize) -> u8 {
    (at * 7 + (at >> 8)) as u8
}

/// Octets of either stream.
pub(crate) fn stream(start: usize, count: usize) -> Vec<u8> {
    (start..start + count).map(octet).collect()
}

impl Words {
    /// The segment that arrives.
    pub(crate) fn control(&self, origin: &Origin) -> Control {
        let mut options = Options {
            mss: self.mss,
            window_scale: self.scale,
            sack_permitted: self.sack_permitted,
            timestamps: self.stamps.map(|(value, echo)| Timestamps {
                value: value.unwrap_or(0),
                echo: echo.unwrap_or(origin.stamp),
            }),
            ..Options::default()
        };
        for (start, end) in &self.sack {
            let [start, end] = [start, end].map(|at| origin.host + *at as usize);
            options.sack.push(SackBlock { start, end });
        }
        Control {
            seq: PEER_ISN + self.start as usize,
            ack: self
                .ack
                .map_or(SeqNum::new(0), |ack| origin.host + ack as usize),
            flags: self.flags,
            window: self.window.unwrap_or(65_535),
            urgent: self.urgent.unwrap_or(0),
            options,
        }
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        stream(self.start.max(1) as usize, self.text)
    }

    /// What of these words is not true of a segment that left.
    pub(crate) fn differs(&self, seen: &Segment, origin: &Origin) -> Option<&'static str> {
        let control = &seen.control;
        let start = control.seq.value().wrapping_sub(origin.host.value());
        let ack = control.ack.value().wrapping_sub(PEER_ISN.value());
        let open = match self.acknowledges_perhaps {
            true => Flags::PSH | Flags::ACK,
            false => Flags::PSH,
        };
        let flags = control.flags.without(open) == self.flags.without(open);
        let pushed = !self.flags.contains(Flags::PSH) || control.flags.contains(Flags::PSH);
        let text = stream(start.max(1) as usize, self.text);
        let holds = [
            (flags, "flags"),
            (pushed, "PSH"),
            (start == self.start, "sequence number"),
            (seen.text == text, "text"),
            (is(self.ack, ack), "acknowledgment"),
            (is(self.window, control.window), "window"),
            (is(self.urgent, control.urgent), "urgent pointer"),
            (is(self.ecn, seen.ecn), "congestion bits"),
        ];
        let differs = holds.into_iter().find(|(holds, _)| !holds);
        let differs = differs.map(|(_, what)| what);
        differs.or_else(|| self.options_differ(&control.options))
    }

    fn options_differ(&self, options: &Options) -> Option<&'static str> {
        let relative = |at: SeqNum| at.value().wrapping_sub(PEER_ISN.value());
        let blocks = options.sack.as_slice().iter();
        let blocks = blocks.map(|block| (relative(block.start), relative(block.end)));
        let sack = self.sack.is_empty() || blocks.eq(self.sack.iter().copied());
        let stamps = self.stamps.is_none_or(|(value, echo)| {
            let stamps = options.timestamps;
            stamps.is_some_and(|stamps| is(value, stamps.value) && is(echo, stamps.echo))
        });
        let has = |name: &String| match name.as_str() {
            "mss" => options.mss.is_some(),
            "scale" => options.window_scale.is_some(),
            "sackok" => options.sack_permitted,
            "ts" => options.timestamps.is_some(),
            _ => !options.sack.is_empty(),
        };
        let holds = [
            (self.mss.is_none() || self.mss == options.mss, "mss"),
            (
                self.scale.is_none() || self.scale == options.window_scale,
                "scale",
            ),
            (!self.sack_permitted || options.sack_permitted, "sackok"),
            (sack, "sack"),
            (stamps, "ts"),
            (
                !self.without.iter().any(has),
                "an option that must be absent",
            ),
        ];
        let differs = holds.into_iter().find(|(holds, _)| !holds);
        differs.map(|(_, what)| what)
    }
}

/// Whether something is what is wanted, if anything is.
fn is<T: PartialEq>(wanted: Option<T>, seen: T) -> bool {
    wanted.is_none_or(|wanted| wanted == seen)
}

/// A segment that left, in a script's words.
pub(crate) struct Told<'a>(pub(crate) &'a Segment, pub(crate) &'a Origin);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(
            Segment {
                control, text, ecn, ..
            },
            origin,
        ) = self;
        let start = control.seq.value().wrapping_sub(origin.host.value());
        let ack = control.ack.value().wrapping_sub(PEER_ISN.value());
        write!(
            f,
            "{:?} {start}:{} ack {ack} win {}",
            control.flags,
            start + text.len() as u32,
            control.window
        )?;
        write!(f, " ecn {ecn} {:?}", control.options)
    }
}
