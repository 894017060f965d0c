//! Binding through the table: seen at once, whatever the program is, and to the program as if nothing were there.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::events::Events;
use crate::harness::world::Project;
use crate::harness::{Played, Skipped, World, aloud, await_that, kill, scenes};

scenes![
    a_bind_that_no_filter_sees_is_found_by_the_comparison,
    a_socket_of_multipath_tcp_is_one_row_from_its_bind_to_its_end,
    where_the_filter_is_refused_ports_are_listed_all_the_same,
    a_daemonised_program_binds_without_its_run_and_without_a_daemon,
    a_namespace_inside_a_space_is_none_of_the_tables_business,
    a_port_that_the_kernel_chose_is_known_at_once,
    a_program_in_go_binds_as_ever,
    a_program_with_threads_binds_as_ever,
    binds_through_the_calls_of_older_programs_are_seen,
    bound_listening_and_released_are_told_in_that_order,
    errors_are_those_of_the_kernel,
    nginx_shares_one_port_among_its_workers,
    node_binds_as_ever,
    programs_that_hold_one_port_together_are_told_apart_from_its_end,
    signals_lose_no_bind,
    the_time_of_a_listener_is_that_of_its_listen,
    while_the_daemon_is_killed_again_and_again_no_bind_fails,
];

/// What kinds of event come about a port, up to that one.
fn kinds_until(events: &mut Events, port: u16, last: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        let event = events.about(port);
        let kind = event["event"].as_str().unwrap().to_owned();
        let found = kind == last;
        kinds.push(kind);
        if found {
            return kinds;
        }
    }
}

fn bound_listening_and_released_are_told_in_that_order(world: &World) -> Played {
    let shop = world.project("shop");
    let mut held = shop.hold();
    let mut events = Events::follow(world);
    let mut server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let bound = events.about(3000);
    let program = server.program();
    assert_eq!(bound["event"], "bound");
    assert_eq!(bound["space"], "shop");
    assert_eq!(bound["protocol"], "tcp");
    assert_eq!(bound["address"], "127.0.0.1");
    assert_eq!(bound["source"], "call");
    assert_eq!(bound["program"]["pid"], program.as_raw_pid());
    assert_eq!(bound["program"]["directory"], shop.path.to_str().unwrap());
    let listening = events.about(3000);
    assert_eq!(listening["event"], "listening");
    server.close_input();
    server.outcome().ended_with(0);
    let released = events.about(3000);
    assert_eq!(released["event"], "released");
    for event in [&listening, &released] {
        assert_eq!(event["socket"], bound["socket"]);
        assert_eq!(event["program"], bound["program"]);
    }
    let mut datagrams = shop.serve(&["listen", "udp", "::1", "3000"]);
    assert_eq!(events.about(3000)["protocol"], "udp");
    datagrams.close_input();
    assert_eq!(events.about(3000)["event"], "released");
    held.close_input();
    Ok(())
}

fn a_port_that_the_kernel_chose_is_known_at_once(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let mut events = Events::follow(world);
    for protocol in ["tcp", "udp"] {
        let server = shop.peer(&["listen", protocol, "127.0.0.1", "0"]).start();
        let port = server.line_after("ready").parse().unwrap();
        let bound = events.about(port);
        assert_eq!(
            (&bound["event"], &bound["protocol"]),
            (&"bound".into(), &protocol.into())
        );
    }
    Ok(())
}

fn the_time_of_a_listener_is_that_of_its_listen(world: &World) -> Played {
    const SCRIPT: &str = "
import socket, sys
sock = socket.socket()
sock.bind(('127.0.0.1', 3000))
print('bound', flush=True)
sys.stdin.readline()
sock.listen()
print('listens', flush=True)
sys.stdin.readline()
";
    let shop = world.project("shop");
    let mut server = shop.run(["python3", "-c", SCRIPT]).start();
    server.says("bound");
    assert_eq!(world.listeners(), Vec::<Value>::new());
    let mut events = Events::follow(world);
    server.write(b"\n");
    server.says("listens");
    let listening = events.about(3000);
    assert_eq!(listening["event"], "listening");
    let listener = &world.listeners()[0];
    assert_eq!(listener["since"], listening["at"]);
    assert_eq!(listener["since_from"], "socket");
    // Written without the zeros at their end, times are no words to compare.
    let time = |said: &Value| said.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(
        time(&listener["since"]) > time(&listener["programs"][0]["started"]),
        "{listener}"
    );
    Ok(())
}

fn a_program_with_threads_binds_as_ever(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    assert_eq!(
        shop.run([program.as_os_str()])
            .word("threads")
            .word("8")
            .out(),
        "0 failed\n"
    );
    match world.in_c(&["-m32"]) {
        Ok(program) => {
            let run = shop.run([program.as_os_str()]).word("threads").word("8");
            assert_eq!(run.out(), "0 failed\n");
        }
        Err(Skipped(why)) => aloud(&format!("a part of a scene is skipped: {why}")),
    }
    Ok(())
}

fn binds_through_the_calls_of_older_programs_are_seen(world: &World) -> Played {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(Skipped("this machine has no such calls".into()));
    }
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let mut events = Events::follow(world);
    let run = shop
        .wharf(["run", "--"])
        .word(program)
        .words(["old-calls", "3000"])
        .start();
    assert_eq!(run.line_after("results:"), "0 0 0 0 -98");
    assert_eq!(
        kinds_until(&mut events, 3000, "listening"),
        ["bound", "listening"]
    );
    assert_eq!(
        kinds_until(&mut events, 3001, "listening"),
        ["bound", "listening"]
    );
    let conflict = events.about(3000);
    assert_eq!(
        (&conflict["event"], &conflict["source"]),
        (&"conflict".into(), &"call".into())
    );
    run.warns("address already in use");
    Ok(())
}

const GO: &str = r#"
package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"time"
)

// Preempted by signals all the time, as Go does with what runs long.
func spin() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		runtime.Gosched()
	}
}

func main() {
	for i := 0; i < 2*runtime.NumCPU(); i++ {
		go spin()
	}
	for i := 0; i < 300; i++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println("failed:", err)
			return
		}
		listener.Close()
	}
	listener, err := net.Listen("tcp", ":3000")
	_, again := net.Listen("tcp", ":3000")
	fmt.Println("held:", listener.Addr(), err, errors.Is(again, syscall.EADDRINUSE))
	listener.Accept()
}
"#;

fn a_program_in_go_binds_as_ever(world: &World) -> Played {
    let program = world.in_go(GO)?;
    let shop = world.project("shop");
    let run = shop.wharf(["run", "--"]).word(program).start();
    assert_eq!(run.line_after("held:"), "[::]:3000 <nil> true");
    run.warns("address already in use");
    let listener = &world.listeners()[0];
    assert_eq!(
        (&listener["port"], &listener["since_from"]),
        (&3000.into(), &"socket".into())
    );
    Ok(())
}

fn node_binds_as_ever(world: &World) -> Played {
    const SCRIPT: &str = "
const net = require('net');
const first = net.createServer().listen(3000, () => {
  const second = net.createServer();
  second.on('error', error => console.log('second:', error.code));
  second.listen(3000);
});
";
    world.needs("node")?;
    let shop = world.project("shop");
    let run = shop.wharf(["run", "--", "node", "-e", SCRIPT]).start();
    assert_eq!(run.line_after("second:"), "EADDRINUSE");
    run.warns("node (pid ");
    assert_eq!(world.listeners()[0]["since_from"], "socket");
    Ok(())
}

fn nginx_shares_one_port_among_its_workers(world: &World) -> Played {
    let nginx = world.needs("nginx")?;
    let shop = world.project("shop");
    let path = shop.path.display();
    let configuration = format!(
        "daemon off; worker_processes 3; pid {path}/pid; error_log stderr;
         events {{ worker_connections 64; }}
         http {{ access_log off; client_body_temp_path {path}/a; proxy_temp_path {path}/b;
           fastcgi_temp_path {path}/c; uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;
           server {{ listen 8000 reuseport; return 200 'of nginx'; }} }}"
    );
    std::fs::write(shop.path.join("conf"), configuration).unwrap();
    let _held = shop.hold();
    let mut events = Events::follow(world);
    let server = shop
        .run([nginx.as_os_str()])
        .words(["-p", ".", "-c", "conf"])
        .start();
    let mut sockets = Vec::new();
    while sockets.len() < 3 {
        let event = events.about(8000);
        assert_ne!(event["event"], "conflict", "{event}");
        if event["event"] == "listening" {
            assert!(
                !sockets.contains(&event["socket"]),
                "listening twice: {event}"
            );
            sockets.push(event["socket"].clone());
        }
    }
    let listener = &world.listeners()[0];
    assert_eq!(listener["since_from"], "socket");
    server.signal(Signal::TERM);
    for _ in 0..3 {
        assert_eq!(kinds_until(&mut events, 8000, "released"), ["released"]);
    }
    Ok(())
}

fn signals_lose_no_bind(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let run = shop.run([program.as_os_str()]).words(["signals", "2000"]);
    assert_eq!(run.out(), "0 failed\n");
    Ok(())
}

fn while_the_daemon_is_killed_again_and_again_no_bind_fails(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let run = shop
        .run([program.as_os_str()])
        .words(["storm", "20000"])
        .start();
    run.says("begun");
    for _ in 0..5 {
        let daemon = await_that("a daemon runs", || world.daemon());
        // It has the space again, so the binds arrive there.
        await_that("it answers", || {
            let listed = world.wharf(["ls"]).run();
            (listed.code() <= 1).then_some(())
        });
        // It may be one that found another before it, and ended.
        kill_process(daemon, Signal::KILL).ok();
    }
    assert_eq!(run.line_after("begun\n"), "0 failed");
    // The last one tidies up.
    await_that("a daemon runs", || world.daemon());
    Ok(())
}

/// Leaves its run, as daemons do, and binds to a port whenever its file appears.
const DAEMONISED: &str = "
import os, socket, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.close(0), os.close(1), os.close(2)
held = []
for port in (3000, 3001, 3002):
    while not os.path.exists(f'want-{port}'):
        time.sleep(0.01)
    sock = socket.socket()
    sock.bind(('127.0.0.1', port))
    sock.listen()
    held.append(sock)
    os.rename(f'want-{port}', f'has-{port}')
time.sleep(1000)
";

fn a_daemonised_program_binds_without_its_run_and_without_a_daemon(world: &World) -> Played {
    let shop = world.project("shop");
    shop.run(["python3", "-c", DAEMONISED]).run().ended_with(0);
    let has = |shop: &Project<'_>, port: u16| {
        std::fs::File::create(shop.path.join(format!("want-{port}"))).unwrap();
        world.own(&shop.path.join(format!("want-{port}")));
        await_that("it has the port", || {
            shop.path.join(format!("has-{port}")).exists().then_some(())
        });
    };
    has(&shop, 3000);
    let listed = |world: &World| -> Vec<(Value, Value)> {
        let listeners = world.listeners().into_iter();
        listeners
            .map(|listener| (listener["port"].clone(), listener["since_from"].clone()))
            .collect()
    };
    assert_eq!(listed(world), [(3000.into(), "socket".into())]);
    await_that("it is kept in the history", || {
        let kept = world.wharf(["events", "--no-follow"]).run().stdout;
        kept.contains("listening  tcp/127.0.0.1:3000").then_some(())
    });
    let since = world.listeners()[0]["since"].clone();
    kill(world.daemon().expect("it runs"));
    // Nobody starts another one; the keeper lets the bind pass.
    has(&shop, 3001);
    // This starts one, which finds what was bound without it, and sees what is bound from now on.
    let refused = shop.peer(&["listen", "tcp", "127.0.0.1", "3001"]).run();
    assert_ne!(refused.code(), 0, "{refused}");
    has(&shop, 3002);
    let expected = [(3000, "socket"), (3001, "program"), (3002, "socket")];
    let expected = expected.map(|(port, from)| (port.into(), from.into()));
    assert_eq!(listed(world), expected);
    assert_eq!(world.listeners()[0]["since"], since);
    // The new daemon doesn't tell again what the former one told.
    let told = world.wharf(["events", "--no-follow"]).out();
    assert_eq!(
        told.matches("listening  tcp/127.0.0.1:3000").count(),
        1,
        "{told}"
    );
    world.wharf(["stop", "--all"]).run().ended_with(0);
    world.is_empty_within(Duration::from_secs(10));
    Ok(())
}

fn programs_that_hold_one_port_together_are_told_apart_from_its_end(world: &World) -> Played {
    // The parent binds and ends; its child holds the socket on.
    const SCRIPT: &str = "
import os, socket, sys
sock = socket.socket()
sock.bind(('127.0.0.1', 3000))
sock.listen()
os.set_inheritable(sock.fileno(), True)
os.spawnvp(os.P_NOWAIT, 'sh', ['sh', '-c', 'echo child; read line < wait'])
";
    let shop = world.project("shop");
    let pipe = shop.path.join("wait");
    world.program("mkfifo").word(&pipe).run().ended_with(0);
    let _held = shop.hold();
    let mut events = Events::follow(world);
    let parent = shop.run(["python3", "-c", SCRIPT]).start();
    parent.says("child");
    assert_eq!(
        kinds_until(&mut events, 3000, "listening"),
        ["bound", "listening"]
    );
    let listener = await_that("only the child holds it", || {
        let listener = world.listeners().into_iter().next()?;
        (listener["programs"][0]["program"] != "python3").then_some(listener)
    });
    assert_eq!(listener["since_from"], "socket");
    std::fs::write(&pipe, "go\n").unwrap();
    assert_eq!(events.about(3000)["event"], "released");
    Ok(())
}

fn a_namespace_inside_a_space_is_none_of_the_tables_business(world: &World) -> Played {
    const SCRIPT: &str = "
import socket
sock = socket.socket()
sock.bind(('0.0.0.0', 3000))
sock.listen()
print('inner listens', flush=True)
";
    world.needs("unshare")?;
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let before = world.listeners();
    let mut events = Events::follow(world);
    let inner = shop
        .run([
            "unshare",
            "--map-root-user",
            "--net",
            "python3",
            "-c",
            SCRIPT,
        ])
        .run();
    if inner.stderr.contains("unshare failed") {
        return Err(Skipped(inner.stderr));
    }
    assert_eq!(inner.stdout, "inner listens\n", "{inner}");
    let _marker = shop.serve(&["listen", "tcp", "127.0.0.1", "4000"]);
    assert_eq!(
        events.next()["port"],
        4000,
        "of the inner one, nothing was told"
    );
    assert_eq!(world.listeners()[..1], before);
    Ok(())
}

fn errors_are_those_of_the_kernel(world: &World) -> Played {
    const SCRIPT: &str = "
import ctypes, errno, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def fares(what, sock, address, length):
    ctypes.set_errno(0)
    result = libc.bind(sock if isinstance(sock, int) else sock.fileno(), address, length)
    print(what, result, errno.errorcode.get(ctypes.get_errno(), 0))
def address(family=socket.AF_INET, host='127.0.0.1', port=3000):
    return struct.pack('=H', family) + struct.pack('!H', port) + socket.inet_aton(host) + bytes(8)
tcp, tcp6 = (socket.socket(family) for family in (socket.AF_INET, socket.AF_INET6))
bad = ctypes.c_void_p(8)
fares('closed', 99, address(), 16)
fares('no socket', os.open('/dev/null', os.O_RDONLY), address(), 16)
fares('bad pointer', tcp, bad, 16)
for length in (0, 2, 15, 17, 128, 129, 500, -1):
    fares(f'length {length}', socket.socket(), address() + bytes(500), length)
fares('family', socket.socket(), address(family=99), 16)
fares('unspecified', socket.socket(), address(family=0), 16)
fares('short', tcp6, address(family=socket.AF_INET6), 16)
fares('not ours', socket.socket(), address(host='198.51.100.7'), 16)
fares('well', tcp, address(), 16)
fares('twice', tcp, address(port=3001), 16)
fares('taken', socket.socket(), address(), 16)
udp = socket.socket(type=socket.SOCK_DGRAM)
print('listen', libc.listen(udp.fileno(), 8), libc.listen(99, 8), libc.listen(tcp.fileno(), -1))
unix = socket.socket(socket.AF_UNIX)
unix.bind('here')
unix.listen()
os.unlink('here')
abstract = socket.socket(socket.AF_UNIX)
abstract.bind('\\0wharf-test-' + str(os.getpid()))
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
netlink.bind((0, 0))
print('local', abstract.getsockname()[:12], netlink.getsockname()[1])
";
    let shop = world.project("shop");
    let inside = shop.run(["python3", "-c", SCRIPT]).out();
    let machine = world.machine();
    let outside = match machine {
        Ok(_) => world
            .line(&shop.path, "python3")
            .words(["-c", SCRIPT])
            .out(),
        Err(Skipped(why)) => return Err(Skipped(why)),
    };
    let without_number = |said: &str| {
        said.trim_end()
            .trim_end_matches(|end: char| end.is_ascii_digit())
            .to_owned()
    };
    assert_eq!(without_number(&inside), without_number(&outside));
    assert!(inside.contains("bad pointer -1 EFAULT\n"), "{inside}");
    assert!(inside.contains("taken -1 EADDRINUSE\n"), "{inside}");
    Ok(())
}

fn a_bind_that_no_filter_sees_is_found_by_the_comparison(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let mut events = Events::follow(world);
    let server = shop
        .run([program.as_os_str()])
        .words(["uring", "3000"])
        .start();
    server.says("\n");
    let skipped = "skipped: ";
    if server.stdout_so_far().starts_with(skipped) {
        return Err(Skipped(server.stdout_so_far()));
    }
    let found = events.about(3000);
    assert_eq!(
        (&found["event"], &found["source"]),
        (&"bound".into(), &"dump".into())
    );
    assert_eq!(found["program"]["pid"], server.program().as_raw_pid());
    assert_eq!(events.about(3000)["event"], "listening");
    kill(server.program());
    assert_eq!(events.about(3000)["event"], "released");
    Ok(())
}

fn a_socket_of_multipath_tcp_is_one_row_from_its_bind_to_its_end(world: &World) -> Played {
    const SCRIPT: &str = "
import errno, socket, sys
try:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError as error:
    print('skipped: MPTCP:', error.strerror, flush=True)
    sys.exit()
sock.bind(('127.0.0.1', 3000))
sock.listen()
again = socket.socket()
try:
    again.bind(('127.0.0.1', 3000))
except OSError as error:
    print('again:', errno.errorcode[error.errno], flush=True)
sys.stdin.readline()
";
    let shop = world.project("shop");
    let mut held = shop.hold();
    let mut events = Events::follow(world);
    let mut server = shop.wharf(["run", "--", "python3", "-c", SCRIPT]).start();
    let said = server.line_that(|line| Some(line.to_owned()));
    if said.starts_with("skipped") {
        return Err(Skipped(said));
    }
    assert_eq!(said, "again: EADDRINUSE");
    let kinds = kinds_until(&mut events, 3000, "conflict");
    assert_eq!(kinds, ["bound", "listening", "conflict"]);
    server.warns("that is the very program that asks");
    for _ in 0..3 {
        let listeners = world.listeners();
        assert_eq!(listeners.len(), 1, "{listeners:?}");
        assert_eq!(listeners[0]["since_from"], "socket");
        assert_eq!(
            listeners[0]["programs"][0]["pid"],
            server.program().as_raw_pid()
        );
    }
    server.close_input();
    server.outcome().ended_with(0);
    assert_eq!(kinds_until(&mut events, 3000, "released"), ["released"]);
    assert_eq!(world.listeners(), Vec::<Value>::new());
    // Told once: what is next is of another port.
    let _marker = shop.serve(&["listen", "tcp", "127.0.0.1", "4000"]);
    assert_eq!(events.next()["port"], 4000);
    held.close_input();
    Ok(())
}

fn where_the_filter_is_refused_ports_are_listed_all_the_same(world: &World) -> Played {
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let mut events = Events::follow(world);
    let watched = |words: &[&str]| {
        let line = world.line(&shop.path, &program).word("watched");
        let line = line.word(&world.binary).words(["run", "--"]);
        line.words(["python3", "-c", crate::harness::peer::SOURCE])
            .words(words)
    };
    let server = watched(&["listen", "tcp", "127.0.0.1", "3000"]).start();
    let said = server.line_that(|line| Some(line.to_owned()));
    if said.starts_with("skipped") {
        return Err(Skipped(said));
    }
    assert_eq!(said, "ready 3000");
    server.warns("binds can't be watched here (Device or resource busy");
    let found = events.about(3000);
    assert_eq!(found["source"], "dump");
    assert_eq!(found["program"]["pid"], server.program().as_raw_pid());
    shop.wharf(["wait", ".:3000"]).run().ended_with(0);
    // Who comes next is refused as ever, watched or not.
    let again = watched(&["listen", "tcp", "127.0.0.1", "3000"]).run();
    assert!(
        again.stderr.contains("[Errno 98] Address already in use"),
        "{again}"
    );
    let seen = shop.wharf(["run", "--", "python3", "-c", crate::harness::peer::SOURCE]);
    let seen = seen.words(["listen", "tcp", "127.0.0.1", "3000"]).run();
    let holder = format!("(pid {})", server.program().as_raw_pid());
    assert!(
        seen.stderr.contains("address already in use in space shop"),
        "{seen}"
    );
    assert!(seen.stderr.contains(&holder), "{seen}");
    kill(server.program());
    assert_eq!(
        kinds_until(&mut events, 3000, "released").last().unwrap(),
        "released"
    );
    Ok(())
}
