//! The page: who may look, what is told, and what can be done from it.

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Played, Process, Skipped, World, await_that, free_port, scenes};

scenes![
    a_browser_shows_it_and_asks_before_it_stops_a_space,
    a_key_is_good_for_one_daemon,
    a_program_that_binds_is_told_at_once,
    an_address_is_good_for_one_use,
    connections_and_bytes_are_counted,
    its_files_load_nothing_from_elsewhere,
    on_a_phone_nothing_is_wider_than_the_window,
    only_the_page_itself_may_ask,
    ports_are_published_and_focused_and_spaces_stopped,
    so_many_pages_are_open_and_no_more,
    without_a_space_there_is_no_page,
];

/// Who talks to the page of a world.
struct Visitor<'w> {
    world: &'w World,
    base: String,
    key: String,
}

/// What was answered.
struct Answer {
    code: String,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}", self.code, self.text))
    }
}

impl<'w> Visitor<'w> {
    /// With a key of the daemon that runs.
    fn of(world: &'w World) -> Result<Self, Skipped> {
        let mut visitor = Self::without_key(world)?;
        let entered = visitor.post("/session", &ticket(world), "");
        assert_eq!(entered.code, "200", "{}", entered.text);
        visitor.key = entered.json()["key"].as_str().unwrap().to_owned();
        Ok(visitor)
    }

    fn without_key(world: &'w World) -> Result<Self, Skipped> {
        world.needs("curl")?;
        Ok(Self {
            world,
            base: format!("http://wharf.localhost:{}", world.names_port),
            key: String::new(),
        })
    }

    fn curl(&self, words: &[&str]) -> Answer {
        let said = self
            .world
            .program("curl")
            .words(["-sS", "-w", "\n%{http_code}"])
            .words(words)
            .out();
        let (text, code) = said.rsplit_once('\n').unwrap();
        Answer {
            code: code.to_owned(),
            text: text.to_owned(),
        }
    }

    fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {key}");
        let json = "Content-Type: application/json";
        let url = format!("{}{path}", self.base);
        self.curl(&["-H", &bearer, "-H", json, "-d", body, &url])
    }

    /// Has something done.
    fn act(&self, errand: &str, body: &Value) -> Answer {
        self.post(&format!("/{errand}"), &self.key, &body.to_string())
    }

    /// Listens to what is told.
    fn follow(&self) -> Process {
        let bearer = format!("Authorization: Bearer {}", self.key);
        let url = format!("{}/live", self.base);
        let curl = self.world.program("curl");
        curl.words(["-sSN", "-H", &bearer, &url]).start()
    }
}

/// What stands behind the `#` of the address.
fn ticket(world: &World) -> String {
    let url = world.wharf(["web", "--print"]).out();
    let base = format!("http://wharf.localhost:{}/#", world.names_port);
    let ticket = url.trim().strip_prefix(&base);
    ticket.unwrap_or_else(|| panic!("{url}")).to_owned()
}

/// The last whole picture that was told in which `look` finds what it looks for.
fn picture<T>(told: &Process, look: impl Fn(&Value) -> Option<T>) -> T {
    let pictures = |said: &str| {
        let frames: Vec<_> = said.split("\n\n").collect();
        let mut whole = frames.iter().rev().skip(1);
        whole.find_map(|frame| {
            let data = frame.strip_prefix("event: picture\ndata: ")?;
            look(&serde_json::from_str(data).unwrap())
        })
    };
    await_that("a picture that has it", || pictures(&told.stdout_so_far()))
}

fn without_a_space_there_is_no_page(world: &World) -> Played {
    let failed = world.wharf(["web"]).run().ended_with(1);
    assert!(failed.stderr.contains("no space runs"), "{failed}");
    Ok(())
}

fn an_address_is_good_for_one_use(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let visitor = Visitor::without_key(world)?;
    let ticket = ticket(world);
    let refused = visitor.post("/session", "", "");
    assert_eq!(
        (&refused.code[..], &refused.json()["status"]),
        ("401", &json!(3))
    );
    assert!(
        refused.text.contains("`wharf web` prints"),
        "{}",
        refused.text
    );
    assert_eq!(visitor.post("/session", &ticket[1..], "").code, "401");
    // A ticket is no key.
    assert_eq!(visitor.post("/focus", &ticket, "{}").code, "401");
    let entered = visitor.post("/session", &ticket, "");
    let key = entered.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(visitor.post("/session", &ticket, "").code, "401");
    assert_eq!(visitor.post("/focus", &key, "{\"space\":null}").code, "200");
    assert_eq!(visitor.post("/focus", &key[1..], "{}").code, "401");
    // Looking needs it as well.
    let url = format!("{}/live", visitor.base);
    assert_eq!(visitor.curl(&[&url]).code, "401");
    Ok(())
}

fn so_many_pages_are_open_and_no_more(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let visitor = Visitor::of(world)?;
    let pages: Vec<_> = (0..16).map(|_| visitor.follow()).collect();
    pages.iter().for_each(|page| page.says("event: picture"));
    let bearer = format!("Authorization: Bearer {}", visitor.key);
    let url = format!("{}/live", visitor.base);
    let more = visitor.curl(&["-H", &bearer, &url]);
    assert_eq!(more.code, "503", "{}", more.text);
    drop(pages);
    await_that("a place", || {
        let page = visitor.follow();
        let heard = await_that("an answer", || {
            let said = page.stdout_so_far();
            (!said.is_empty()).then_some(said)
        });
        heard.starts_with("event: clock").then_some(())
    });
    Ok(())
}

fn only_the_page_itself_may_ask(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let visitor = Visitor::of(world)?;
    let bearer = format!("Authorization: Bearer {}", visitor.key);
    let focus = format!("{}/focus", visitor.base);
    let own = format!("Origin: {}", visitor.base);
    let ask = |more: &[&str]| {
        let mut words = vec!["-H", &bearer, "-H", "Content-Type: application/json"];
        words.extend(["-d", "{\"space\":null}"]);
        words.extend(more);
        visitor.curl(&words).code
    };
    assert_eq!(ask(&["-H", &own, &focus]), "200");
    assert_eq!(ask(&["-H", "Sec-Fetch-Site: same-origin", &focus]), "200");
    let foreign = format!("Origin: http://shop.localhost:{}", world.names_port);
    for forged in [
        "Origin: http://example.com",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        &foreign,
    ] {
        assert_eq!(ask(&["-H", forged, &focus]), "403", "{forged}");
    }
    // A name that leads here without being ours, and one that is a page of something else.
    assert_eq!(ask(&["-H", "Host: example.com", &focus]), "421");
    let listing = ask(&["-H", "Host: localhost", &focus]);
    assert_eq!(listing, "200", "the list of what there is");
    assert_eq!(ask(&["-H", "Host: shop.localhost", &focus]), "503");
    // Other ways to ask, and other kinds of text.
    let way = |method: &str, path: &str| {
        let url = format!("{}{path}", visitor.base);
        visitor.curl(&["-X", method, "-H", &bearer, &url]).code
    };
    for (method, path, code) in [
        ("GET", "/focus", "405"),
        ("DELETE", "/stop", "405"),
        ("OPTIONS", "/publish", "405"),
        ("POST", "/live", "405"),
        ("POST", "/page.js", "405"),
        ("GET", "/session", "405"),
        ("GET", "/nothing", "404"),
        ("POST", "/focus", "415"),
    ] {
        assert_eq!(way(method, path), code, "{method} {path}");
    }
    let long = format!("{{\"space\":\"{}\"}}", "x".repeat(5000));
    assert_eq!(visitor.post("/focus", &visitor.key, &long).code, "413");
    let wrong = visitor.act("stop", &json!({ "everything": true }));
    assert_eq!(
        (&wrong.code[..], &wrong.json()["status"]),
        ("400", &json!(2))
    );
    Ok(())
}

fn its_files_load_nothing_from_elsewhere(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let visitor = Visitor::without_key(world)?;
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let url = format!("{}{path}", visitor.base);
        let words = ["-D", "-", "-H", "Accept: text/html,*/*", &url];
        let answer = visitor.curl(&words).text;
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        for field in [
            format!("content-type: {kind}"),
            "default-src 'none'; script-src 'self'; style-src 'self'".into(),
            "frame-ancestors 'none'".into(),
            "x-frame-options: deny".into(),
            "x-content-type-options: nosniff".into(),
            "referrer-policy: no-referrer".into(),
            "cross-origin-resource-policy: same-origin".into(),
            "cache-control: no-store".into(),
        ] {
            assert!(head.contains(&field), "{path}: {field} is not in\n{head}");
        }
        assert!(!head.contains("access-control") && !head.contains("set-cookie"));
        // What is the same for everybody says nothing about this machine.
        assert!(!text.is_empty() && !text.contains("shop"), "{path}");
    }
    Ok(())
}

fn a_program_that_binds_is_told_at_once(world: &World) -> Played {
    let shop = world.project("shop");
    let _first = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let visitor = Visitor::of(world)?;
    let told = visitor.follow();
    told.says("event: clock");
    // What has happened before is told as the past, once it is written.
    await_that("the past", || {
        let told = visitor.follow();
        told.says("event: picture");
        let past = "event: past\ndata: {\"schema\":1,";
        told.stdout_so_far().contains(past).then_some(())
    });
    let listener = |port: u16| {
        move |picture: &Value| {
            let all = picture["listeners"].as_array().unwrap();
            all.iter().find(|row| row["port"] == port).cloned()
        }
    };
    let first = picture(&told, listener(3000));
    assert_eq!(first, world.listeners()[0], "as `wharf ls --json` has it");
    let _second = shop.serve(&["listen", "tcp", "127.0.0.1", "5432"]);
    told.says("event: port");
    told.says(
        "\"event\":\"listening\",\"protocol\":\"tcp\",\"address\":\"127.0.0.1\",\"port\":5432",
    );
    assert_eq!(picture(&told, listener(5432))["use"], "Postgres");
    // A conflict comes with its story.
    shop.shell("nc -l 127.0.0.1 3000 || python3 -m http.server 3000")
        .run();
    told.says("\"event\":\"conflict\"");
    told.says("\"story\":[\"tcp ");
    let programs = picture(&told, |picture| {
        let spaces = picture["spaces"].as_array().unwrap();
        let shop = spaces.iter().find(|space| space["name"] == "shop");
        shop.map(|shop| shop["programs"].clone())
    });
    let pids = programs.as_array().unwrap().iter();
    let pids: Vec<_> = pids.map(|program| program["pid"].clone()).collect();
    assert!(pids.contains(&first["programs"][0]["pid"]), "{programs}");
    Ok(())
}

fn connections_and_bytes_are_counted(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _server = shop.serve(&["http", "0.0.0.0", "3000", &"x".repeat(3000)]);
    let _held = blog.hold();
    let visitor = Visitor::of(world)?;
    let told = visitor.follow();
    picture(&told, |picture| {
        (picture["spaces"].as_array().unwrap().len() == 2).then_some(())
    });
    let route = |from: Value| {
        picture(&told, |picture| {
            let all = picture["routes"].as_array().unwrap();
            let to = json!({ "place": "space", "space": "shop", "port": 3000 });
            let from = all
                .iter()
                .find(|route| route["from"] == from && route["to"] == to);
            from.filter(|route| route["received"].as_u64() > Some(3000))
                .cloned()
        })
    };
    // From the machine, by name; from another space; both are over before anybody looks.
    let url = format!("http://shop.localhost:{}/", world.names_port);
    world.program("curl").words(["-sS", &url]).out();
    assert_eq!(route(Value::Null)["program"], Value::Null);
    blog.run(["curl", "-sS", "http://shop.internal:3000/"])
        .out();
    let from_blog = route(json!("blog"));
    assert!(from_blog["sent"].as_u64() > Some(10), "{from_blog}");
    assert!(from_blog["begun"].as_u64() >= Some(1), "{from_blog}");
    Ok(())
}

fn ports_are_published_and_focused_and_spaces_stopped(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let _other = blog.serve(&["http", "127.0.0.1", "3000", "of the blog"]);
    let visitor = Visitor::of(world)?;
    let port = free_port();
    let ports = format!("{port}:3000/tcp");
    for space in ["shop", "blog"] {
        let wish = json!({ "space": space, "ports": ports, "at": "127.0.0.1" });
        let published = visitor.act("publish", &wish);
        assert_eq!(published.code, "200", "{}", published.text);
        assert_eq!(published.json()["published"][0]["port"], port);
    }
    let url = format!("http://127.0.0.1:{port}/");
    let page = || world.program("curl").words(["-sS", &url]).out();
    assert_eq!(page(), "of the shop");
    let focused = visitor.act("focus", &json!({ "space": "blog" }));
    assert_eq!(focused.json(), json!({ "schema": 1, "focus": "blog" }));
    assert_eq!(page(), "of the blog");
    let named = format!("127.0.0.1:{port}");
    let gone = visitor.act("unpublish", &json!({ "space": "blog", "port": named }));
    assert_eq!(gone.json()["published"][0]["space"], "blog");
    assert_eq!(page(), "of the shop");
    // What can't be done says what the command says.
    let none = visitor.act("stop", &json!({ "space": "nobody" }));
    assert_eq!((&none.code[..], &none.json()["status"]), ("404", &json!(1)));
    let taken =
        json!({ "space": "blog", "ports": format!("{}:80", world.names_port), "at": "127.0.0.1" });
    let taken = visitor.act("publish", &taken);
    assert_eq!(taken.code, "409", "{}", taken.text);
    assert!(
        taken.text.contains("address already in use"),
        "{}",
        taken.text
    );
    let stopped = visitor.act("stop", &json!({ "space": "shop" }));
    assert_eq!(stopped.json(), json!({ "schema": 1, "stopped": ["shop"] }));
    drop(server.outcome());
    let names: Vec<_> = world.listeners();
    assert!(
        names.iter().all(|row| row["space"] == "blog") && !names.is_empty(),
        "{names:?}"
    );
    Ok(())
}

fn a_key_is_good_for_one_daemon(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let visitor = Visitor::of(world)?;
    let told = visitor.follow();
    told.says("event: picture");
    let first = world.daemon().unwrap();
    kill_process(first, Signal::KILL).unwrap();
    // The stream breaks off, and the next daemon knows nothing of the key.
    told.outcome();
    await_that("the next daemon", || {
        world.daemon().filter(|next| *next != first)
    });
    await_that("the next daemon's page", || {
        let again = visitor.world.program("curl");
        let again = again.words(["-s", "-o", "/dev/null", &visitor.base]).run();
        (again.code() == 0).then_some(())
    });
    assert_eq!(
        visitor.act("focus", &json!({ "space": null })).code,
        "401",
        "the key of a daemon that is gone"
    );
    assert_ne!(Visitor::of(world)?.key, visitor.key);
    Ok(())
}

/// A browser with the page in it.
struct Browser {
    process: Process,
    answers: usize,
    // Its own files aren't the user's.
    _home: tempfile::TempDir,
}

impl Browser {
    fn open(world: &World, width: u32) -> Result<Self, Skipped> {
        const DRIVER: &str = include_str!("harness/browser.py");
        let chromium = world.needs("chromium")?;
        let home = tempfile::Builder::new()
            .prefix("browser")
            .tempdir_in(world.top())
            .unwrap();
        world.own(home.path());
        let url = world.wharf(["web", "--print"]).out();
        let process = world
            .program("python3")
            .with("HOME", home.path())
            .with("XDG_RUNTIME_DIR", home.path())
            .words(["-c", DRIVER])
            .word(chromium)
            .word(home.path())
            .words([width.to_string().as_str(), url.trim()])
            .start();
        Ok(Self {
            process,
            answers: 0,
            _home: home,
        })
    }

    /// The value of an expression in the page.
    fn says(&mut self, script: &str) -> Value {
        self.process.write(format!("{script}\n").as_bytes());
        let answer = await_that("the browser's answer", || {
            let said = self.process.stdout_so_far();
            let whole = &said[..said.rfind('\n').map_or(0, |end| end + 1)];
            whole.lines().nth(self.answers).map(str::to_owned)
        });
        self.answers += 1;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer.get("complaint"), None, "the page has a fault");
        answer
    }

    /// Waits until an expression in the page is true.
    fn awaits(&mut self, script: &str) {
        let last = std::cell::RefCell::new(self);
        await_that(script, || {
            let said = last.borrow_mut().says(script);
            (said == true).then_some(())
        });
    }

    fn close(mut self) {
        self.process.close_input();
        self.process.outcome();
    }
}

fn a_browser_shows_it_and_asks_before_it_stops_a_space(world: &World) -> Played {
    let shop = world.project("shop");
    let server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let mut browser = Browser::open(world, 1280)?;
    browser.awaits("document.querySelector('[data-port=\"shop/tcp/3000\"] .name')?.textContent.startsWith('python3') ?? false");
    assert_eq!(
        browser.says("document.querySelector('#status').textContent"),
        "Live"
    );
    assert_eq!(
        browser.says("location.hash"),
        "",
        "the ticket is out of the address"
    );
    browser.awaits("document.querySelector('#summary').textContent.startsWith('1 space · 1 port')");
    browser.awaits("[...document.querySelectorAll('#events li')].some((li) => li.textContent.includes('3000'))");
    // Everything that can be pressed has a name, and none is out of the keyboard's order.
    let nameless = "[...document.querySelectorAll('button, a[href], input')].filter((element) => \
        !(element.ariaLabel || element.textContent.trim() || element.closest('label')) || element.tabIndex !== 0).length";
    assert_eq!(browser.says(nameless), 0);
    // No is no; yes ends what the question has named.
    browser.says("document.querySelector('[aria-label=\"Stop shop\"]').click()");
    let question = browser.says("document.querySelector('dialog[open]').innerText");
    let question = question.as_str().unwrap();
    assert!(
        question.contains("Stop shop?") && question.contains("python3"),
        "{question}"
    );
    assert_eq!(browser.says("document.activeElement.textContent"), "Cancel");
    browser.says("document.activeElement.click()");
    assert_eq!(
        browser.says("document.querySelector('dialog[open]')"),
        Value::Null
    );
    assert_eq!(world.listeners().len(), 1);
    browser.says("document.querySelector('[aria-label=\"Stop shop\"]').click()");
    browser.says("document.querySelector('dialog[open] [value=go]').click()");
    browser.awaits("document.querySelector('.spaces').textContent.includes('No space runs now')");
    drop(server.outcome());
    browser.close();
    Ok(())
}

fn on_a_phone_nothing_is_wider_than_the_window(world: &World) -> Played {
    let shop = world.project("a-project-with-a-name-that-is-rather-long");
    let _server = shop.serve(&["listen", "tcp", "0.0.0.0", "3000", "5432", "27017"]);
    let mut browser = Browser::open(world, 500)?;
    browser.awaits("document.querySelectorAll('[data-port]').length === 3");
    let wider = "document.documentElement.scrollWidth > innerWidth";
    assert_eq!(browser.says(wider), false);
    browser.close();
    Ok(())
}
