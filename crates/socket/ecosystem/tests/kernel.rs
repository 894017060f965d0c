//! axum on a stack, with the kernel's own network at the other end of a TAP: curl and wrk are its clients.
//!
//! It runs in a user and network namespace of its own; where that, a TAP or one of the programs can't be had, that is
//! said and nothing is claimed.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::process::{Command, Output};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use wharf_ecosystem::web::Listener;
use wharf_link::Tap;
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Config, Descriptor, Stack, TcpListener};

/// Set in the process that runs inside.
const INSIDE: &str = "WHARF_ECOSYSTEM_TEST_INSIDE";
const NAMESPACE: [&str; 3] = ["--map-root-user", "--net", "--"];

#[test]
fn curl_and_wrk_are_served() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    for probe in [
        &[
            "unshare",
            "--map-root-user",
            "--net",
            "--",
            "ip",
            "tuntap",
            "add",
            "t",
            "mode",
            "tap",
        ][..],
        &["curl", "--version"],
        &["wrk", "--version"],
    ] {
        // wrk's own version is its failure: whether it can be run at all is the question.
        let ran = Command::new(probe[0]).args(&probe[1..]).output();
        if !ran.is_ok_and(|output| output.status.success() || probe[0] == "wrk") {
            eprintln!("skipped: `{}` doesn't work here", probe.join(" "));
            return;
        }
    }
    let output = Command::new("unshare")
        .args(NAMESPACE)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "curl_and_wrk_are_served", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && said.contains("1 passed"),
        "inside the namespace:\n{said}\n{complained}"
    );
    print!("{said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program and expects it to succeed.
async fn run(program: &'static str, arguments: &str) -> String {
    let words: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
    let run = move || Command::new(program).args(words).output();
    let Output {
        status,
        stdout,
        stderr,
    } = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(status.success(), "{program} {arguments}: {}", text(&stderr));
    text(&stdout)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn inside() {
    let tap = Descriptor::new(Tap::open("wharf0", 1500).unwrap()).unwrap();
    for line in [
        "address add 10.0.0.1/24 dev wharf0",
        "-6 address add fd00::1/64 dev wharf0 nodad",
        "link set wharf0 up",
    ] {
        run("ip", line).await;
    }
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, 2]), Stack::seed());
    config.addresses = vec![
        "10.0.0.2/24".parse().unwrap(),
        "fd00::2/64".parse().unwrap(),
    ];
    let stack = Stack::start(tap, config);
    let page = "0123456789abcdef".repeat(65_536);
    let pages = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/page", get(move || std::future::ready(page.clone())))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .layer(DefaultBodyLimit::disable());
    let listener = TcpListener::bind(&stack, "[::]:80").await.unwrap();
    tokio::spawn(async { axum::serve(Listener(listener), pages).await.unwrap() });

    for host in ["10.0.0.2", "[fd00::2]"] {
        let curl = async |arguments: &str| run("curl", arguments).await;
        let hello = format!("-sS --fail --max-time 20 http://{host}/");
        assert_eq!(curl(&hello).await, "hello");
        let page = curl(&format!("{hello}page")).await;
        assert!(
            page == "0123456789abcdef".repeat(65_536),
            "{} bytes",
            page.len()
        );
        let program = std::env::current_exe().unwrap();
        let upload = format!("{hello}length --data-binary @{}", program.display());
        let length = std::fs::metadata(&program).unwrap().len();
        assert_eq!(curl(&upload).await, length.to_string());
    }
    let wrk = format!("-t1 -c50 -d{}s --latency http://10.0.0.2/", TIME.as_secs());
    let report = run("wrk", &wrk).await;
    println!("{report}");
    assert!(report.contains("Requests/sec"), "{report}");
    for trouble in ["Socket errors", "Non-2xx"] {
        assert!(!report.contains(trouble), "{report}");
    }
}

/// How long wrk asks.
const TIME: Duration = Duration::from_secs(2);
