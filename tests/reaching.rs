//! What people do all day: branches side by side in one browser, a callback to localhost:3000, a page that reloads itself,
//! uploads, databases at their usual ports, and publishing while others work.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::process::Process;
use crate::harness::{Played, Project, World, await_that, free_port, scenes};

scenes![
    a_branch_keeps_its_cookies_to_itself,
    a_callback_to_localhost_goes_where_the_focus_is,
    a_development_server_reloads_its_page_by_name,
    a_large_upload_streams_and_is_whole,
    a_page_waits_for_its_program,
    nobody_notices_that_others_publish,
    ports_are_published_as_docker_users_type_them,
    redis_is_reached_at_its_usual_port_in_two_spaces,
];

/// A web application: sets a cookie and passes on, shows the cookies it got, and what it was called back with.
const APPLICATION: &str = r#"
import http.server, sys
from urllib.parse import urlparse, parse_qs
name, port = sys.argv[1], int(sys.argv[2])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlparse(self.path)
        query = parse_qs(url.query)
        if url.path == '/login':
            self.send_response(302)
            self.send_header('Set-Cookie', f'session={name}; Path=/; Max-Age=600')
            self.send_header('Location', query['next'][0])
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        cookies = self.headers.get('Cookie', 'no cookie')
        code = query.get('code', ['none'])[0]
        body = f'<p>{name} has {cookies}, code {code}</p>'.encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Answer)
print('ready', flush=True)
server.serve_forever()
"#;

fn application(project: &Project<'_>, name: &str, port: &str) -> Process {
    let words = ["python3", "-c", APPLICATION, name, port];
    let server = project.run(words).start();
    server.says("ready");
    server
}

fn a_branch_keeps_its_cookies_to_itself(world: &World) -> Played {
    world.needs("curl")?;
    let branches = ["main", "fix-cart", "new-login"];
    let projects = branches.map(|branch| world.project(branch));
    let _servers: Vec<_> = projects
        .iter()
        .zip(branches)
        .map(|(project, branch)| application(project, branch, "3000"))
        .collect();
    let at =
        |branch: &str, path: &str| format!("http://{branch}.localhost:{}{path}", world.names_port);
    // One visit to each, in a row, ends where it began.
    let tour = branches
        .iter()
        .rev()
        .fold(at(branches[0], "/"), |next, branch| {
            format!("{}?next={next}", at(branch, "/login"))
        });
    let own = |branch: &str| format!("<p>{branch} has session={branch}, code none</p>");
    let jar = world.home().join("jar").display().to_string();
    let curl = |url: &str| {
        let words = ["-sSL", "-c", &jar, "-b", &jar, url];
        world.program("curl").words(words).out()
    };
    assert_eq!(curl(&tour), own(branches[0]));
    for branch in branches {
        assert_eq!(curl(&at(branch, "/")), own(branch));
    }
    if world.needs("chromium").is_err() {
        crate::harness::aloud("a part of a scene is skipped: there is no chromium here");
        return Ok(());
    }
    let profile = world.home().join("chromium").display().to_string();
    let words = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"];
    let browser = world.program("chromium").words(words);
    let browser = browser.word(format!("--user-data-dir={profile}"));
    let browser = browser.with("XDG_RUNTIME_DIR", &profile);
    let browser = browser.with("HOME", &profile).word(&tour);
    let page = browser.out();
    assert!(page.contains(&own(branches[0])), "{page}");
    Ok(())
}

fn a_callback_to_localhost_goes_where_the_focus_is(world: &World) -> Played {
    const PROVIDER: &str = r#"
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header('Location', 'http://localhost:3000/callback?code=42')
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(('127.0.0.1', 9000), Answer)
print('ready', flush=True)
server.serve_forever()
"#;
    world.needs("curl")?;
    world.machine()?;
    let provider = world.program("python3").words(["-c", PROVIDER]).start();
    provider.says("ready");
    let projects = ["shop", "blog"].map(|name| world.project(name));
    let _servers: Vec<_> = projects
        .iter()
        .zip(["shop", "blog"])
        .map(|(project, name)| application(project, name, "3000"))
        .collect();
    for project in &projects {
        let words = ["publish", "localhost:3000:3000"];
        project.wharf(words).run().ended_with(0);
    }
    for name in ["blog", "shop", "blog"] {
        world.wharf(["focus", name]).run().ended_with(0);
        await_that("the place is served", || {
            let words = ["-sSL", "http://127.0.0.1:9000/authorize"];
            let page = world.program("curl").words(words).run().stdout;
            (page == format!("<p>{name} has no cookie, code 42</p>")).then_some(())
        });
    }
    Ok(())
}

/// A development server: a page, a WebSocket beside it whose origin is checked, and a word when a file changes.
const DEVELOPMENT: &str = r#"
import base64, hashlib, http.server, os, socket, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.headers.get('Upgrade', '').lower() == 'websocket':
            return self.reload()
        body = open('page.html', 'rb').read()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def reload(self):
        if self.headers['Origin'] != 'http://' + self.headers['Host']:
            return self.send_error(403)
        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.send_response(101)
        self.send_header('Upgrade', 'websocket')
        self.send_header('Connection', 'Upgrade')
        self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.send_header('Sec-WebSocket-Protocol', self.headers['Sec-WebSocket-Protocol'])
        self.end_headers()
        before = os.stat('page.html').st_mtime_ns
        self.wfile.write(b'\x81\x09connected')
        while os.stat('page.html').st_mtime_ns == before:
            time.sleep(0.01)
        self.wfile.write(b'\x81\x06reload')
        self.close_connection = True
    def log_message(self, *_):
        pass
class Six(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
server = Six(('::1', 5173), Answer)
print('ready', flush=True)
server.serve_forever()
"#;

/// What a browser does with it.
const BROWSER: &str = r#"
import http.client, socket, sys
port, host = int(sys.argv[1]), sys.argv[2]
def page():
    connection = http.client.HTTPConnection('127.0.0.1', port)
    connection.request('GET', '/', headers={'Host': host})
    return connection.getresponse().read().decode().strip()
print(page(), flush=True)
sock = socket.create_connection(('127.0.0.1', port))
sock.sendall(f'GET /?token=1 HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: keep-alive, Upgrade\r\n'
    'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: vite-hmr\r\n'
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'.encode())
stream = sock.makefile('rb')
head = []
while (line := stream.readline().strip()):
    head.append(line)
assert head[0].startswith(b'HTTP/1.1 101'), head
assert b'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=' in [line.lower() for line in head], head
assert b'sec-websocket-protocol: vite-hmr' in [line.lower() for line in head], head
for _ in range(2):
    length = stream.read(2)[1]
    print(stream.read(length).decode(), flush=True)
print(page(), flush=True)
"#;

fn a_development_server_reloads_its_page_by_name(world: &World) -> Played {
    let shop = world.project("shop");
    let file = shop.path.join("page.html");
    let write = |content: &str| {
        std::fs::write(&file, content).unwrap();
        world.own(&file);
    };
    write("before");
    let server = shop.run(["python3", "-c", DEVELOPMENT]).start();
    server.says("ready");
    let port = world.names_port.to_string();
    let host = format!("shop.localhost:{port}");
    let words = ["-c", BROWSER, &port, &host];
    let browser = world.program("python3").words(words).start();
    browser.says("before\nconnected\n");
    write("after");
    let seen = browser.outcome().ended_with(0).stdout;
    assert_eq!(seen, "before\nconnected\nreload\nafter\n");
    Ok(())
}

fn a_large_upload_streams_and_is_whole(world: &World) -> Played {
    const SERVER: &str = r#"
import hashlib, http.server
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_PUT(self):
        digest, length = hashlib.sha256(), 0
        while size := int(self.rfile.readline().split(b';')[0], 16):
            left = size
            while left:
                part = self.rfile.read(min(left, 1 << 20))
                digest.update(part)
                length, left = length + len(part), left - len(part)
            self.rfile.readline()
        self.rfile.readline()
        body = f'{length} {digest.hexdigest()}\n'.encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Answer)
print('ready', flush=True)
server.serve_forever()
"#;
    const MEBIBYTES: u32 = 256;
    world.needs("curl")?;
    let shop = world.project("shop");
    let server = shop.run(["python3", "-c", SERVER]).start();
    server.says("ready");
    let url = format!("http://shop.localhost:{}/", world.names_port);
    // The length isn't known before, as when a program's output is uploaded.
    let upload = "seq 1 40000000 | head -c \"$1\"M | tee >(sha256sum | cut -d' ' -f1 > sum) | curl -sS -T - \"$2\"; cat sum";
    let bash = world.program("bash").words(["-c", upload, "bash"]);
    let said = bash.words([&MEBIBYTES.to_string(), &url]).out();
    let mut words = said.split_whitespace();
    let length = words.next().unwrap().parse();
    assert_eq!(length, Ok(u64::from(MEBIBYTES) << 20), "{said}");
    assert_eq!(words.next(), words.next(), "the sums differ: {said}");
    let daemon = world.daemon().unwrap().as_raw_pid();
    let status = std::fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB").parse::<u32>();
    let peak = peak.unwrap() >> 10;
    assert!(
        peak < MEBIBYTES / 2,
        "the daemon had {peak} MiB at its peak"
    );
    Ok(())
}

fn a_page_waits_for_its_program(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let url = format!("http://shop.localhost:{}/", world.names_port);
    let browse = || {
        let browser = ["-sS", "-D", "-", "-H", "Accept: text/html", &url];
        let said = world.program("curl").words(browser).out();
        said.to_ascii_lowercase()
    };
    let waits = browse();
    assert!(waits.starts_with("http/1.1 503 "), "{waits}");
    assert!(waits.contains("\r\nrefresh: 1\r\n"), "{waits}");
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let there = browse();
    assert!(there.ends_with("of the shop"), "{there}");
    Ok(())
}

/// Sends a line over a connection that stands, and gets it back.
fn echoes(stream: &mut TcpStream, text: &[u8]) -> bool {
    let mut back = vec![0; text.len()];
    stream.write_all(text).is_ok() && stream.read_exact(&mut back).is_ok() && back == text
}

fn open(place: &str) -> TcpStream {
    let stream = TcpStream::connect(place).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream
}

fn nobody_notices_that_others_publish(world: &World) -> Played {
    const ROUNDS: usize = 100;
    let shop = world.project("shop");
    let _echo = shop.serve(&["echo", "tcp", "127.0.0.1", "7000"]);
    let published = |words: &[&str]| {
        let said = shop.wharf(["publish"]).words(words).out();
        said.split(' ').next().unwrap().to_owned()
    };
    let steady = published(&["7000"]);
    let (over, turns) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = open(&steady);
            let (over, turns) = (Arc::clone(&over), Arc::clone(&turns));
            std::thread::spawn(move || {
                let block = vec![7; 64 << 10];
                while !over.load(Ordering::Relaxed) {
                    assert!(echoes(&mut stream, &block), "a connection was cut");
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let place = published(&[&format!("{}:7000", 20_000 + round)]);
        kept.push(open(&place));
        assert!(echoes(&mut kept[round], b"first"), "round {round}");
        shop.wharf(["unpublish", &place]).run().ended_with(0);
        assert!(TcpStream::connect(&place).is_err(), "{place} is free again");
    }
    let turned = turns.load(Ordering::Relaxed);
    for (round, stream) in kept.iter_mut().enumerate() {
        assert!(echoes(stream, b"last"), "round {round} was cut off");
    }
    await_that("the load goes on", || {
        (turns.load(Ordering::Relaxed) > turned).then_some(())
    });
    over.store(true, Ordering::Relaxed);
    for one in load {
        one.join().unwrap();
    }
    assert_eq!(shop.wharf(["publish"]).out().lines().count(), 1);
    Ok(())
}

fn ports_are_published_as_docker_users_type_them(world: &World) -> Played {
    let shop = world.project("shop");
    let port = free_port();
    let (named, inside) = (format!("127.0.0.1:{port}:8000"), "8000");
    let wishes = [
        "-p",
        &named,
        "-p",
        "18080:8000",
        "-p",
        "9000-9001:8001-8002",
        "-p",
        "5353:53/udp",
    ];
    let server = shop.wharf(["run", "-q"]).words(wishes);
    let server = server
        .words(["--", "python3", "-m", "http.server", inside])
        .start();
    let face = await_that("all is published", || {
        let listed = shop.wharf(["publish"]).run().stdout;
        let served = listed
            .lines()
            .find(|line| line.ends_with(":18080 → shop:8000"))?;
        Some(served.split(':').next()?.to_owned())
    });
    let listed = shop.wharf(["publish"]).out();
    for expected in [
        format!("127.0.0.1:{port} → shop:8000"),
        format!("{face}:18080 → shop:8000"),
        format!("{face}:9000 → shop:8001 (nothing listens there yet)"),
        format!("{face}:9001 → shop:8002 (nothing listens there yet)"),
        format!("{face}:5353/udp → shop:53 (nothing listens there yet)"),
    ] {
        assert!(
            listed.lines().any(|line| line == expected),
            "{expected} in {listed}"
        );
    }
    drop(server);
    Ok(())
}

fn redis_is_reached_at_its_usual_port_in_two_spaces(world: &World) -> Played {
    world.needs("redis-server")?;
    world.needs("redis-cli")?;
    let projects = ["shop", "blog"].map(|name| world.project(name));
    let servers = projects.each_ref().map(|project| {
        let server = project.run(["redis-server", "--save", ""]).start();
        server.says("Ready to accept connections");
        let said = project.wharf(["publish", "6379"]).out();
        let face = said.split(':').next().unwrap().to_owned();
        (server, face)
    });
    let redis = |face: &str, words: &[&str]| {
        let line = world.program("redis-cli").words(["-h", face]);
        line.words(words).out().trim().to_owned()
    };
    for ((_, face), name) in servers.iter().zip(["shop", "blog"]) {
        await_that("it is published", || {
            TcpStream::connect((face.as_str(), 6379)).ok()
        });
        assert_eq!(redis(face, &["set", "who", name]), "OK");
    }
    for ((_, face), name) in servers.iter().zip(["shop", "blog"]) {
        assert_eq!(redis(face, &["get", "who"]), name);
    }
    Ok(())
}
