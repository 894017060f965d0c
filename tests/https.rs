//! HTTPS by name: asked for, believed, undone; and programs that speak TLS themselves.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::process::{Signal, kill_process};

use crate::harness::process::Line;
use crate::harness::{Played, Project, User, World, await_that, scenes};

scenes![
    a_browser_believes_it,
    a_port_of_https_that_another_holds_is_explained,
    a_program_that_speaks_tls_is_reached_untouched,
    https_is_asked_for_and_undone,
    the_next_daemon_serves_https_again,
    trust_asks_first,
];

/// The port of HTTPS, which is free on a machine of its own.
const PORT: u16 = 7443;

/// The authority's certificate, once there is one.
fn certificate(world: &World) -> PathBuf {
    world.top().join("state/wharf/authority/certificate.pem")
}

/// curl on the machine, with a page of the space shop and these words.
fn curl(world: &World, words: &[&str]) -> Line {
    let url = format!("https://shop.localhost:{PORT}/");
    world.program("curl").words(["-sS", &url]).words(words)
}

/// curl, which trusts this user's authority.
fn trusting(world: &World) -> Line {
    let certificate = certificate(world);
    curl(world, &["--cacert", certificate.to_str().unwrap()])
}

/// A machine with browsers' databases, whose list of authorities can be changed without harm; a server in its space shop.
fn shop(world: &World) -> Result<Project<'_>, crate::harness::Skipped> {
    world.needs("curl")?;
    world.needs("certutil")?;
    let machine = world.machine()?;
    if world.user == User::Root {
        for place in ["/usr/local/share/ca-certificates", "/etc/ssl/certs"] {
            machine.administrate(&format!("test ! -d {place} || mount -t tmpfs none {place}"));
        }
    }
    for database in databases(world) {
        world.program("mkdir").words(["-p", &database]).out();
        let words = ["-N", "--empty-password", "-d", &format!("sql:{database}")];
        world.program("certutil").words(words).out();
    }
    Ok(world.project("shop"))
}

/// Where Chromium and Firefox have theirs.
fn databases(world: &World) -> [String; 3] {
    let places = [
        ".pki/nssdb",
        ".local/share/pki/nssdb",
        ".mozilla/firefox/x.default",
    ];
    places.map(|place| world.home().join(place).display().to_string())
}

/// The world as it was: nothing of an authority is left, and the browsers are gone.
fn leave(shop: &Project<'_>) {
    let undone = shop.wharf(["untrust"]).run();
    assert!([0, 1].contains(&undone.code()), "{undone}");
    let home = shop.world.home();
    for place in [".pki", ".local", ".mozilla", ".config", ".cache"] {
        let place = home.join(place).display().to_string();
        shop.world.program("rm").words(["-rf", &place]).out();
    }
}

/// How many of the browsers know an authority of wharf's.
fn believers(world: &World) -> usize {
    let knows = |database: &String| {
        let words = ["-L", "-d", &format!("sql:{database}")];
        let listed = world.program("certutil").words(words).out();
        listed.contains("wharf authority") && listed.contains("C,,")
    };
    databases(world)
        .iter()
        .filter(|database| knows(database))
        .count()
}

fn trust_asks_first(world: &World) -> Played {
    let shop = shop(world)?;
    let state = world.top().join("state/wharf/authority");
    let nobody = shop.wharf(["trust"]).run().ended_with(2);
    assert!(nobody.stderr.contains("--yes"), "{nobody}");
    let dry = shop.wharf(["trust", "--dry-run"]).run().ended_with(0);
    for planned in [
        state.join("key.pem").to_str().unwrap(),
        certificate(world).to_str().unwrap(),
        ".pki/nssdb (Chromium)",
        "x.default (Firefox)",
    ] {
        assert!(dry.stderr.contains(planned), "{planned} in {dry}");
    }
    assert!(!state.exists());
    assert_eq!(believers(world), 0);
    leave(&shop);
    Ok(())
}

fn https_is_asked_for_and_undone(world: &World) -> Played {
    let shop = shop(world)?;
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let unknown = shop.wharf(["url", "--https"]).run().ended_with(1);
    assert!(unknown.stderr.contains("wharf trust"), "{unknown}");
    // 7: nobody listens.
    curl(world, &[]).run().ended_with(7);

    let told = shop.wharf(["trust", "--yes"]).run().ended_with(0);
    assert!(told.stderr.contains("NODE_EXTRA_CA_CERTS="), "{told}");
    let key = certificate(world).with_file_name("key.pem");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    assert_eq!(believers(world), 3);
    let by = ["-w", " by %{http_version}"];
    assert_eq!(trusting(world).words(by).out(), "of the shop by 2");
    let url = format!("https://3000.shop.localhost:{PORT}\n");
    assert_eq!(shop.wharf(["url", "--https", "3000"]).out(), url);
    let opened = shop.wharf(["open", "--https", "3000"]);
    assert_eq!(opened.with("BROWSER", "echo").out(), url);
    let report = shop.wharf(["doctor"]).run();
    assert!(report.stdout.contains("7443 is wharf's"), "{report}");
    // Root's is the machine's; 60: not believed.
    let system = world.user == User::Root && world.needs("update-ca-certificates").is_ok();
    if system {
        assert_eq!(curl(world, &[]).out(), "of the shop");
    } else {
        curl(world, &[]).run().ended_with(60);
        assert!(told.stderr.contains("as root:"), "{told}");
    }
    // It is kept when it is asked for again.
    let before = fs::read(&key).unwrap();
    shop.wharf(["trust", "-y"]).run().ended_with(0);
    assert_eq!(fs::read(&key).unwrap(), before);

    shop.wharf(["untrust"]).run().ended_with(0);
    assert!(!key.exists());
    assert_eq!(believers(world), 0);
    curl(world, &[]).run().ended_with(7);
    if system {
        let machine = fs::read_dir("/usr/local/share/ca-certificates").unwrap();
        let ours = machine.flatten().find(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().contains("wharf")
        });
        assert!(ours.is_none(), "the tests' own machine was left alone");
    }
    shop.wharf(["untrust"]).run().ended_with(1);
    leave(&shop);
    Ok(())
}

fn the_next_daemon_serves_https_again(world: &World) -> Played {
    let shop = shop(world)?;
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    shop.wharf(["trust", "--yes"]).run().ended_with(0);
    assert_eq!(trusting(world).out(), "of the shop");
    kill_process(world.daemon().unwrap(), Signal::KILL).unwrap();
    await_that("it is served again", || {
        let outcome = trusting(world).run();
        (outcome.stdout == "of the shop").then_some(())
    });
    leave(&shop);
    Ok(())
}

fn a_port_of_https_that_another_holds_is_explained(world: &World) -> Played {
    let shop = shop(world)?;
    let holder = world.peer(&["listen", "tcp", "127.0.0.1", "7443"]).start();
    holder.says("ready");
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let told = shop.wharf(["trust", "--yes"]).run().ended_with(4);
    let pid = format!("(pid {},", holder.pid().as_raw_pid());
    for word in ["not served over HTTPS", "WHARF_HTTPS_PORT", &pid] {
        assert!(told.stderr.contains(word), "{word} in {told}");
    }
    let report = shop.wharf(["doctor"]).run().ended_with(1);
    assert!(
        report.stdout.contains("127.0.0.1:7443 is taken"),
        "{report}"
    );
    shop.wharf(["url", "--https"]).run().ended_with(125);
    leave(&shop);
    Ok(())
}

fn a_program_that_speaks_tls_is_reached_untouched(world: &World) -> Played {
    world.needs("openssl")?;
    let shop = shop(world)?;
    let own = shop.path.join("own.pem");
    let (own, names) = (
        own.to_str().unwrap(),
        "DNS:8443.shop.localhost,DNS:shop.localhost",
    );
    let names = format!("subjectAltName={names}");
    let make = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", own, "-out", own,
    ];
    let named = ["-subj", "/CN=own", "-addext", &names];
    shop.world
        .line(&shop.path, "openssl")
        .words(make)
        .words(named)
        .out();
    let serve = [
        "openssl", "s_server", "-www", "-accept", "8443", "-cert", own,
    ];
    let server = shop.run(serve).start();
    server.says("ACCEPT");
    shop.wharf(["trust", "--yes"]).run().ended_with(0);
    for name in ["8443.shop", "shop"] {
        let url = format!("https://{name}.localhost:{PORT}/");
        let words = ["-sS", "--cacert", own, &url];
        let page = world.program("curl").words(words).out();
        assert!(page.contains("s_server"), "{name}: {page}");
    }
    // Our own certificate is not in its place.
    trusting(world).run().ended_with(60);
    leave(&shop);
    Ok(())
}

fn a_browser_believes_it(world: &World) -> Played {
    world.needs("chromium")?;
    let shop = shop(world)?;
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "<p>of the shop</p>"]);
    let browse = || {
        let profile = format!(
            "--user-data-dir={}",
            world.home().join("chromium").display()
        );
        let url = format!("https://shop.localhost:{PORT}/");
        let words = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"];
        let line = world.program("chromium").words(words);
        let line = line.with("XDG_RUNTIME_DIR", world.home().join("chromium"));
        line.words([&profile, &url]).run().stdout
    };
    shop.wharf(["trust", "--yes"]).run().ended_with(0);
    let page = browse();
    assert!(page.contains("<p>of the shop</p>"), "{page}");
    shop.wharf(["untrust"]).run().ended_with(0);
    let page = browse();
    assert!(!page.contains("of the shop"), "{page}");
    leave(&shop);
    Ok(())
}
