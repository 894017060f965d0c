//! `wharf.toml` says what a project wants of wharf.

use std::fs;

use crate::harness::world::Project;
use crate::harness::{Played, World, free_port, scenes};

scenes![
    a_file_that_is_not_understood_is_shown_with_line_and_column,
    a_part_of_a_project_with_a_file_of_its_own_has_a_space_of_its_own,
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
