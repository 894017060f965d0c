//! A conflict inside a space is explained at once, in the terminal of the program that has it.

use serde_json::Value;

use crate::harness::events::Events;
use crate::harness::process::Process;
use crate::harness::{Played, World, scenes};

scenes![
    a_conflict_names_program_pid_directory_and_age_of_the_holder,
    a_run_within_a_run_hears_of_its_own_conflict,
    a_wildcard_is_told_whose_address_is_in_its_way,
    of_another_project_the_holder_is_ended_by_force,
    quiet_silences_the_explanation_and_not_the_error,
    the_same_conflict_is_explained_once_and_told_as_events,
    the_words_come_before_the_run_ends,
];

const ASKED: [&str; 3] = ["tcp", "127.0.0.1", "3000"];

/// What a `wharf run` with these options says to a program that wants a port that is taken.
fn refused(shop: &crate::harness::world::Project<'_>, options: &[&str]) -> String {
    let run = shop
        .wharf(["run"])
        .words(options)
        .words(["--", "python3", "-c"]);
    let run = run
        .word(crate::harness::peer::SOURCE)
        .word("listen")
        .words(ASKED)
        .run();
    assert_eq!(run.code(), 1, "{run}");
    assert!(
        run.stderr.contains("[Errno 98] Address already in use"),
        "{run}"
    );
    run.stderr
}

fn holder(shop: &crate::harness::world::Project<'_>) -> Process {
    shop.serve(&["listen", ASKED[0], ASKED[1], ASKED[2]])
}

fn a_conflict_names_program_pid_directory_and_age_of_the_holder(world: &World) -> Played {
    let shop = world.project("shop");
    let server = holder(&shop);
    let said = refused(&shop, &[]);
    let pid = server.program().as_raw_pid();
    for part in [
        "wharf: tcp 127.0.0.1:3000: address already in use in space shop\n",
        &format!(
            "(pid {pid}) in {}, listening on 127.0.0.1:3000 for ",
            shop.path.display()
        ),
        "end that one:           wharf stop shop:3000\n",
        "take ports of your own: wharf run -s shop-2 -- python3 -c ",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    // What it says is what helps.
    shop.wharf(["stop", "shop:3000"]).run().ended_with(0);
    assert_eq!(world.listeners(), Vec::<Value>::new());
    Ok(())
}

fn of_another_project_the_holder_is_ended_by_force(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let server = shop.wharf(["run", "-q", "-s", "both", "--", "python3", "-c"]);
    let server = server.word(crate::harness::peer::SOURCE).word("listen");
    let _server = {
        let server = server.words(ASKED).start();
        server.says("ready");
        server
    };
    let said = refused(&blog, &["-s", "both"]);
    assert!(said.contains("wharf stop --force both:3000\n"), "{said}");
    blog.wharf(["stop", "both:3000"]).run().ended_with(3);
    let forced = blog.wharf(["stop", "--force", "both:3000"]);
    forced.run().ended_with(0);
    Ok(())
}

fn quiet_silences_the_explanation_and_not_the_error(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = holder(&shop);
    let said = refused(&shop, &["-q"]);
    assert!(!said.contains("wharf:"), "{said}");
    Ok(())
}

fn a_wildcard_is_told_whose_address_is_in_its_way(world: &World) -> Played {
    let shop = world.project("shop");
    let server = shop.serve(&["listen", "udp", "127.0.0.1", "5353"]);
    let run = shop
        .wharf(["run", "--", "python3", "-c"])
        .word(crate::harness::peer::SOURCE);
    let said = run.words(["listen", "udp", "::", "5353"]).run().stderr;
    let pid = server.program().as_raw_pid();
    assert!(
        said.contains("wharf: udp [::]:5353: address already in use"),
        "{said}"
    );
    assert!(said.contains(&format!("(pid {pid})")), "{said}");
    assert!(said.contains("bound to 127.0.0.1:5353 for "), "{said}");
    Ok(())
}

fn a_run_within_a_run_hears_of_its_own_conflict(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = holder(&shop);
    let script = "exec 2> outer; \"$@\" 2> inner; echo ended";
    let outer = shop.wharf(["run", "--", "sh", "-c", script, "sh"]);
    let outer = outer
        .word(&world.binary)
        .words(["run", "--", "python3", "-c"]);
    let outer = outer
        .word(crate::harness::peer::SOURCE)
        .word("listen")
        .words(ASKED)
        .run();
    assert_eq!(outer.stdout, "ended\n", "{outer}");
    let inner = std::fs::read_to_string(shop.path.join("inner")).unwrap();
    assert!(
        inner.contains("address already in use in space shop"),
        "{inner}"
    );
    assert!(!outer.stderr.contains("address already in use"), "{outer}");
    Ok(())
}

fn the_same_conflict_is_explained_once_and_told_as_events(world: &World) -> Played {
    const SCRIPT: &str = "
import socket
for _ in range(200):
    try:
        socket.socket().bind(('127.0.0.1', 3000))
    except OSError as error:
        assert error.errno == 98
print('tried')
";
    let shop = world.project("shop");
    let server = holder(&shop);
    let mut events = Events::follow(world);
    let run = shop
        .wharf(["run", "--", "python3", "-c", SCRIPT])
        .run()
        .ended_with(0);
    assert_eq!(run.stdout, "tried\n");
    assert_eq!(
        run.stderr.matches("address already in use").count(),
        1,
        "{run}"
    );
    // What the holder did a moment ago may be told only now.
    let told = loop {
        let event = events.about(3000);
        if event["event"] == "conflict" {
            break event;
        }
    };
    let held = &told["reason"]["held"];
    assert_eq!(held.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(held[0]["program"]["pid"], server.program().as_raw_pid());
    assert_eq!(
        (&held[0]["address"], &held[0]["listens"]),
        (&"127.0.0.1".into(), &true.into())
    );
    Ok(())
}

fn the_words_come_before_the_run_ends(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = holder(&shop);
    for _ in 0..10 {
        assert!(refused(&shop, &[]).contains("address already in use in space"));
    }
    Ok(())
}
