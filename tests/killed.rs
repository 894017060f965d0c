//! kill -9: what goes on, what ends, and that nothing is left.

use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::harness::{DEADLINE, Played, World, await_that, kill, scenes, traces};

scenes![
    a_daemon_killed_while_nothing_talks_to_it_leaves_a_daemonised_program_running,
    a_killed_daemon_leaves_programs_running_and_the_next_takes_their_space_up,
    a_killed_keeper_takes_nothing_with_it_but_its_space,
    a_killed_program_gives_137_and_its_space_ends,
    a_killed_run_takes_its_program_and_its_children_with_it,
    the_daemon_and_every_run_killed_leave_nothing,
];

/// What listens, and whose it is. When it began to, only the daemon knew that saw it.
fn held(world: &World) -> Vec<serde_json::Value> {
    let mut listeners = world.listeners();
    for listener in &mut listeners {
        for known in ["since", "since_from"] {
            listener.as_object_mut().unwrap().remove(known);
        }
    }
    listeners
}

fn a_killed_daemon_leaves_programs_running_and_the_next_takes_their_space_up(
    world: &World,
) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let mut server = shop.serve(&["http", "127.0.0.1", "8000", "of the shop"]);
    let url = format!("http://shop.localhost:{}/", world.names_port);
    let get = || {
        world
            .program("curl")
            .words(["-sS", "--retry", "9", "--retry-connrefused", &url])
            .out()
    };
    let (before, network) = (held(world), shop.network());
    assert_eq!(get(), "of the shop");
    for _ in 0..3 {
        let daemon = world.daemon().expect("it runs");
        kill(daemon);
        let next = await_that("another daemon runs", || {
            world.daemon().filter(|&next| next != daemon)
        });
        assert_ne!(next, daemon);
        await_that("it has the space", || (held(world) == before).then_some(()));
        assert_eq!(get(), "of the shop");
        assert_eq!(shop.network(), network, "a second run joins the same space");
        assert!(server.runs());
    }
    server.close_input();
    server.outcome().ended_with(0);
    world.is_empty_within(Duration::from_secs(5));
    Ok(())
}

fn a_daemon_killed_while_nothing_talks_to_it_leaves_a_daemonised_program_running(
    world: &World,
) -> Played {
    world.needs("setsid")?;
    let shop = world.project("shop");
    shop.shell("setsid -f sleep 1000 > /dev/null 2>&1; readlink /proc/self/ns/net > network")
        .run()
        .ended_with(0);
    let sleep = await_that("sleep runs", || {
        world
            .traces()
            .into_iter()
            .find(|trace| trace.words == ["sleep", "1000"])
            .map(|trace| trace.pid)
    });
    kill(world.daemon().expect("it runs"));
    // Nobody starts another daemon until somebody wants one; the keeper waits.
    assert!(traces::runs(sleep));
    let network = std::fs::read_to_string(shop.path.join("network")).unwrap();
    assert_eq!(shop.network(), network);
    kill(sleep);
    world.is_empty_within(Duration::from_secs(5));
    Ok(())
}

fn a_killed_run_takes_its_program_and_its_children_with_it(world: &World) -> Played {
    let shop = world.project("shop");
    let mut other = shop.hold();
    let run = shop
        .shell("sleep 1000 & sleep 1001 & echo begun; wait")
        .start();
    run.says("begun");
    let sleeps = || {
        world
            .traces()
            .iter()
            .filter(|trace| trace.words[0] == "sleep")
            .count()
    };
    await_that("both children run", || (sleeps() == 2).then_some(()));
    kill_process(run.pid(), Signal::KILL).unwrap();
    let outcome = run.outcome();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&outcome.status),
        Some(9)
    );
    await_that("its children have ended", || (sleeps() == 0).then_some(()));
    // The other run in the space has nothing to do with it.
    other.write(b"goes on\n");
    other.says("goes on");
    Ok(())
}

fn a_killed_program_gives_137_and_its_space_ends(world: &World) -> Played {
    let shop = world.project("shop");
    let mut run = shop.hold();
    kill_process(run.program(), Signal::KILL).unwrap();
    // `cat`, the shell's child, ends with its input.
    run.close_input();
    run.outcome().ended_with(137);
    world.is_empty_within(Duration::from_secs(5));
    Ok(())
}

fn the_daemon_and_every_run_killed_leave_nothing(world: &World) -> Played {
    let shop = world.project("shop");
    let runs = [
        shop.shell("echo begun; exec sleep 1000").start(),
        shop.shell("echo begun; exec sleep 1000").start(),
    ];
    for run in &runs {
        run.says("begun");
    }
    // The daemon first, or it would end what is left of the runs itself; they are stopped so that none starts another.
    for run in &runs {
        run.signal(Signal::STOP);
    }
    kill(world.daemon().expect("it runs"));
    for run in runs {
        run.signal(Signal::KILL);
    }
    // The keeper, without a daemon, sees that nobody is left.
    world.is_empty_within(DEADLINE);
    assert_eq!(
        std::fs::read_dir(world.runtime().join("keepers"))
            .unwrap()
            .count(),
        0
    );
    // The dead daemon's socket is in nobody's way.
    let said = shop.run(["echo", "again"]).out();
    assert_eq!(said, "again\n");
    Ok(())
}

fn a_killed_keeper_takes_nothing_with_it_but_its_space(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let mut first = shop.hold();
    let keeper = world.keepers()[0];
    let mut second = blog.hold();
    kill(keeper);
    // The program goes on, and its namespace with it.
    first.write(b"goes on\n");
    first.says("goes on");
    second.write(b"goes on\n");
    second.says("goes on");
    let url = format!("http://127.0.0.1:{}/", world.names_port);
    world
        .program("curl")
        .words(["-s", "-o", "/dev/null", &url])
        .run()
        .ended_with(0);
    first.close_input();
    first.outcome().ended_with(0);
    await_that("the space has ended", || {
        let sockets = std::fs::read_dir(world.runtime().join("keepers")).unwrap();
        (sockets.count() == 1).then_some(())
    });
    await_that("it can be made anew", || {
        let again = shop.run(["echo", "again"]).out();
        (again == "again\n" && world.log().matches("shop stands").count() == 2).then_some(())
    });
    Ok(())
}
