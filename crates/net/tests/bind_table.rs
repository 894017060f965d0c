//! What a Linux kernel answered to 1,359 sequences of socket calls, asked of a whole host: the example `bind_table` as a test.
#![allow(clippy::unwrap_used, reason = "what does not unwrap fails the test")]

#[path = "../examples/bind_table/replay/mod.rs"]
mod replay;

use std::collections::BTreeMap;

use replay::file::Recording;

/// Cases of class `observed` that the host answers differently; the example says why.
const DIFFERENT: [&str; 1] = ["ephemeral4-0067"];

const RECORDED: &str = include_str!("../../port/tests/data/bind-table.json");

/// The cases that fail, by class, with what differs; and how many there are in all.
fn replayed(text: &str) -> (BTreeMap<String, Vec<(String, String)>>, usize) {
    let recording = Recording::parse(text).unwrap();
    let mut failed: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for case in &recording.cases {
        if let Err(difference) = replay::replay(&recording.conditions, case) {
            let class = failed.entry(case.class.clone()).or_default();
            class.push((case.id.clone(), difference));
        }
    }
    (failed, recording.cases.len())
}

#[test]
fn no_case_of_the_rule_fails_and_what_else_differs_is_known() {
    let (failed, count) = replayed(RECORDED);
    assert_eq!(count, 1359);
    assert_eq!(failed.get("rule"), None);
    let observed: Vec<_> = failed["observed"].iter().map(|(id, _)| id).collect();
    assert_eq!(observed, DIFFERENT);
}

/// A file with one case of these steps.
fn one(steps: &str) -> String {
    format!(r#"{{"cases": [{{"id": "one", "class": "rule", "steps": [{steps}]}}]}}"#)
}

fn difference(steps: &str) -> Option<String> {
    let (mut failed, _) = replayed(&one(steps));
    failed.remove("rule").map(|mut cases| cases.remove(0).1)
}

const SOCKET: &str = r#"{"op": "socket", "s": "a", "proto": "tcp", "af": 4, "r": "ok"}"#;

#[test]
fn a_wrong_answer_is_noticed() {
    let bind = r#"{"op": "bind", "s": "a", "addr": "127.0.0.1", "port": "P", "r": "EADDRINUSE"}"#;
    let said = difference(&format!("{SOCKET}, {bind}")).unwrap();
    assert!(
        said.starts_with("step 2, ") && said.ends_with("the host says ok"),
        "{said}"
    );
    assert_eq!(difference(SOCKET), None);
}

#[test]
fn what_cannot_be_replayed_has_failed() {
    for (steps, why) in [
        (
            r#"{"op": "sendfile", "s": "a", "r": "ok"}"#,
            "unknown variant `sendfile`",
        ),
        (
            r#"{"op": "socket", "s": "a", "proto": "tcp", "af": 4, "freebind": 1, "r": "ok"}"#,
            "unknown field `freebind`",
        ),
        (
            r#"{"op": "listen", "s": "a", "backlog": 1, "when": 2, "r": "ok"}"#,
            "unknown field `when`",
        ),
        (r#"{"op": "close", "s": "a"}"#, "a step has an answer"),
        ("7", "a step is an object"),
        (
            r#"{"op": "socket", "s": "a", "proto": "tcp", "af": 17, "r": "ok"}"#,
            "af 17 is neither 4 nor 6",
        ),
    ] {
        let said = difference(steps).unwrap();
        assert!(
            said.starts_with("can't be replayed: ") && said.contains(why),
            "{said}"
        );
    }
    let setting = r#"{"cases": [{"id": "x", "class": "rule", "tcp_tw_reuse": 1, "steps": []}]}"#;
    let (failed, _) = replayed(setting);
    assert!(
        failed["rule"][0]
            .1
            .contains("the setting tcp_tw_reuse: 1 is unknown")
    );
    assert!(Recording::parse("{\"cases\": 3}").is_err());
}

#[test]
fn calls_on_what_is_not_there_or_not_fit_have_c_s_errors() {
    let udp = r#"{"op": "socket", "s": "u", "proto": "udp", "af": 6, "v6only": 1, "r": "ok"}"#;
    for step in [
        r#"{"op": "listen", "s": "u", "backlog": 1, "r": "EOPNOTSUPP"}"#,
        r#"{"op": "bind", "s": "u", "addr": "::ffff:127.0.0.1", "port": "P", "r": "EINVAL"}"#,
        r#"{"op": "bind", "s": "u", "addr": "fe80::1", "port": "P", "r": "EINVAL"}"#,
        r#"{"op": "bind", "s": "u", "addr": "ff0e::1", "port": "P", "r": "ok"}"#,
        r#"{"op": "bind", "s": "u", "addr": "::1", "port": "P", "sa_len": 23, "r": "EINVAL"}"#,
        r#"{"op": "bind", "s": "u", "addr": "::1", "port": "P", "sa_family": "inet", "r": "EAFNOSUPPORT"}"#,
        r#"{"op": "connect", "s": "u", "addr": "127.0.0.1", "port": "Q", "r": "ENETUNREACH"}"#,
        r#"{"op": "connect", "s": "a", "addr": "127.0.0.1", "port": "P", "r": "ECONNREFUSED"}"#,
        r#"{"op": "connect", "s": "a", "addr": "10.9.9.9", "port": "P", "r": "ENETUNREACH"}"#,
        r#"{"op": "accept", "s": "a", "as": "k", "r": "EINVAL"}"#,
        r#"{"op": "shutdown", "s": "a", "how": "rdwr", "r": "ENOTCONN"}"#,
        r#"{"op": "setopt", "s": "a", "name": "v6only", "val": 1, "r": "ENOPROTOOPT"}"#,
        r#"{"op": "close", "s": "z", "r": "EBADF"}"#,
    ] {
        assert_eq!(difference(&format!("{SOCKET}, {udp}, {step}")), None);
    }
}
