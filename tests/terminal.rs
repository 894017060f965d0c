//! In a terminal: keys, job control, size, and what a shell makes of it.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::harness::terminal::{CTRL_BACKSLASH, CTRL_C, CTRL_Z, Terminal};
use crate::harness::{Played, Skipped, World, await_that, scenes, traces};

scenes![
    a_closed_terminal_ends_what_ran_in_it,
    a_program_inside_has_the_terminal_and_its_size,
    an_interactive_shell_inside_controls_its_own_jobs,
    ctrl_c_reaches_the_program_once,
    ctrl_z_stops_the_run_and_fg_resumes_it,
    the_daemon_does_not_hold_the_terminal,
];

/// After how long a key that had no effect is pressed again.
const AGAIN: Duration = Duration::from_secs(3);

/// A terminal with an interactive shell in a project's directory, which is `shop`; `w` runs a program in its space.
fn shell(world: &World) -> Result<Terminal, Skipped> {
    world.needs("bash")?;
    let shop = world.project("shop");
    let binary = world.binary.to_str().unwrap().to_owned();
    let mut terminal = Terminal::open(world, |line| {
        line.words(["bash", "--norc", "--noprofile", "-i"])
    })?;
    // What is awaited must not be in what was typed, which the terminal shows as well: hence the quotes.
    terminal.types(&format!(
        "cd {}; w() {{ {binary} run -q -- \"$@\"; }}; echo be'gun'\n",
        shop.path.display()
    ));
    terminal.shows("begun");
    Ok(terminal)
}

fn ctrl_c_reaches_the_program_once(world: &World) -> Played {
    let mut terminal = shell(world)?;
    let peer = world.project("shop").path.join("peer.py");
    std::fs::write(&peer, crate::harness::peer::SOURCE).unwrap();
    terminal.types("w python3 peer.py signals\n");
    terminal.shows("ready");
    terminal.types(CTRL_C);
    terminal.shows("got SIGINT");
    terminal.types(CTRL_BACKSLASH);
    terminal.shows("got SIGQUIT");
    terminal.types("\n");
    terminal.shows("caught: SIGINT=1 SIGQUIT=1");
    terminal.types("w sleep 1000; echo status'='$?.\n");
    await_that("sleep has begun", || {
        world
            .traces()
            .iter()
            .any(|trace| trace.words == ["sleep", "1000"])
            .then_some(())
    });
    terminal.types(CTRL_C);
    assert_eq!(terminal.number_after("status="), 130);
    terminal.types("exit 0\n");
    assert_eq!(terminal.ended(), 0);
    Ok(())
}

fn ctrl_z_stops_the_run_and_fg_resumes_it(world: &World) -> Played {
    let mut terminal = shell(world)?;
    terminal.types("w sh -c 'echo pid'='$$.; read word; echo heard $word; exit 9'\n");
    let program = rustix::process::Pid::from_raw(terminal.number_after("pid=")).unwrap();
    for round in ["first", "second"] {
        // A key that is pressed in the moment in which the program goes on may meet the signal that has it go on.
        let mut pressed = None;
        await_that("the program is stopped", || {
            if pressed.is_none_or(|at: Instant| at.elapsed() > AGAIN) {
                terminal.types(CTRL_Z);
                pressed = Some(Instant::now());
            }
            traces::is_stopped(program).then_some(())
        });
        terminal.types(&format!(
            "jobs | grep -c Stopped | sed s/^/{round}=/; fg > /dev/null\n"
        ));
        assert_eq!(terminal.number_after(&format!("{round}=")), 1);
        await_that("the program goes on", || {
            (!traces::is_stopped(program)).then_some(())
        });
    }
    terminal.types("you\n");
    terminal.shows("heard you");
    terminal.types("echo status'='$?.\n");
    assert_eq!(terminal.number_after("status="), 9);
    terminal.types("exit 0\n");
    assert_eq!(terminal.ended(), 0);
    Ok(())
}

fn a_program_inside_has_the_terminal_and_its_size(world: &World) -> Played {
    let mut terminal = shell(world)?;
    terminal.resize(77, 33);
    terminal.types("w sh -c 'tty; : < /dev/tty && stty size'\n");
    terminal.shows("/dev/pts/");
    terminal.shows("33 77");
    terminal.types("exit 0\n");
    assert_eq!(terminal.ended(), 0);
    Ok(())
}

fn an_interactive_shell_inside_controls_its_own_jobs(world: &World) -> Played {
    let mut terminal = shell(world)?;
    terminal.types("w env PS1=in'ner: ' bash --norc --noprofile -i\n");
    terminal.shows("inner: ");
    terminal.types("echo in'side' $WHARF_SPACE\n");
    terminal.shows("inside shop");
    terminal.types("sleep 1000\n");
    let sleep = await_that("sleep has begun", || {
        let traces = world.traces();
        traces
            .iter()
            .find(|trace| trace.words == ["sleep", "1000"])
            .map(|trace| trace.pid)
    });
    terminal.types(CTRL_Z);
    await_that("sleep is stopped", || {
        traces::is_stopped(sleep).then_some(())
    });
    // The shell inside is not: it answers.
    terminal.types("fg; echo status'='$?.\n");
    await_that("sleep goes on", || {
        (!traces::is_stopped(sleep)).then_some(())
    });
    kill_process(sleep, Signal::TERM).unwrap();
    assert_eq!(terminal.number_after("status="), 143);
    terminal.types("exit 5\n");
    terminal.types("echo left'='$?.\n");
    assert_eq!(terminal.number_after("left="), 5);
    terminal.types("exit 0\n");
    assert_eq!(terminal.ended(), 0);
    Ok(())
}

fn a_closed_terminal_ends_what_ran_in_it(world: &World) -> Played {
    let mut terminal = shell(world)?;
    terminal.types("w sleep 1000\n");
    await_that("sleep has begun", || {
        world
            .traces()
            .iter()
            .any(|trace| trace.words == ["sleep", "1000"])
            .then_some(())
    });
    drop(terminal);
    world.is_empty_within(crate::harness::DEADLINE);
    Ok(())
}

fn the_daemon_does_not_hold_the_terminal(world: &World) -> Played {
    let mut terminal = shell(world)?;
    // A program that stays, and with it the daemon, when the terminal closes.
    terminal.types(
        "w setsid -f sh -c 'echo > stays; exec cat' < /dev/zero > /dev/null 2>&1; echo do'ne'\n",
    );
    terminal.shows("done");
    terminal.types("exit 0\n");
    assert_eq!(terminal.ended(), 0);
    assert_eq!(world.keepers().len(), 1);
    for pid in world.daemon().into_iter().chain(world.keepers()) {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid()))
            .into_iter()
            .flatten()
            .flatten();
        let targets =
            descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
        let terminals: Vec<_> = targets
            .filter(|target| target.starts_with("/dev/pts"))
            .collect();
        assert!(terminals.is_empty(), "{pid:?} holds {terminals:?}");
    }
    Ok(())
}
