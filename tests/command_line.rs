//! The command line itself: help, completions, the manual page, what a shell sees of a space.

use serde_json::Value;

use crate::harness::{Played, World, scenes};

scenes![
    a_dot_is_the_space_of_this_directory,
    a_misspelt_command_is_answered_with_the_right_one,
    a_shell_sees_what_a_program_inside_sees,
    every_shell_gets_completions,
    help_begins_with_examples,
    the_manual_page_can_be_read,
];

fn a_misspelt_command_is_answered_with_the_right_one(world: &World) -> Played {
    for (typed, meant) in [
        ("rnu", "run"),
        ("watt", "wait"),
        ("docter", "doctor"),
        ("asert", "assert"),
    ] {
        let failed = world.wharf([typed]).run().ended_with(2);
        assert!(failed.stderr.contains(&format!("'{meant}'")), "{failed}");
    }
    Ok(())
}

fn a_dot_is_the_space_of_this_directory(world: &World) -> Played {
    let shop = world.project("shop");
    let unheld = shop.wharf(["ls", ".", "--json"]).run().ended_with(1);
    assert!(unheld.stdout.contains("\"schema\":1"), "{unheld}");
    shop.wharf(["ps", "."]).run().ended_with(1);
    let _held = shop.hold();
    assert_eq!(shop.wharf(["focus", "."]).out(), "shop\n");
    assert_eq!(
        shop.wharf(["env", "."]).out(),
        shop.wharf(["env", "shop"]).out()
    );
    let listed = shop.wharf(["ps", "."]).out();
    assert!(listed.contains("cat"), "{listed}");
    let empty = shop.wharf(["ls", "."]).run().ended_with(1);
    assert!(empty.stderr.contains("in that space"), "{empty}");
    shop.wharf(["stop", "."]).run().ended_with(0);
    shop.wharf(["stop", "."]).run().ended_with(1);
    Ok(())
}

fn help_begins_with_examples(world: &World) -> Played {
    assert_eq!(
        world.wharf(["help", "run"]).out(),
        world.wharf(["run", "--help"]).out()
    );
    for command in [
        "run",
        "ci",
        "ls",
        "ps",
        "logs",
        "capture",
        "service-install",
        "stop",
        "wait",
        "assert",
        "free",
        "env",
        "events",
        "mcp",
        "why",
        "service",
        "doctor",
        "completions",
        "man",
    ] {
        let help = world.wharf([command, "--help"]).out();
        let (examples, usage) = (help.find("Examples:\n  "), help.find("Usage:"));
        assert!(examples.is_some() && examples < usage, "{help}");
        assert!(help.contains(&format!("wharf {command}")), "{help}");
    }
    Ok(())
}

fn every_shell_gets_completions(world: &World) -> Played {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = world.wharf(["completions", shell]).out();
        for word in ["assert", "timeout", "from-host"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        assert!(!script.contains("keeper"), "what nobody types is offered");
    }
    world.wharf(["completions", "cmd"]).run().ended_with(2);
    let script = "source <(\"$0\" completions bash) && complete -p wharf";
    let bash = world
        .program("bash")
        .words(["-c", script])
        .word(&world.binary);
    assert!(bash.out().contains("-F _wharf"));
    Ok(())
}

fn the_manual_page_can_be_read(world: &World) -> Played {
    let page = world.wharf(["man"]).out();
    assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
    for part in [
        ".SH NAME",
        ".SH WHARF WAIT",
        "\\-\\-timeout",
        "wharf run \\-\\- npm run dev",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    Ok(())
}

fn a_shell_sees_what_a_program_inside_sees(world: &World) -> Played {
    let shop = world.project("shop");
    shop.wharf(["env"]).run().ended_with(1);
    let _held = shop.hold();
    let seen = shop.wharf(["env"]).out();
    assert_eq!(world.wharf(["env", "shop"]).out(), seen);
    let script = "eval \"$(\"$0\" env shop)\" && env | grep '^WHARF_' | grep -v NAMES_PORT | sort";
    let outside = world
        .program("sh")
        .words(["-c", script])
        .word(&world.binary)
        .out();
    let inside = shop
        .shell("env | grep '^WHARF_' | grep -v -e NAMES_PORT -e RUN -e TEST | sort")
        .out();
    assert_eq!(outside.replace(&test_mark(&outside), ""), inside);
    assert!(
        inside.contains("WHARF_SPACE=shop\n")
            && inside.contains("WHARF_URL=http://shop.localhost:"),
        "{inside}"
    );
    let json: Value = serde_json::from_str(&shop.wharf(["env", "--json"]).out()).unwrap();
    assert_eq!(
        (&json["schema"], &json["name"]),
        (&1.into(), &"shop".into())
    );
    assert!(
        inside.contains(&format!("WHARF_IPV4={}\n", json["ipv4"].as_str().unwrap())),
        "{inside} {json}"
    );
    Ok(())
}

/// The line that marks everything of a test's world.
fn test_mark(environment: &str) -> String {
    let line = environment
        .lines()
        .find(|line| line.starts_with("WHARF_TEST="));
    line.map_or_else(String::new, |line| format!("{line}\n"))
}
