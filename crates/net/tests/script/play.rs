//! Playing a script on a machine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use wharf_net::wire::checksum::{self, Sum};
use wharf_net::wire::tcp::{Control, Flags, SeqNum};

use super::machine::{Machine, Read};
use super::packet::{Origin, PEER_ISN, Told, Words, stream};
use super::parse::{After, Family, Line, Packet, Script, What};
use crate::network::RIGHT_MAC;
use crate::play::craft::{self, End, Segment};

/// The peer's first port.
const PEER_PORT: u16 = 4000;
/// Where the ports of a flood begin.
const FLOOD_PORT: u16 = 30_000;

/// A script that is being played.
struct Player<'a> {
    machine: &'a mut dyn Machine,
    family: Family,
    here: End,
    peer: End,
    origins: HashMap<u16, Origin>,
    /// When the line before this happened.
    last: Duration,
    /// The frame that left last.
    left: Vec<u8>,
    written: usize,
    read: usize,
}

/// Plays a script; `port` is where the host listens or connects to. Says what was not as it had to be.
pub(crate) fn play(
    script: &Script,
    family: Family,
    port: u16,
    machine: &mut dyn Machine,
) -> Result<(), String> {
    let peer = match family {
        Family::V4 => "10.0.0.2",
        Family::V6 => "fd00::2",
    };
    let here = End {
        mac: machine.mac(),
        address: machine.address(family),
        port,
    };
    let peer = End {
        mac: RIGHT_MAC,
        address: peer.parse().expect("an address"),
        port: PEER_PORT,
    };
    let last = machine.now();
    let mut player = Player {
        machine,
        family,
        here,
        peer,
        origins: HashMap::new(),
        last,
        left: Vec::new(),
        written: 0,
        read: 0,
    };
    let place = |line: &Line| {
        format!(
            "{}:{} over {family:?}: `{}`",
            script.name, line.number, line.text
        )
    };
    for line in &script.lines {
        player
            .line(line)
            .map_err(|why| format!("{}: {why}", place(line)))?;
    }
    player
        .rest()
        .map_err(|why| format!("{} over {family:?}, at the end: {why}", script.name))
}

impl Player<'_> {
    fn line(&mut self, line: &Line) -> Result<(), String> {
        let (after, slack) = match line.after {
            After::Anytime => (Duration::ZERO, None),
            After::Time(after, slack) => (after, slack),
        };
        let at = self.last + after;
        match &line.what {
            What::Leaves(packet) => {
                let slack = slack.unwrap_or(self.machine.slack());
                let window = match line.after {
                    After::Anytime => (Duration::ZERO, self.last + self.machine.patience()),
                    After::Time(..) => (at.saturating_sub(slack), at + slack),
                };
                return self.leaves(packet, window);
            }
            What::Arrives(packet) => {
                self.quiet_until(at)?;
                self.last = at;
                self.arrives(packet);
            }
            What::Silence => {
                self.quiet_until(at)?;
                self.last = at;
            }
            What::Call(words) => {
                self.quiet_until(at)?;
                self.last = at;
                self.call(words)?;
            }
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), String> {
        let now = self.machine.now();
        self.quiet_until(now)
    }

    fn origin(&mut self, port: u16) -> &mut Origin {
        let zero = Origin {
            host: SeqNum::new(0),
            stamp: 0,
        };
        self.origins.entry(port).or_insert(zero)
    }

    /// The next frame that is sent, what answers a flood aside.
    fn sent(&mut self, until: Duration) -> Option<(Duration, Vec<u8>)> {
        loop {
            let (at, frame) = self.machine.sent(until)?;
            let flood = craft::read(&frame).is_some_and(|it| it.destination >= FLOOD_PORT);
            if !flood {
                return Some((at, frame));
            }
        }
    }

    /// Lets time pass in which nothing may be sent.
    fn quiet_until(&mut self, until: Duration) -> Result<(), String> {
        match self.sent(until) {
            None => Ok(()),
            Some((at, frame)) => Err(format!(
                "after {:?} was sent: {}",
                at.saturating_sub(self.last),
                self.tell(&frame)
            )),
        }
    }

    fn tell(&mut self, frame: &[u8]) -> String {
        match craft::read(frame) {
            Some(segment) => Told(&segment, self.origin(segment.destination)).to_string(),
            None => format!("{frame:02x?}"),
        }
    }

    fn arrives(&mut self, packet: &Packet) {
        let frame = match packet {
            Packet::Tcp(words) => self.segment(words),
            Packet::Udp(count) => self.datagram(*count),
            Packet::Unreachable(code) => self.complaint(Complaint::Unreachable(*code)),
            Packet::TooBig(mtu) => self.complaint(Complaint::TooBig(*mtu)),
            Packet::PortUnreachable => self.complaint(Complaint::Unreachable(match self.family {
                Family::V4 => 3,
                Family::V6 => 4,
            })),
        };
        self.machine.give(frame);
    }

    fn segment(&mut self, words: &Words) -> Vec<u8> {
        let peer = End {
            port: self.peer.port + words.peer,
            ..self.peer
        };
        let control = words.control(self.origin(peer.port));
        let mut frame = craft::segment(
            peer,
            self.here,
            &control,
            &words.octets(),
            words.ecn.unwrap_or(0),
        );
        if words.damaged {
            let last = frame.len() - 1;
            frame[last] ^= 1;
        }
        frame
    }

    /// So many SYNs, each from another port.
    fn flood(&mut self, count: usize) {
        let control = Control {
            seq: PEER_ISN,
            flags: Flags::SYN,
            window: 10_000,
            ..Control::default()
        };
        for port in (FLOOD_PORT..).take(count) {
            let peer = End { port, ..self.peer };
            let frame = craft::segment(peer, self.here, &control, &[], 0);
            self.machine.give(frame);
        }
    }

    fn datagram(&mut self, count: usize) -> Vec<u8> {
        let mut datagram = vec![0; 8 + count];
        datagram[0..2].copy_from_slice(&self.peer.port.to_be_bytes());
        datagram[2..4].copy_from_slice(&9_u16.to_be_bytes());
        datagram[4..6].copy_from_slice(&((8 + count) as u16).to_be_bytes());
        let mut sum = Sum::pseudo(self.peer.address, self.here.address, 17, datagram.len());
        sum.add(&datagram);
        datagram[6..8].copy_from_slice(&sum.checksum().to_be_bytes());
        self.left = craft::packet(self.peer, self.here, 17, &datagram, 0);
        self.left.clone()
    }

    /// An ICMP error about the frame that left last.
    fn complaint(&self, complaint: Complaint) -> Vec<u8> {
        let quote = &self.left[14..self.left.len().min(14 + 68)];
        let (head, protocol) = match (self.family, complaint) {
            (Family::V4, Complaint::Unreachable(code)) => ([3, code, 0, 0, 0, 0, 0, 0], 1),
            (Family::V4, Complaint::TooBig(mtu)) => {
                let [high, low] = mtu.to_be_bytes();
                ([3, 4, 0, 0, 0, 0, high, low], 1)
            }
            (Family::V6, Complaint::Unreachable(code)) => ([1, code, 0, 0, 0, 0, 0, 0], 58),
            (Family::V6, Complaint::TooBig(mtu)) => {
                let [high, low] = mtu.to_be_bytes();
                ([2, 0, 0, 0, 0, 0, high, low], 58)
            }
        };
        let mut message = [&head[..], quote].concat();
        let sum = match self.family {
            Family::V4 => checksum::checksum(&message),
            Family::V6 => {
                let mut sum = Sum::pseudo(self.peer.address, self.here.address, 58, message.len());
                sum.add(&message);
                sum.checksum()
            }
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        craft::packet(self.peer, self.here, protocol, &message, 0)
    }

    fn leaves(
        &mut self,
        packet: &Packet,
        (earliest, latest): (Duration, Duration),
    ) -> Result<(), String> {
        let Some((at, frame)) = self.sent(latest) else {
            return Err("nothing was sent".to_owned());
        };
        let after = at.saturating_sub(self.last);
        match packet {
            Packet::Tcp(words) => self.compare(words, &frame)?,
            Packet::PortUnreachable => {
                let kind = match self.family {
                    Family::V4 => frame.get(34..36) == Some(&[3, 3]) && frame.get(23) == Some(&1),
                    Family::V6 => frame.get(54..56) == Some(&[1, 4]) && frame.get(20) == Some(&58),
                };
                if !kind {
                    return Err(format!("was sent: {}", self.tell(&frame)));
                }
            }
            _ => return Err("that can only arrive".to_owned()),
        }
        if at < earliest || at > latest {
            return Err(format!("it was sent after {after:?}"));
        }
        self.left = frame;
        self.last = at;
        Ok(())
    }

    fn compare(&mut self, words: &Words, frame: &[u8]) -> Result<(), String> {
        let Some(segment) = craft::read(frame) else {
            return Err(format!("was sent: {}", self.tell(frame)));
        };
        let port = self.peer.port + words.peer;
        let place = (segment.source, segment.destination);
        if place != (self.here.port, port) {
            return Err(format!(
                "was sent from port {} to {}: {}",
                place.0,
                place.1,
                self.tell(frame)
            ));
        }
        let Segment { control, .. } = &segment;
        let origin = self.origin(port);
        let first = words.anew || origin.host == SeqNum::new(0);
        if control.flags.contains(Flags::SYN) && first {
            origin.host = control.seq;
        }
        let compared = words.differs(&segment, origin);
        if let Some(stamps) = control.options.timestamps {
            origin.stamp = stamps.value;
        }
        match compared {
            None => Ok(()),
            Some(what) => Err(format!("{what}: {}", Told(&segment, origin))),
        }
    }

    fn call(&mut self, words: &[String]) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let count = |word: &str| {
            word.parse::<usize>()
                .map_err(|_| format!("a number is wanted: {word}"))
        };
        let wanted = |holds: bool, else_: String| if holds { Ok(()) } else { Err(else_) };
        match words[..] {
            ["listen"] => self.machine.listen(self.family, self.here.port, 5),
            ["listen", backlog] => {
                self.machine
                    .listen(self.family, self.here.port, count(backlog)?)
            }
            ["flood", count_of] => self.flood(count(count_of)?),
            ["connect"] => {
                let to: IpAddr = self.peer.address;
                self.here.port = self.machine.connect(to, self.peer.port);
            }
            ["accept"] => {
                (self.written, self.read) = (0, 0);
                return wanted(
                    self.machine.accept(),
                    "there is nothing to accept".to_owned(),
                );
            }
            ["accept", "nothing"] => return wanted(!self.machine.accept(), "there is".to_owned()),
            ["connected"] => return wanted(self.machine.is_connected(), "it is not".to_owned()),
            ["write", octets] => {
                let octets = stream(1 + self.written, count(octets)?);
                let taken = self.machine.write(&octets);
                self.written += taken;
                return wanted(taken == octets.len(), format!("{taken} octets were taken"));
            }
            ["read", what] => return self.read(what),
            ["error", what] => {
                let error = self.machine.error();
                return wanted(error == what, format!("it is {error}"));
            }
            ["shutdown"] => self.machine.shutdown(),
            ["close"] => self.machine.close(),
            ["abort"] => self.machine.abort(),
            ["set", ..] => {
                let words: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
                return wanted(
                    self.machine.set(&words),
                    "there is no such setting".to_owned(),
                );
            }
            _ => return Err("there is no such call".to_owned()),
        }
        Ok(())
    }

    fn read(&mut self, what: &str) -> Result<(), String> {
        let wanted = match what {
            "nothing" => Read::Nothing,
            "end" => Read::End,
            count => {
                let count = count
                    .parse()
                    .map_err(|_| format!("a number is wanted: {count}"))?;
                let octets = stream(1 + self.read, count);
                self.read += count;
                Read::Octets(octets)
            }
        };
        let most = match &wanted {
            Read::Octets(octets) => octets.len(),
            _ => 1,
        };
        let got = self.machine.read(most);
        match (&got, got == wanted) {
            (_, true) => Ok(()),
            (Read::Octets(octets), _) => {
                Err(format!("{} octets, or others, were read", octets.len()))
            }
            _ => Err(format!("{got:?}")),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Complaint {
    Unreachable(u8),
    TooBig(u16),
}
