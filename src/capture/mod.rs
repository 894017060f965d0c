//! `wharf capture`: the frames of a space, into a pcapng file, or line by line, for people or as JSON.
//!
//! - [`filter`]: which frames are wanted;
//! - [`headers`]: what a frame's headers say;
//! - [`object`]: the same as JSON.
//!
//! The daemon writes pcapng into a socket, and this passes it on or reads it. Whoever reads slowly misses frames, which are
//! counted; the space waits for nobody.

pub(crate) mod filter;
pub(crate) mod headers;
mod object;

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use jiff::tz::TimeZone;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use wharf_link::pcap::{Direction, Packet, Reader};

use crate::cli;
use crate::client::{self, Absence, Answer};
use crate::columns::visible;
use crate::failure::Failure;
use crate::protocol::{Ask, Capture, Reply};
use crate::run;
use filter::Filter;
use headers::Headers;

/// Captures until it is interrupted, or has as many frames as were wanted, or the space ends.
pub(crate) fn capture(typed: &cli::Capture) -> Result<ExitCode> {
    let mut output = typed.write.as_deref().map(open).transpose()?;
    let asked = Ask::Capture(Capture {
        target: run::target(Some(typed.space.clone()))?,
        filter: wanted(&typed.filter)?,
        count: typed.count,
    });
    let Answer {
        reply: Reply::Capturing(space),
        mut descriptors,
        mut channel,
    } = client::ask(&asked, Absence::Report)?
    else {
        bail!("the daemon answered something else")
    };
    let stream = descriptors.pop().context("the daemon sent no stream")?;
    let stream = UnixStream::from(stream);
    end_when_interrupted(&stream)?;
    eprintln!("wharf: capturing in {}; Ctrl-C ends it", space.name);
    match &mut output {
        Some(output) => pass_on(&stream, output)?,
        None if typed.json => tell(&stream, |packet| object::of_frame(packet).to_string())?,
        None => {
            let zone = TimeZone::system();
            tell(&stream, |packet| line(packet, &zone))?;
        }
    }
    if let Some((Reply::Captured { captured, missed }, _)) = channel.receive()? {
        if typed.json {
            say(&object::of_end(captured, missed).to_string())?;
        }
        eprintln!("wharf: {captured} frames captured, {missed} dropped");
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(words: &[String]) -> Result<Option<Filter>> {
    if words.is_empty() {
        return Ok(None);
    }
    let filter = words
        .join(" ")
        .parse()
        .map_err(|why| Failure::usage(format!("the filter is not understood: {why}")));
    Ok(Some(filter?))
}

fn open(path: &str) -> Result<Box<dyn Write>> {
    if path == "-" {
        return Ok(Box::new(io::stdout().lock()));
    }
    // Unbuffered: it can be read while it grows.
    let file = File::create(path).with_context(|| format!("cannot write {path}"))?;
    Ok(Box::new(file))
}

/// The first signal ends the capture, and what was captured is still written; the second ends this process.
fn end_when_interrupted(stream: &UnixStream) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
    let stream = stream.try_clone()?;
    std::thread::spawn(move || {
        let mut coming = signals.forever();
        coming.next();
        stream.shutdown(Shutdown::Write).ok();
        if let Some(signal) = coming.next() {
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn pass_on(mut stream: &UnixStream, output: &mut dyn Write) -> Result<()> {
    io::copy(&mut stream, output).context("cannot write what was captured")?;
    output.flush().context("cannot write what was captured")
}

/// A line for each frame.
fn tell(stream: &UnixStream, line: impl Fn(&Packet) -> String) -> Result<()> {
    let mut reader = Reader::open(BufReader::new(stream)).context("the daemon sent no capture")?;
    while let Some(packet) = reader.read().context("cannot read what was captured")? {
        say(&line(&packet))?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write")
}

fn line(packet: &Packet, zone: &TimeZone) -> String {
    let time = object::moment(packet.time).to_zoned(zone.clone());
    let direction = match packet.direction {
        Some(Direction::Inbound) => "in ",
        _ => "out",
    };
    let comment = packet.comment.as_deref();
    let comment = comment.map_or_else(String::new, |comment| format!("  {}", visible(comment)));
    let headers = Headers::of(&packet.frame);
    format!(
        "{}  {direction}  {headers}{comment}",
        time.strftime("%H:%M:%S%.6f")
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_frame_is_told_on_one_line() {
        let packet = Packet {
            time: Duration::new(1_800_000_000, 123_456_789),
            direction: Some(Direction::Outbound),
            frame: headers::testing::syn(),
            comment: Some("curl\n (pid 7) in shop → 10.77.3.4:80".into()),
        };
        assert_eq!(
            line(&packet, &TimeZone::UTC),
            "08:00:00.123456  out  10.77.1.2:40000 > 10.77.3.4:80  tcp SYN  0 bytes  curl\\n (pid 7) in shop → 10.77.3.4:80"
        );
    }
}
