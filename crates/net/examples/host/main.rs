//! An ordinary host at the end of a Unix socket, for whoever plays the rest of its network.
//!
//! The link is a stream socket on which each Ethernet frame follows its length, four octets with the most significant
//! first: what QEMU's `-netdev stream` speaks. The host offers echo on port 7 (TCP and UDP), discard on 9 and chargen on 19, and
//! does what it is told over a second socket, one JSON object a line ([`control`]).
//!
//! ```text
//! cargo run --example host -- --link L.sock --control C.sock --address 10.0.0.2/24 --gateway 10.0.0.1
//! ```

mod control;
mod services;

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant as Clock};
use std::{env, fs, process, thread};

use bytes::Bytes;
use wharf_net::wire::ethernet::Mac;
use wharf_net::{Capabilities, Config, Frame, Host, Instant, Offload, Route};

use control::Control;
use services::Services;

/// Frames that wait to be looked at.
const RING: usize = 1024;

/// What arrives from outside.
enum Input {
    Link(UnixStream),
    Frame(Bytes),
    Control(UnixStream),
    Line(String),
}

struct Arguments {
    link: String,
    control: Option<String>,
    config: Config,
}

fn main() {
    if let Err(error) = run() {
        eprintln!("host: {error}");
        process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments = parse(env::args().skip(1))?;
    let (sender, inputs) = mpsc::sync_channel(RING);
    listen(&arguments.link, sender.clone(), link)?;
    if let Some(path) = &arguments.control {
        listen(path, sender, lines)?;
    }
    let mut host = Host::new(arguments.config);
    let services = Services::open(&mut host)?;
    serve(host, services, &inputs)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let mut config = Config::new(Mac([2, 0x77, 0, 0, 0, 2]), seed);
    config.capabilities = Capabilities::NONE;
    let (mut link, mut control) = (None, None);
    while let Some(word) = words.next() {
        if word == "--no-icmp-limit" {
            config.limit_icmp = false;
            continue;
        }
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        let path = || value.strip_prefix("unix:").unwrap_or(&value).to_owned();
        match word.as_str() {
            "--link" => link = Some(path()),
            "--control" => control = Some(path()),
            "--address" => config.addresses.push(value.parse()?),
            "--gateway" => {
                let network = if value.contains(':') {
                    "::/0"
                } else {
                    "0.0.0.0/0"
                };
                let route = Route {
                    network: network.parse()?,
                    gateway: value.parse()?,
                };
                config.routes.push(route);
            }
            _ => return Err(format!("unknown argument {word}").into()),
        }
    }
    let link = link.ok_or("--link is missing")?;
    Ok(Arguments {
        link,
        control,
        config,
    })
}

/// Takes one peer after the other at a socket.
fn listen(
    path: &str,
    inputs: SyncSender<Input>,
    each: impl Fn(UnixStream, &SyncSender<Input>) + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            each(stream, &inputs);
        }
    });
    Ok(())
}

fn link(mut stream: UnixStream, inputs: &SyncSender<Input>) {
    let Ok(writer) = stream.try_clone() else {
        return;
    };
    let _ = inputs.send(Input::Link(writer));
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        // Like a network card's, the ring drops what it has no room for.
        let _ = inputs.try_send(Input::Frame(frame.into()));
    }
}

fn lines(stream: UnixStream, inputs: &SyncSender<Input>) {
    let Ok(writer) = stream.try_clone() else {
        return;
    };
    let _ = inputs.send(Input::Control(writer));
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let _ = inputs.send(Input::Line(line));
    }
}

fn serve(
    mut host: Host,
    mut services: Services,
    inputs: &Receiver<Input>,
) -> Result<(), Box<dyn Error>> {
    let start = Clock::now();
    let mut control = Control::default();
    let mut peer: Option<UnixStream> = None;
    loop {
        let now = Instant::from_nanos(start.elapsed().as_nanos() as u64 + 1_000_000_000);
        if host.deadline().is_some_and(|at| at <= now) {
            host.expire(now);
        }
        while let Some(event) = host.event() {
            services.react(&mut host, now, &event);
        }
        control.go_on(&mut host, now);
        while let Some(frame) = host.transmit(now) {
            let ethernet = frame.to_ethernet();
            let length = (ethernet.len() as u32).to_be_bytes();
            if let Some(stream) = &mut peer {
                let _ = stream.write_all(&[&length[..], &ethernet].concat());
            }
        }
        let wake = [host.deadline(), control.deadline()]
            .into_iter()
            .flatten()
            .min();
        let patience = wake.map_or(Duration::from_secs(60), |at| at - now);
        let mut input = match inputs.recv_timeout(patience) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let now = Instant::from_nanos(start.elapsed().as_nanos() as u64 + 1_000_000_000);
        // As a relay does: a batch of frames, then what they ask for.
        for _ in 0..8 {
            match input {
                Some(Input::Link(stream)) => peer = Some(stream),
                Some(Input::Control(stream)) => control.attach(stream),
                Some(Input::Frame(frame)) => {
                    host.receive(now, Frame::from_ethernet(frame, Offload::default()));
                }
                Some(Input::Line(line)) => control.take(&mut host, now, &line),
                None => break,
            }
            input = inputs.try_recv().ok();
        }
        // What the ninth was, if any: nothing is lost.
        if let Some(Input::Frame(frame)) = input {
            host.receive(now, Frame::from_ethernet(frame, Offload::default()));
        } else if let Some(Input::Line(line)) = input {
            control.take(&mut host, now, &line);
        }
    }
}
