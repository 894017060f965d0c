//! `wharf run` ends as its program ended.

use crate::harness::{Played, World, scenes};

scenes![
    a_program_that_a_signal_ended_gives_128_and_the_signal,
    a_program_that_can_not_be_run_gives_126_and_one_that_is_not_there_127,
    every_exit_status_is_passed_on,
    the_help_and_the_version_are_no_errors,
    an_answer_that_can_not_be_written_gives_125,
    what_wharf_can_not_do_gives_125,
    what_was_typed_wrongly_gives_2,
];

fn every_exit_status_is_passed_on(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    for status in [0, 1, 2, 3, 64, 124, 125, 126, 127, 128, 130, 255] {
        shop.shell(&format!("exit {status}"))
            .run()
            .ended_with(status);
    }
    Ok(())
}

fn a_program_that_a_signal_ended_gives_128_and_the_signal(world: &World) -> Played {
    let shop = world.project("shop");
    for (name, number) in [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("KILL", 9),
        ("SEGV", 11),
        ("PIPE", 13),
        ("TERM", 15),
    ] {
        shop.shell(&format!("ulimit -c 0; kill -{name} $$"))
            .run()
            .ended_with(128 + number);
    }
    Ok(())
}

fn a_program_that_can_not_be_run_gives_126_and_one_that_is_not_there_127(world: &World) -> Played {
    let shop = world.project("shop");
    std::fs::write(shop.path.join("plain"), "text").unwrap();
    let plain = shop.run(["./plain"]).run().ended_with(126);
    assert!(plain.stderr.contains("cannot run ./plain"), "{plain}");
    let directory = shop.run(["/"]).run().ended_with(126);
    assert!(directory.stderr.contains("cannot run /"), "{directory}");
    let absent = shop.run(["no-such-program"]).run().ended_with(127);
    assert!(
        absent.stderr.contains("cannot run no-such-program"),
        "{absent}"
    );
    // That a part of PATH is closed to the user says nothing of the program.
    let closed = shop.path.join("closed");
    std::fs::create_dir(&closed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&closed, mode).unwrap();
    let path = format!("{}:/usr/bin:/bin", closed.display());
    let absent = shop.run(["no-such-program"]).with("PATH", &path);
    absent.run().ended_with(127);
    shop.run(["true"]).with("PATH", path).run().ended_with(0);
    Ok(())
}

fn what_was_typed_wrongly_gives_2(world: &World) -> Played {
    let wrong: [&[&str]; 8] = [
        &[],
        &["run"],
        &["run", "--no-such-option", "--", "true"],
        &["run", "--from-host", "0", "--", "true"],
        &["run", "--mtu", "1279", "--", "true"],
        &["run", "--device", "pigeon", "--", "true"],
        &["stop", "--all", "shop"],
        &["no-such-command"],
    ];
    for words in wrong {
        let outcome = world.wharf(words).run().ended_with(2);
        assert!(outcome.stderr.contains("--help"), "{outcome}");
    }
    let wrong = world
        .wharf(["run", "-s", "My Shop", "--", "true"])
        .run()
        .ended_with(2);
    assert!(wrong.stderr.contains("\"my-shop\" would be"), "{wrong}");
    Ok(())
}

fn an_answer_that_can_not_be_written_gives_125(world: &World) -> Played {
    for command in [
        "free",
        "ls --host",
        "why 3000",
        "service 5432",
        "doctor",
        "completions bash",
        "man",
    ] {
        let script = format!("\"$0\" {command} > /dev/full");
        let failed = world.program("sh").words(["-c", &script]);
        let failed = failed.word(&world.binary).run().ended_with(125);
        assert!(
            failed.stderr.contains("No space left on device"),
            "{failed}"
        );
        assert!(!failed.stderr.contains("panicked"), "{failed}");
    }
    Ok(())
}

fn what_wharf_can_not_do_gives_125(world: &World) -> Played {
    // A state directory that can't be read is no reason to lose what is in it.
    let shop = world.project("shop");
    shop.run(["true"]).run().ended_with(0);
    world.is_empty_within(crate::harness::DEADLINE);
    let book = world.top().join("state/wharf/spaces.json");
    let kept = std::fs::read(&book).unwrap();
    std::fs::write(&book, "{").unwrap();
    let damaged = shop.run(["true"]).run().ended_with(125);
    assert!(damaged.stderr.contains("is damaged"), "{damaged}");
    assert_eq!(std::fs::read(&book).unwrap(), b"{");
    std::fs::write(&book, kept).unwrap();
    Ok(())
}

fn the_help_and_the_version_are_no_errors(world: &World) -> Played {
    for words in [
        &["--help"][..],
        &["run", "--help"],
        &["ls", "-h"],
        &["stop", "-h"],
        &["doctor", "-h"],
        &["--version"],
    ] {
        let outcome = world.wharf(words).run().ended_with(0);
        assert!(
            !outcome.stdout.is_empty() && outcome.stderr.is_empty(),
            "{outcome}"
        );
    }
    let help = world.wharf(["--help"]).out();
    assert!(
        !help.contains("daemon") && !help.contains("keeper"),
        "what is not for users is not shown: {help}"
    );
    Ok(())
}
