//! `wharf stop` ends a space and what runs in it, and nothing else.

use crate::harness::{Played, World, await_that, scenes};

scenes![
    a_daemonised_program_is_ended_too,
    a_program_that_ignores_sigterm_is_ended_after_a_while,
    all_spaces_are_stopped_when_asked,
    nothing_to_stop_is_said_and_not_a_success,
    one_space_is_stopped_by_name_and_the_others_go_on,
    the_space_of_the_directory_is_stopped,
];

fn one_space_is_stopped_by_name_and_the_others_go_on(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let (first, second, mut third) = (shop.hold(), shop.hold(), blog.hold());
    let stopped = world.wharf(["stop", "shop"]).run().ended_with(0);
    assert_eq!(stopped.stderr, "wharf: space shop ended\n");
    first.outcome().ended_with(143);
    second.outcome().ended_with(143);
    await_that("only the other space is left", || {
        (world.keepers().len() == 1).then_some(())
    });
    third.write(b"goes on\n");
    third.says("goes on");
    third.close_input();
    third.outcome().ended_with(0);
    Ok(())
}

fn the_space_of_the_directory_is_stopped(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let (first, mut second) = (shop.hold(), blog.hold());
    shop.wharf(["stop"]).run().ended_with(0);
    first.outcome().ended_with(143);
    assert!(second.runs());
    Ok(())
}

fn all_spaces_are_stopped_when_asked(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let (first, second) = (shop.hold(), blog.hold());
    let stopped = world.wharf(["stop", "--all"]).run().ended_with(0);
    assert_eq!(
        stopped.stderr,
        "wharf: space blog ended\nwharf: space shop ended\n"
    );
    first.outcome().ended_with(143);
    second.outcome().ended_with(143);
    Ok(())
}

fn a_daemonised_program_is_ended_too(world: &World) -> Played {
    world.needs("setsid")?;
    let shop = world.project("shop");
    shop.shell("setsid -f sleep 1000 > /dev/null 2>&1")
        .run()
        .ended_with(0);
    world.wharf(["stop", "shop"]).run().ended_with(0);
    assert!(
        !world.traces().iter().any(|trace| trace.words[0] == "sleep"),
        "{:?}",
        world.traces()
    );
    Ok(())
}

fn a_program_that_ignores_sigterm_is_ended_after_a_while(world: &World) -> Played {
    let shop = world.project("shop");
    let run = shop
        .shell("trap '' TERM; echo deaf; while :; do cat; sleep 1; done")
        .start();
    run.says("deaf");
    world.wharf(["stop", "shop"]).run().ended_with(0);
    run.outcome().ended_with(137);
    Ok(())
}

fn nothing_to_stop_is_said_and_not_a_success(world: &World) -> Played {
    let shop = world.project("shop");
    let nothing = shop.wharf(["stop"]).run().ended_with(1);
    assert!(nothing.stderr.contains("no space runs"), "{nothing}");
    let _held = shop.hold();
    let unknown = world.wharf(["stop", "blog"]).run().ended_with(1);
    assert!(
        unknown.stderr.contains("no space called blog runs"),
        "{unknown}"
    );
    let elsewhere = world
        .project("elsewhere")
        .wharf(["stop"])
        .run()
        .ended_with(1);
    assert!(
        elsewhere.stderr.contains("no space runs for"),
        "{elsewhere}"
    );
    Ok(())
}
