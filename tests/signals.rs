//! Signals that are sent to `wharf run` reach its program, once.

use rustix::process::Signal;

use crate::harness::{Played, Process, World, scenes};

scenes![
    a_program_that_ignores_a_signal_goes_on,
    each_signal_sent_to_the_run_reaches_the_program_once,
    nohup_keeps_the_program_from_hanging_up,
    sigterm_ends_the_program_and_the_run_as_it_ended,
    the_program_ends_when_sigstop_and_sigcont_are_over,
];

fn each_signal_sent_to_the_run_reaches_the_program_once(world: &World) -> Played {
    let shop = world.project("shop");
    let mut program = shop.serve(&["signals"]);
    let sent = [
        (Signal::INT, "SIGINT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::HUP, "SIGHUP"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::WINCH, "SIGWINCH"),
    ];
    for (signal, name) in sent {
        program.signal(signal);
        program.says(&format!("got {name}\n"));
    }
    program.write(b"\n");
    let outcome = program.outcome().ended_with(0);
    let mut names = sent.map(|(_, name)| format!("{name}=1"));
    names.sort();
    assert!(
        outcome
            .stdout
            .contains(&format!("caught: {}\n", names.join(" "))),
        "{outcome}"
    );
    Ok(())
}

fn sigterm_ends_the_program_and_the_run_as_it_ended(world: &World) -> Played {
    let shop = world.project("shop");
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let run = shop.hold();
        run.signal(signal);
        run.outcome().ended_with(status);
    }
    Ok(())
}

fn a_program_that_ignores_a_signal_goes_on(world: &World) -> Played {
    let shop = world.project("shop");
    let mut run = shop.shell("trap '' TERM; echo deaf; cat; exit 7").start();
    run.says("deaf");
    run.signal(Signal::TERM);
    run.write(b"still here\n");
    run.says("still here");
    run.close_input();
    run.outcome().ended_with(7);
    Ok(())
}

fn nohup_keeps_the_program_from_hanging_up(world: &World) -> Played {
    let shop = world.project("shop");
    let binary = world.binary.to_str().unwrap();
    let mut run = world
        .line(&shop.path, "nohup")
        .words([binary, "run", "-q", "--", "sh", "-c", "echo held; exec cat"])
        .start();
    run.says("held");
    run.signal(Signal::HUP);
    run.write(b"still here\n");
    run.says("still here");
    run.close_input();
    run.outcome().ended_with(0);
    Ok(())
}

fn the_program_ends_when_sigstop_and_sigcont_are_over(world: &World) -> Played {
    use crate::harness::traces::is_stopped;
    let shop = world.project("shop");
    let mut run: Process = shop.hold();
    let program = run.program();
    // Whoever stops the program stops the run, so that its shell hears of it.
    rustix::process::kill_process(program, Signal::STOP).unwrap();
    crate::harness::await_that("both are stopped", || {
        (is_stopped(program) && is_stopped(run.pid())).then_some(())
    });
    rustix::process::kill_process(program, Signal::CONT).unwrap();
    run.signal(Signal::CONT);
    run.write(b"goes on\n");
    run.says("goes on");
    run.close_input();
    run.outcome().ended_with(0);
    Ok(())
}
