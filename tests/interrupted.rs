//! In the middle of a bind: programs are ended, become others, and lose whoever performs their binds.

use std::fs;

use rustix::process::{Signal, kill_process};

use crate::harness::{DEADLINE, Played, Project, World, await_that, kill, scenes, traces};

scenes![
    a_bind_that_waits_is_ended_by_ctrl_c_and_by_kill,
    a_program_becomes_another_while_a_thread_of_it_binds,
    programs_killed_in_a_storm_of_binds_leave_their_ports_free,
    without_daemon_and_keeper_a_daemonised_program_binds,
    without_daemon_and_keeper_a_program_of_a_run_binds,
    without_daemon_and_keeper_no_bind_of_a_storm_fails_or_hangs,
];

/// Binds to a port whenever its file appears; leaves its run first if it is to.
const BINDER: &str = "
import os, socket, sys, time
if sys.argv[1] == 'daemon':
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(0), os.close(1), os.close(2)
held = []
while True:
    for port in range(3000, 3006):
        if os.path.exists(f'want-{port}'):
            sock = socket.socket()
            try:
                sock.bind(('127.0.0.1', port))
                sock.listen()
                said = 'well'
            except OSError as error:
                said = error.strerror
            held.append(sock)
            with open(f'told-{port}', 'w') as told:
                told.write(said)
            os.remove(f'want-{port}')
    time.sleep(0.01)
";

/// How the program fares with this port.
#[track_caller]
fn binds(shop: &Project<'_>, port: u16) -> String {
    let want = shop.path.join(format!("want-{port}"));
    fs::File::create(&want).unwrap();
    shop.world.own(&want);
    await_that("it has tried", || (!want.exists()).then_some(()));
    fs::read_to_string(shop.path.join(format!("told-{port}"))).unwrap()
}

fn without_daemon_and_keeper_a_program_of_a_run_binds(world: &World) -> Played {
    let shop = world.project("shop");
    let run = shop
        .wharf(["run", "--", "python3", "-c", BINDER, "stay"])
        .start();
    assert_eq!(binds(&shop, 3000), "well");
    kill(world.keepers()[0]);
    assert_eq!(binds(&shop, 3001), "well");
    kill(world.daemon().expect("it runs"));
    run.warns("goes on without a network");
    assert_eq!(binds(&shop, 3002), "well");
    assert_eq!(binds(&shop, 3000), "Address already in use");
    // Nobody knows it any more, but it can be ended.
    run.signal(Signal::TERM);
    run.outcome().ended_with(143);
    // The other way round.
    let run = shop
        .wharf(["run", "--", "python3", "-c", BINDER, "stay"])
        .start();
    assert_eq!(binds(&shop, 3000), "well");
    run.signal(Signal::STOP);
    kill(world.daemon().expect("it runs"));
    kill(world.keepers()[0]);
    run.signal(Signal::CONT);
    assert_eq!(binds(&shop, 3001), "well");
    run.signal(Signal::TERM);
    run.outcome().ended_with(143);
    Ok(())
}

fn without_daemon_and_keeper_a_daemonised_program_binds(world: &World) -> Played {
    for keeper_first in [true, false] {
        let shop = world.project(if keeper_first { "shop" } else { "blog" });
        shop.run(["python3", "-c", BINDER, "daemon"])
            .run()
            .ended_with(0);
        assert_eq!(binds(&shop, 3000), "well");
        let (keeper, daemon) = (world.keepers()[0], world.daemon().expect("it runs"));
        if keeper_first {
            kill(keeper);
            assert_eq!(binds(&shop, 3001), "well");
            kill(daemon);
        } else {
            kill(daemon);
            assert_eq!(binds(&shop, 3001), "well");
            kill(keeper);
        }
        assert_eq!(binds(&shop, 3002), "well");
        let is_it = |trace: &traces::Trace| {
            trace.words.iter().any(|word| word == "daemon") && trace.words[0] == "python3"
        };
        let program = world.traces().into_iter().find(is_it).expect("it runs");
        kill(program.pid);
        // Who lets its binds pass goes with it.
        world.is_empty_within(DEADLINE);
        // The next daemon tidies up.
        shop.run(["true"]).run().ended_with(0);
        world.is_empty_within(DEADLINE);
    }
    Ok(())
}

fn without_daemon_and_keeper_no_bind_of_a_storm_fails_or_hangs(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    for _ in 0..5 {
        let run = shop
            .run([program.as_os_str()])
            .words(["storm", "20000"])
            .start();
        run.says("begun");
        kill(world.keepers()[0]);
        kill(world.daemon().expect("it runs"));
        assert_eq!(run.line_after("begun\n"), "0 failed");
        run.outcome().ended_with(0);
    }
    Ok(())
}

fn a_bind_that_waits_is_ended_by_ctrl_c_and_by_kill(world: &World) -> Played {
    const SCRIPT: &str = "
import signal, socket
signal.signal(signal.SIGINT, signal.SIG_DFL)
print('tries', flush=True)
socket.socket().bind(('127.0.0.1', 3000))
";
    let shop = world.project("shop");
    let _held = shop.hold();
    let daemon = world.daemon().expect("it runs");
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        // It serves no call meanwhile.
        let run = shop.wharf([
            "run",
            "-q",
            "--",
            "sh",
            "-c",
            "echo begun; read go; exec \"$@\"",
            "sh",
        ]);
        let mut run = run.words(["python3", "-c", SCRIPT]).start();
        run.says("begun");
        let program = run.program();
        kill_process(daemon, Signal::STOP).unwrap();
        run.write(b"\n");
        run.says("tries");
        kill_process(program, signal).unwrap();
        await_that("it has ended", || (!traces::runs(program)).then_some(()));
        kill_process(daemon, Signal::CONT).unwrap();
        run.outcome().ended_with(128 + signal.as_raw());
        // The daemon has nothing in hand that is nobody's, and goes on.
        let mut next = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
        next.close_input();
        next.outcome().ended_with(0);
    }
    assert_eq!(world.daemon(), Some(daemon));
    Ok(())
}

fn programs_killed_in_a_storm_of_binds_leave_their_ports_free(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let _held = shop.hold();
    for round in 0..20 {
        let run = shop
            .run([program.as_os_str()])
            .words(["storm", "1000000"])
            .start();
        run.says("begun");
        let signal = match round % 2 {
            0 => Signal::INT,
            _ => Signal::KILL,
        };
        kill_process(run.program(), signal).unwrap();
        run.outcome().ended_with(128 + signal.as_raw());
    }
    let fares = shop.run([program.as_os_str()]).words(["storm", "1000"]);
    assert_eq!(fares.out(), "begun\n0 failed\n");
    await_that("nothing is held any more", || {
        world.listeners().is_empty().then_some(())
    });
    Ok(())
}

fn a_program_becomes_another_while_a_thread_of_it_binds(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let run = shop.run([program.as_os_str()]).words(["becomes", "200"]);
    assert_eq!(run.out(), "0 failed\n");
    Ok(())
}
