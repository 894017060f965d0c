//! A space begins with its first program and ends with its last; so does the daemon with its spaces.

use std::time::Duration;

use crate::harness::{Played, World, await_that, free_port, scenes, traces};

scenes![
    a_daemonised_program_keeps_its_space_which_ends_with_it,
    sockets_and_directories_are_closed_to_others,
    the_daemon_ends_with_the_last_space_and_leaves_nothing,
    the_port_of_the_names_can_be_left_out,
    the_port_of_the_names_taken_by_another_is_said_and_the_program_runs,
    the_run_says_where_it_is_and_quiet_runs_say_nothing,
];

fn the_run_says_where_it_is_and_quiet_runs_say_nothing(world: &World) -> Played {
    let shop = world.project("My Shop!");
    let said = shop.wharf(["run", "--", "true"]).run().ended_with(0).stderr;
    assert!(said.starts_with("wharf: space my-shop · 10.77."), "{said}");
    assert!(
        said.ends_with(&format!(
            " · http://my-shop.localhost:{}\n",
            world.names_port
        )),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(shop.run(["true"]).run().ended_with(0).stderr, "");
    Ok(())
}

fn the_daemon_ends_with_the_last_space_and_leaves_nothing(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let (mut first, mut second) = (shop.hold(), blog.hold());
    let daemon = world.daemon().expect("it runs");
    assert_eq!(world.keepers().len(), 2);
    let networks: Vec<_> = world
        .keepers()
        .into_iter()
        .filter_map(traces::Network::of)
        .collect();
    assert_eq!(networks.len(), 2);
    first.close_input();
    first.outcome().ended_with(0);
    await_that("one keeper is left", || {
        (world.keepers().len() == 1).then_some(())
    });
    assert!(traces::runs(daemon));
    second.close_input();
    second.outcome().ended_with(0);
    world.is_empty_within(Duration::from_secs(5));
    networks.iter().for_each(traces::Network::is_gone);
    assert!(!world.runtime().join("daemon").exists());
    assert_eq!(
        std::fs::read_dir(world.runtime().join("keepers"))
            .unwrap()
            .count(),
        0
    );
    Ok(())
}

fn a_daemonised_program_keeps_its_space_which_ends_with_it(world: &World) -> Played {
    world.needs("setsid")?;
    world.needs("curl")?;
    let shop = world.project("shop");
    let script = "setsid -f python3 -m http.server 8000 > /dev/null 2>&1; echo page > page.html";
    shop.shell(script).run().ended_with(0);
    let url = format!("http://shop.localhost:{}/page.html", world.names_port);
    let get = || world.program("curl").words(["-sf", &url]).run().stdout;
    await_that("the server answers", || (get() == "page\n").then_some(()));
    let listeners = world.listeners();
    let pid = listeners[0]["programs"][0]["pid"].as_i64().unwrap();
    assert_eq!(world.keepers().len(), 1);
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    world.is_empty_within(Duration::from_secs(5));
    Ok(())
}

fn sockets_and_directories_are_closed_to_others(world: &World) -> Played {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    // A directory that was left open is closed, not trusted.
    let directory = world.runtime();
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    world.own(&directory);
    let shop = world.project("shop");
    let _held = shop.hold();
    for directory in [
        directory,
        world.runtime().join("keepers"),
        world.top().join("state/wharf"),
    ] {
        let found = directory.metadata().unwrap();
        assert_eq!(
            (found.mode() & 0o7777, found.uid()),
            (0o700, world.user.uid()),
            "{}",
            directory.display()
        );
    }
    Ok(())
}

fn the_port_of_the_names_taken_by_another_is_said_and_the_program_runs(world: &World) -> Played {
    let port = free_port().to_string();
    // Held by the user's own program: who holds it may be seen.
    let holder = world.peer(&["listen", "tcp", "127.0.0.1", &port]).start();
    holder.says("ready");
    let shop = world.project("shop");
    let run = shop
        .wharf(["run", "--", "echo", "runs"])
        .with("WHARF_NAMES_PORT", &port)
        .run()
        .ended_with(0);
    assert_eq!(run.stdout, "runs\n");
    let taken = format!("names are not served at 127.0.0.1:{port}");
    assert!(run.stderr.contains(&taken), "{run}");
    assert!(
        run.stderr
            .contains(&format!("(pid {}, in ", holder.pid().as_raw_pid())),
        "{run}"
    );
    assert!(run.stderr.contains("WHARF_NAMES_PORT"), "{run}");
    // As soon as it is free, names are served.
    drop(holder);
    world.is_empty_within(crate::harness::DEADLINE);
    let run = shop
        .wharf(["run", "--", "true"])
        .with("WHARF_NAMES_PORT", &port)
        .run()
        .ended_with(0);
    assert!(
        run.stderr
            .ends_with(&format!("http://shop.localhost:{port}\n")),
        "{run}"
    );
    Ok(())
}

fn the_port_of_the_names_can_be_left_out(world: &World) -> Played {
    let shop = world.project("shop");
    let run = shop
        .wharf(["run", "--", "true"])
        .with("WHARF_NAMES_PORT", "0")
        .run()
        .ended_with(0);
    assert!(!run.stderr.contains("http://"), "{run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    Ok(())
}
