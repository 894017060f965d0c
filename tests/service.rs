//! `wharf service`: what a port is used for, and which port a service has.
#![allow(clippy::unwrap_used, reason = "what does not unwrap fails the test")]

use std::process::{Command, Output};

use serde_json::Value;

fn service(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.arg("service").args(arguments);
    command.env_remove("CLICOLOR_FORCE").output().unwrap()
}

fn found(arguments: &[&str]) -> String {
    let output = service(arguments);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str], status: i32) -> String {
    let output = service(arguments);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The first line that begins with this number.
fn row(text: &str, port: &str) -> String {
    let mut rows = text.lines().map(str::trim_start);
    rows.find(|row| row.split(' ').next() == Some(port))
        .unwrap_or_else(|| panic!("no row for {port}: {text}"))
        .to_owned()
}

#[test]
fn a_port_has_its_number_first_its_use_second_and_iana_s_name_third() {
    let text = found(&["5432"]);
    let row = row(&text, "5432");
    let [common, iana] = ["Postgres", "postgresql"].map(|name| row.find(name).unwrap());
    assert!(common < iana, "{text}");
    assert!(text.contains("5432 is a user port"), "{text}");
}

#[test]
fn a_name_is_found_in_letters_of_any_case() {
    assert!(row(&found(&["postgres"]), "5432").contains("Postgres"));
    assert!(row(&found(&["HTTPS"]), "443").contains("HTTPS"));
    assert!(row(&found(&["domain/udp"]), "53").contains("udp"));
}

#[test]
fn a_protocol_narrows_on_either_side() {
    let udp = found(&["53/udp"]);
    assert_eq!(udp, found(&["udp/53"]));
    assert!(
        row(&udp, "53").contains("udp  ") && !udp.contains("tcp"),
        "{udp}"
    );
    assert!(refused(&["5173/udp"], 1).contains("no use of 5173/udp is known"));
}

#[test]
fn a_contended_port_comes_with_a_hint() {
    let text = found(&["5000"]);
    assert!(text.contains("Flask") && text.contains("AirPlay"), "{text}");
}

#[test]
fn the_ports_that_everybody_should_know_are_a_table() {
    let text = found(&["--common"]);
    for (port, name) in [
        ("20", "FTP data"),
        ("22", "SSH"),
        ("53", "DNS"),
        ("67", "DHCP server"),
        ("80", "HTTP"),
        ("123", "NTP"),
        ("194", "IRC"),
        ("443", "HTTPS"),
        ("547", "DHCPv6 server"),
        ("5432", "Postgres"),
    ] {
        assert!(row(&text, port).contains(name), "{text}");
    }
    let numbers = text.lines().skip(1).take_while(|line| !line.is_empty());
    let numbers: Vec<u16> = numbers
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.len() > 50 && numbers.is_sorted());
}

#[test]
fn port_0_is_explained() {
    let text = found(&["0"]);
    assert!(
        text.contains("Port 0 is no port") && text.contains("choose a free port"),
        "{text}"
    );
}

#[test]
fn a_close_miss_gets_suggestions() {
    let text = refused(&["postgre"], 1);
    assert!(
        text.contains("Did you mean: ") && text.contains("Postgres"),
        "{text}"
    );
    assert!(!refused(&["no-such-service-anywhere"], 1).contains("mean"));
    assert!(refused(&["49999"], 1).contains("dynamic port"));
}

#[test]
fn what_is_neither_port_nor_name_is_a_usage_error() {
    for what in [
        &["65536"][..],
        &["80/http"],
        &[],
        &[""],
        &["80", "--common"],
    ] {
        assert!(!refused(what, 2).is_empty());
    }
}

#[test]
fn the_json_form_is_the_documented_one() {
    let documented = include_str!("../docs/json.md");
    let section = documented
        .split("## `wharf service --json`")
        .nth(1)
        .unwrap();
    let example = section.split("```json\n").nth(1).unwrap();
    let example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let query = example["query"].as_str().unwrap();
    let mut written: Value = serde_json::from_str(&found(&["--json", query])).unwrap();
    // Whatever this machine calls it.
    written["services"][0]["local"] = example["services"][0]["local"].clone();
    assert_eq!(written, example);
}

#[test]
fn json_says_by_its_status_too_whether_anything_was_found() {
    let missed = service(&["--json", "postgre"]);
    assert_eq!(missed.status.code(), Some(1));
    let missed: Value = serde_json::from_slice(&missed.stdout).unwrap();
    assert_eq!(missed["services"].as_array().unwrap().len(), 0);
    assert!(
        missed["suggestions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|name| name == "Postgres")
    );
    let zero: Value = serde_json::from_str(&found(&["--json", "0"])).unwrap();
    assert!(zero["note"].as_str().unwrap().contains("no port"));
    let common: Value = serde_json::from_str(&found(&["--json", "--common"])).unwrap();
    assert_eq!(common["query"], Value::Null);
    assert!(common["services"].as_array().unwrap().len() > 50);
}

#[test]
fn colours_are_for_terminals_and_those_who_insist() {
    let coloured = |variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["service", "22"]).env("CLICOLOR_FORCE", "1");
        let output = command.env(variable, "1").output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains('\u{1b}')
    };
    assert!(!found(&["22"]).contains('\u{1b}'));
    assert!(coloured("CLICOLOR_FORCE"));
    assert!(!coloured("NO_COLOR"));
}
