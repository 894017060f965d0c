//! What every scene stands on: a [`World`] of its own, lines to run in it, and a look at what it leaves behind.
//!
//! - [`world`]: directories, user, names port, projects;
//! - [`process`]: running programs, with a deadline on everything that is awaited;
//! - [`peer`]: the servers and clients that scenes use, in Python;
//! - [`events`]: what the daemon tells of ports;
//! - [`machine`]: a machine made for one scene, with addresses and name servers of its own;
//! - [`program`]: test programs in C and Go;
//! - [`terminal`]: a pseudo-terminal, typed on and read;
//! - [`traces`]: the processes and namespaces that belong to a world.

pub(crate) mod events;
pub(crate) mod machine;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod terminal;
pub(crate) mod traces;
pub(crate) mod world;

use std::io::Write;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use process::Process;
pub(crate) use world::{Project, User, World};

/// How long anything may take before a scene fails. What works takes a small part of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How a scene ends if it doesn't fail.
pub(crate) type Played = Result<(), Skipped>;

/// Why a scene can't be played here.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// Makes two tests of each of these functions: one as root, one as an ordinary user.
macro_rules! scenes {
    ($($scene:ident),+ $(,)?) => {$(
        mod $scene {
            #[test]
            fn as_root() {
                crate::harness::play(concat!(stringify!($scene), " as root"), crate::harness::User::Root, super::$scene);
            }

            #[test]
            fn as_an_ordinary_user() {
                let name = concat!(stringify!($scene), " as an ordinary user");
                crate::harness::play(name, crate::harness::User::Ordinary, super::$scene);
            }
        }
    )+};
}
pub(crate) use scenes;

/// Plays a scene in a world of its own and looks at what is left of it.
pub(crate) fn play(name: &str, user: User, scene: fn(&World) -> Played) {
    let played = World::new(user).and_then(|world| {
        let played = scene(&world);
        world.end();
        played
    });
    if let Err(Skipped(why)) = played {
        aloud(&format!("skipped: {name}: {why}"));
    }
}

/// Says something that is to be heard. Not by eprintln, which the test runner keeps to itself.
pub(crate) fn aloud(sentence: &str) {
    let line = format!("{sentence}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Kills a process, and waits until it is no more.
#[track_caller]
pub(crate) fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
    await_that("the killed process has ended", || {
        (!traces::runs(pid)).then_some(())
    });
}

/// Waits until `look` finds what it looks for.
#[track_caller]
pub(crate) fn await_that<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    await_within(DEADLINE, what, look)
}

/// Waits until `look` finds what it looks for, no longer than `time`.
#[track_caller]
pub(crate) fn await_within<T>(
    time: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < time, "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that is free on the machine, at every address, and that no other scene gets.
pub(crate) fn free_port() -> u16 {
    // Below the range that the kernel chooses from, and from different places in test programs that run side by side.
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(367);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(start.wrapping_add(step) % u32::from(COUNT)).unwrap();
        let free = |address: &str| match std::net::TcpListener::bind((address, port)) {
            Ok(_) => std::net::UdpSocket::bind((address, port)).is_ok(),
            Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
        };
        if free("0.0.0.0") && free("::") {
            return port;
        }
    }
    panic!("every port from {FIRST} on is taken");
}
