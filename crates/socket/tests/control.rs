//! The example host, commanded over its socket by somebody who doesn't wait for answers.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod example;

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use example::Host;
use serde_json::{Value, json};

/// Asks, and waits for the answer.
fn ask(stream: &mut UnixStream, request: &Value) -> Value {
    writeln!(stream, "{request}").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn listen(port: u64) -> Value {
    json!({"op": "listen", "ip": "10.0.0.2", "port": port, "backlog": 1})
}

#[test]
fn commands_in_one_piece_are_answered_in_turn() {
    let host = Host::start();
    let mut stream = UnixStream::connect(&host.control).unwrap();
    let all: String = (1000..1100)
        .map(|port| format!("{}\n", listen(port)))
        .collect();
    stream.write_all(all.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answers = BufReader::new(stream).lines().map(|line| {
        let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(answer["ok"], true);
        answer["port"].as_u64().unwrap()
    });
    assert!(answers.eq(1000..1100));
}

#[test]
fn commands_of_somebody_who_has_left_are_carried_out() {
    let host = Host::start();
    let mut hasty = UnixStream::connect(&host.control).unwrap();
    let all: String = (1000..1100)
        .map(|port| format!("{}\n", listen(port)))
        .collect();
    hasty.write_all(all.as_bytes()).unwrap();
    drop(hasty);
    let mut patient = UnixStream::connect(&host.control).unwrap();
    // Handles are numbered from 1 on: once there is the hundredth, all has been done.
    let last = json!({"op": "accept", "h": 100, "timeout": 0});
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(&mut patient, &last)["err"] != "ETIMEDOUT" {
        assert!(Instant::now() < deadline, "not all was done");
    }
    for port in 1000..1100 {
        assert_eq!(ask(&mut patient, &listen(port))["err"], "EADDRINUSE");
    }
}
