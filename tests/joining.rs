//! Programs of one project share a space.

use crate::harness::{Played, World, scenes};

scenes![
    a_second_run_in_the_directory_joins_the_first,
    a_named_space_is_joined_from_anywhere,
    directories_of_one_name_have_a_space_each,
    every_directory_of_a_git_worktree_is_in_its_space,
    runs_that_start_at_the_same_moment_share_one_space,
    a_run_within_a_run_stays_in_the_space,
    a_user_namespace_beside_the_space_is_told,
    a_space_keeps_its_addresses_when_it_starts_again,
];

fn a_second_run_in_the_directory_joins_the_first(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let _server = shop.serve(&["http", "127.0.0.1", "8000", "of the shop"]);
    assert_eq!(
        shop.run(["curl", "-sS", "localhost:8000"]).out(),
        "of the shop"
    );
    let refused = shop.run(["curl", "-sS", "localhost:5432"]).run();
    // curl: failed to connect.
    assert_eq!(refused.code(), 7, "{refused}");
    Ok(())
}

fn a_user_namespace_beside_the_space_is_told(world: &World) -> Played {
    world.needs("unshare")?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let beside = world.program("unshare").words(["-Ur"]).word(&world.binary);
    let beside = beside.words(["run", "-s", "shop", "--", "true"]).run();
    let beside = beside.ended_with(3);
    assert!(beside.stderr.contains("in a user namespace"), "{beside}");
    Ok(())
}

fn a_named_space_is_joined_from_anywhere(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let first = shop.wharf([
        "run",
        "-q",
        "-s",
        "stage",
        "--",
        "readlink",
        "/proc/self/ns/net",
    ]);
    let _held = blog.hold_with(&["--space", "stage"]);
    let second = world
        .wharf([
            "run",
            "-q",
            "--space=stage",
            "--",
            "readlink",
            "/proc/self/ns/net",
        ])
        .out();
    assert_eq!(first.out(), second);
    assert_ne!(shop.network(), second);
    Ok(())
}

fn directories_of_one_name_have_a_space_each(world: &World) -> Played {
    let (first, second) = (world.project("a/shop"), world.project("b/shop"));
    let name =
        |project: &crate::harness::world::Project<'_>| project.shell("echo $WHARF_SPACE").out();
    let _held = (first.hold(), second.hold());
    assert_eq!(
        (name(&first), name(&second)),
        ("shop\n".into(), "shop-2\n".into())
    );
    assert_ne!(first.network(), second.network());
    Ok(())
}

fn every_directory_of_a_git_worktree_is_in_its_space(world: &World) -> Played {
    let (root, deep) = (world.project("shop"), world.project("shop/src/web"));
    std::fs::create_dir(root.path.join(".git")).unwrap();
    // A linked worktree has a file in this place, and is a project of its own.
    let linked = world.project("shop/linked");
    std::fs::write(
        linked.path.join(".git"),
        "gitdir: ../.git/worktrees/linked\n",
    )
    .unwrap();
    let _held = (root.hold(), linked.hold());
    assert_eq!(root.network(), deep.network());
    assert_ne!(root.network(), linked.network());
    Ok(())
}

fn runs_that_start_at_the_same_moment_share_one_space(world: &World) -> Played {
    let shop = world.project("shop");
    let script = "readlink /proc/self/ns/net; echo begun; cat";
    let mut runs: Vec<_> = (0..8).map(|_| shop.shell(script).start()).collect();
    for run in &runs {
        run.says("begun");
    }
    runs.iter_mut()
        .for_each(crate::harness::Process::close_input);
    let mut networks: Vec<_> = runs
        .into_iter()
        .map(|run| run.outcome().ended_with(0).stdout)
        .collect();
    networks.dedup();
    assert_eq!(networks.len(), 1, "{networks:?}");
    Ok(())
}

fn a_run_within_a_run_stays_in_the_space(world: &World) -> Played {
    let shop = world.project("shop");
    let binary = world.binary.to_str().unwrap();
    let script =
        format!("readlink /proc/self/ns/net; {binary} run -q -- readlink /proc/self/ns/net");
    let said = shop.shell(&script).out();
    let (outer, inner) = said.trim().split_once('\n').unwrap();
    assert_eq!(outer, inner);
    // Another space can't be entered from this one, and is not taken for this one.
    let other = shop
        .run([binary, "run", "-s", "other", "--", "true"])
        .run()
        .ended_with(3);
    assert!(other.stderr.contains("inside another space"), "{other}");
    Ok(())
}

fn a_space_keeps_its_addresses_when_it_starts_again(world: &World) -> Played {
    let shop = world.project("shop");
    let announced = || shop.wharf(["run", "--", "true"]).run().ended_with(0).stderr;
    let first = announced();
    assert!(first.starts_with("wharf: space shop · 10.77."), "{first}");
    world.is_empty_within(crate::harness::DEADLINE);
    assert_eq!(announced(), first);
    Ok(())
}
