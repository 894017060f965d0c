//! `wharf.toml` says what a project wants of wharf.

use std::fs;

use crate::harness::world::Project;
use crate::harness::{Played, World, free_port, peer, scenes};

scenes![
    a_forbidden_port_is_denied_and_the_reason_told,
    a_file_that_is_not_understood_is_shown_with_line_and_column,
    a_part_of_a_project_with_a_file_of_its_own_has_a_space_of_its_own,
    a_reserved_port_is_one_programs_alone,
    the_project_names_its_space,
    the_projects_ports_of_the_machine_are_let_in,
    worktrees_with_the_same_file_have_spaces_of_their_own,
];

fn write(project: &Project<'_>, content: &str) {
    let file = project.path.join("wharf.toml");
    fs::write(&file, content).unwrap();
    project.world.own(&file);
}

fn the_project_names_its_space(world: &World) -> Played {
    let project = world.project("checkout-of-monday");
    write(&project, "name = \"shop\"\n");
    let name = ["sh", "-c", "echo $WHARF_SPACE"];
    assert_eq!(project.run(name).out(), "shop\n");
    let below = world.project("checkout-of-monday/src/deep");
    assert_eq!(below.run(name).out(), "shop\n");
    let named = project.wharf(["run", "-q", "-s", "other", "--"]);
    assert_eq!(named.words(name).out(), "other\n");
    let held = below.hold();
    let stopped = project.wharf(["stop"]).run().ended_with(0);
    assert_eq!(stopped.stderr, "wharf: space shop ended\n");
    held.outcome().ended_with(143);
    Ok(())
}

fn worktrees_with_the_same_file_have_spaces_of_their_own(world: &World) -> Played {
    let (one, other) = (world.project("shop-main"), world.project("shop-fix"));
    for project in [&one, &other] {
        write(project, "name = \"shop\"\n");
    }
    let _held = [one.hold(), other.hold()];
    assert_ne!(one.network(), other.network());
    let name = |project: &Project<'_>| project.run(["sh", "-c", "echo $WHARF_SPACE"]).out();
    assert_eq!([name(&one), name(&other)], ["shop\n", "shop-2\n"]);
    Ok(())
}

fn a_part_of_a_project_with_a_file_of_its_own_has_a_space_of_its_own(world: &World) -> Played {
    let (whole, part) = (world.project("shop"), world.project("shop/front"));
    world.project("shop/.git");
    write(&part, "");
    let _held = [whole.hold(), part.hold()];
    assert_ne!(whole.network(), part.network());
    Ok(())
}

fn the_projects_ports_of_the_machine_are_let_in(world: &World) -> Played {
    let [wanted, typed] = [free_port(), free_port()].map(|port| port.to_string());
    let _servers = [&wanted, &typed].map(|port| world.serve(&["echo", "tcp", "127.0.0.1", port]));
    let shop = world.project("shop");
    write(&shop, &format!("from-host = [{wanted}]\n"));
    let _held = shop.hold_with(&["--from-host", &typed]);
    for port in [&wanted, &typed] {
        shop.fares(&["ask", "tcp", "127.0.0.1", port, "hello"])
            .is("answer: hello");
    }
    Ok(())
}

fn a_file_that_is_not_understood_is_shown_with_line_and_column(world: &World) -> Played {
    let shop = world.project("shop");
    write(&shop, "name = \"shop\"\nfrom_host = [5432]\n");
    let failed = shop.run(["true"]).run().ended_with(2);
    let expected = format!(
        "wharf: {}:2:1: there is no key \"from_host\"; is \"from-host\" meant?\n",
        shop.path.join("wharf.toml").display()
    );
    assert_eq!(failed.stderr, expected);
    assert!(world.daemon().is_none(), "nothing is begun");
    Ok(())
}

fn a_forbidden_port_is_denied_and_the_reason_told(world: &World) -> Played {
    let shop = world.project("shop");
    write(
        &shop,
        "[forbid]\n25 = \"mail goes through mailpit\"\n\"8000-8010\" = \"\"\n",
    );
    let denied = |port: &str| {
        let tried = shop.wharf(["run", "--", "python3", "-c", peer::SOURCE]);
        let tried = tried
            .words(["listen", "tcp", "127.0.0.1", port])
            .run()
            .ended_with(1);
        assert!(tried.stderr.contains("Permission denied"), "{tried}");
        tried.stderr
    };
    assert!(
        denied("25")
            .contains("wharf.toml of space shop forbids port 25 (mail goes through mailpit)")
    );
    denied("8010");
    drop(shop.serve(&["listen", "tcp", "127.0.0.1", "8011"]));
    Ok(())
}

fn a_reserved_port_is_one_programs_alone(world: &World) -> Played {
    let shop = world.project("shop");
    write(&shop, "reserve = { 5432 = \"postgres\" }\n");
    let words = ["listen", "tcp", "127.0.0.1", "5432"];
    let refused = shop.peer(&words).run().ended_with(1);
    assert!(
        refused.stderr.contains("Address already in use"),
        "{refused}"
    );
    // The program is known by its executable's file.
    let python = fs::canonicalize(world.needs("python3")?).unwrap();
    let name = python.file_name().unwrap().to_str().unwrap();
    write(&shop, &format!("reserve = {{ 5432 = \"{name}\" }}\n"));
    drop(shop.serve(&words));
    Ok(())
}
