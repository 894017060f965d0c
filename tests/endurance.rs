//! Much at once, much in a row, and nothing left of it.

use crate::harness::machine::IPV4;
use crate::harness::{Played, Process, World, await_that, scenes, traces};

scenes![
    a_thousand_connections_at_once_are_all_served,
    many_connections_one_after_another_leave_nothing_behind,
    many_runs_one_after_another_leave_nothing_behind,
    streams_in_both_directions_arrive_whole,
];

/// How many bytes a stream has: 64 MiB, or what `WHARF_TEST_BYTES` says (the full measure is 1073741824).
pub(crate) fn bytes() -> String {
    std::env::var("WHARF_TEST_BYTES").unwrap_or_else(|_| (64_u64 << 20).to_string())
}

fn streams_in_both_directions_arrive_whole(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let bytes = bytes();
    // All four at the same time: out and in, of a server outside and over the machine's loopback.
    let pairs = [
        (IPV4, IPV4, "send", "receive"),
        (IPV4, IPV4, "receive", "send"),
        ("127.0.0.1", "10.77.0.1", "send", "receive"),
        ("127.0.0.1", "10.77.0.1", "receive", "send"),
    ];
    let streams: Vec<(Process, Process)> = pairs
        .map(|(there, seen, direction, opposite)| {
            let server = world.serve(&["stream", "listen", opposite, there, "0", &bytes]);
            let port = server.line_after("ready ");
            (
                server,
                shop.peer(&["stream", "connect", direction, seen, &port, &bytes])
                    .start(),
            )
        })
        .into();
    for (server, client) in streams {
        let client = client.outcome().ended_with(0).stdout;
        assert!(server.outcome().ended_with(0).stdout.ends_with(&client));
        assert!(client.ends_with(&format!(" {bytes}\n")), "{client}");
    }
    Ok(())
}

fn a_thousand_connections_at_once_are_all_served(world: &World) -> Played {
    world.machine()?;
    let _server = world.serve(&["echo", "tcp", IPV4, "7"]);
    let shop = world.project("shop");
    let _held = shop.serve(&["echo", "tcp", "127.0.0.1", "1"]);
    let daemon = world.daemon().expect("it runs");
    // A few files of its own it may open meanwhile, such as its history.
    let limit = traces::size(daemon).0 + 10;
    // Each takes a descriptor of its own in the client, where the limit is the user's.
    let crowd = shop
        .shell("ulimit -n $(ulimit -Hn); exec \"$@\"")
        .words(["sh", "python3", "-c"]);
    let crowd = crowd
        .word(crate::harness::peer::SOURCE)
        .words(["crowd", IPV4, "7", "1000"]);
    let out = crowd.out();
    assert!(out.starts_with("answer: 1000 of 1000\n"), "{out}");
    await_that("their descriptors are given back", || {
        (traces::size(daemon).0 <= limit).then_some(())
    });
    Ok(())
}

fn many_connections_one_after_another_leave_nothing_behind(world: &World) -> Played {
    world.machine()?;
    let _server = world.serve(&["echo", "tcp", IPV4, "7"]);
    let shop = world.project("shop");
    // It listens, so the daemon has all that it will ever have of this run.
    let _held = shop.serve(&["echo", "tcp", "127.0.0.1", "1"]);
    let daemon = world.daemon().expect("it runs");
    let a_thousand = || {
        shop.fares(&["queue", IPV4, "7", "1000"])
            .is("answer: 1000 of 1000");
    };
    // The first thousand fill what is kept for reuse.
    a_thousand();
    let settled = |limit: usize| {
        await_that("descriptors are given back", || {
            Some(traces::size(daemon)).filter(|size| size.0 <= limit)
        })
    };
    let (descriptors, memory) = settled(usize::MAX);
    for _ in 0..10 {
        a_thousand();
    }
    let (_, later) = settled(descriptors);
    // 10,000 connections that were kept would be more: a socket alone has hundreds of bytes, its buffers thousands.
    let limit = memory + (4 << 20);
    assert!(
        later < limit,
        "the daemon has grown from {memory} to {later} bytes"
    );
    Ok(())
}

fn many_runs_one_after_another_leave_nothing_behind(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _held = shop.serve(&["echo", "tcp", "127.0.0.1", "1"]);
    blog.run(["true"]).run().ended_with(0);
    let daemon = world.daemon().expect("it runs");
    await_that("only one space is left", || {
        (world.keepers().len() == 1).then_some(())
    });
    // A few files of its own it may open meanwhile, such as its history.
    let limit = traces::size(daemon).0 + 10;
    for _ in 0..20 {
        // One joins, one makes a space and ends it.
        shop.run(["true"]).run().ended_with(0);
        blog.run(["true"]).run().ended_with(0);
    }
    await_that("only one space is left", || {
        (world.keepers().len() == 1).then_some(())
    });
    await_that("descriptors are given back", || {
        (traces::size(daemon).0 <= limit).then_some(())
    });
    Ok(())
}
