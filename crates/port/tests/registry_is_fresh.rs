//! The compiled registry is what the tool makes of the facts.

#[path = "../examples/registry/compile.rs"]
mod compile;

#[test]
fn the_table_is_what_the_facts_compile_to() {
    let compiled = compile::compile(include_str!("../data/services.tsv"));
    let checked_in = include_str!("../src/registry/iana.rs");
    assert!(
        compiled == checked_in,
        "src/registry/iana.rs is stale: run the example `registry`, which its own head explains",
    );
}

#[test]
fn the_facts_are_complete() {
    let facts = include_str!("../data/services.tsv");
    let pairs: Vec<(&str, &str)> = facts
        .lines()
        .map(|line| line.split_once('\t').expect("port, tab, the rest"))
        .collect();
    let of = |transport: &str| {
        let rest = pairs.iter().filter(|(_, rest)| rest.starts_with(transport));
        rest.count()
    };
    assert!(
        of("tcp") > 5_900 && of("udp") > 5_500,
        "{} {}",
        of("tcp"),
        of("udp")
    );
    assert!(of("sctp") >= 80 && of("dccp") >= 9);
}
