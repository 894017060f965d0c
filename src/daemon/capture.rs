//! A capture: the frames of a space, as a pcapng stream to the command that asked for it.
//!
//! Each flow's first frame says in a comment which programs are at its ends. That is looked up when the frame comes by, so
//! the program of a flow that is over within a millisecond or two may be missed.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use wharf_link::pcap::{Direction, Packet, Writer};

use super::space::Space;
use super::spaces::Spaces;
use crate::capture::headers::{Content, Headers};
use crate::channel::AsyncChannel;
use crate::list::Protocol;
use crate::protocol::{Capture, Reply};
use crate::relay::ears::{Heard, Listening};
use crate::space::network::{GATEWAY_IPV4, GATEWAY_IPV6};

/// Flows that are remembered as told; when there are more, they are told again.
const FLOWS_MAX: usize = 4096;

/// Captures until the command hangs up, or has as many frames as it wanted, or the space ends.
pub(super) async fn serve(
    asked: Capture,
    channel: &AsyncChannel,
    spaces: &Rc<Spaces>,
) -> Result<()> {
    let meant = spaces.meant(&asked.target).await;
    let space = meant.first().ok_or_else(|| asked.target.not_running())?;
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let heard = space.ears.listen(asked.filter);
    channel
        .send(&Reply::Capturing(spaces.info(space)), &[far.as_fd()])
        .await?;
    drop(far);
    let mut capture = Running {
        spaces,
        space,
        writer: Writer::begin(Vec::new())?,
        heard,
        told: HashSet::new(),
        captured: 0,
        wanted: asked.count.unwrap_or(u64::MAX),
    };
    // Whatever ends it, the command is told how much there was.
    let outcome = capture.run(UnixStream::from_std(near)?).await;
    let reply = Reply::Captured {
        captured: capture.captured,
        missed: capture.heard.missed(),
    };
    channel.send(&reply, &[]).await.ok();
    outcome
}

struct Running<'a> {
    spaces: &'a Spaces,
    space: &'a Rc<Space>,
    writer: Writer<Vec<u8>>,
    heard: Listening,
    /// The flows whose programs were told.
    told: HashSet<(Protocol, SocketAddr, SocketAddr)>,
    captured: u64,
    wanted: u64,
}

impl Running<'_> {
    async fn run(&mut self, mut stream: UnixStream) -> Result<()> {
        self.write_names()?;
        let mut nothing = [0];
        while self.captured < self.wanted {
            // At once, so that whoever reads sees what has passed.
            stream.write_all(self.writer.output()).await?;
            self.writer.output().clear();
            tokio::select! {
                biased;
                heard = self.heard.next() => match heard {
                    Some(heard) => self.keep(&heard)?,
                    None => break,
                },
                _ = stream.read(&mut nothing) => break,
                () = self.spaces.gone(self.space) => break,
            }
        }
        self.heard.close();
        while self.captured < self.wanted
            && let Some(heard) = self.heard.next().await
        {
            self.keep(&heard)?;
        }
        let missed = self.heard.missed();
        self.writer.statistics(
            since_1970(SystemTime::now()),
            self.captured + missed,
            missed,
        )?;
        stream.write_all(self.writer.output()).await?;
        Ok(stream.shutdown().await?)
    }

    /// What the spaces' addresses are called, for whoever shows the file.
    fn write_names(&mut self) -> Result<()> {
        let spaces = self.spaces.all();
        let mut names: Vec<(IpAddr, String)> = Vec::new();
        for space in &spaces {
            let (name, number) = (format!("{}.internal", space.entry.name), space.entry.number);
            names.push((number.ipv4().into(), name.clone()));
            names.push((number.ipv6().into(), name));
        }
        names.push((GATEWAY_IPV4.into(), "host.internal".into()));
        names.push((GATEWAY_IPV6.into(), "host.internal".into()));
        let names = names.iter().map(|(address, name)| (*address, &**name));
        Ok(self.writer.names(names)?)
    }

    fn keep(&mut self, heard: &Heard) -> Result<()> {
        self.captured += 1;
        let packet = Packet {
            time: since_1970(heard.time),
            direction: Some(heard.direction),
            frame: heard.frame.to_vec(),
            comment: self.comment(heard),
        };
        Ok(self.writer.packet(&packet)?)
    }

    /// Who is at the ends of a flow that is new here.
    fn comment(&mut self, heard: &Heard) -> Option<String> {
        let protocol = match heard.headers {
            Headers::Ip {
                content: Content::Tcp { .. },
                ..
            } => Protocol::Tcp,
            Headers::Ip {
                content: Content::Udp { .. },
                ..
            } => Protocol::Udp,
            _ => return None,
        };
        let [from, to] = heard.headers.endpoints()?;
        let (inside, other) = match heard.direction {
            Direction::Outbound => (from, to),
            Direction::Inbound => (to, from),
        };
        if self.told.len() >= FLOWS_MAX {
            self.told.clear();
        }
        if !self.told.insert((protocol, inside, other)) {
            return None;
        }
        let own = name(self.space, protocol, inside, other);
        let others = match self.spaces.at(other.ip()) {
            Some(space) => name(&space, protocol, other, inside),
            None if [GATEWAY_IPV4.into(), GATEWAY_IPV6.into()].contains(&other.ip()) => {
                format!("host.internal:{}", other.port())
            }
            None => other.to_string(),
        };
        Some(match heard.direction {
            Direction::Outbound => format!("{own} → {others}"),
            Direction::Inbound => format!("{others} → {own}"),
        })
    }
}

/// The program at a flow's end in a space, as a person calls it.
fn name(space: &Space, protocol: Protocol, inside: SocketAddr, other: SocketAddr) -> String {
    let party = space.who(protocol, inside, other);
    match party.and_then(|party| party.process) {
        Some(process) => format!(
            "{} (pid {}) in {}",
            process.program, process.pid, space.entry.name
        ),
        None => format!("port {} in {}", inside.port(), space.entry.name),
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
