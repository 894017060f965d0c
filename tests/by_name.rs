//! Web servers of all spaces, by name at one port of the machine.

use crate::harness::{Played, World, await_that, scenes};

scenes![
    a_port_in_front_of_the_name_chooses_among_several,
    a_server_that_listens_only_on_one_loopback_address_is_reached,
    a_space_that_does_not_run_gets_a_page_that_lists_those_that_do,
    a_web_server_is_reached_before_a_database_is,
    an_upgraded_connection_passes,
    http2_without_tls_is_served,
    the_names_are_served_on_both_loopback_addresses,
    the_program_hears_the_name_that_was_asked_for,
];

fn a_server_that_listens_only_on_one_loopback_address_is_reached(world: &World) -> Played {
    world.needs("curl")?;
    let (four, six, all) = (
        world.project("four"),
        world.project("six"),
        world.project("all"),
    );
    let _four = four.serve(&["http", "127.0.0.1", "3000", "on 127.0.0.1"]);
    let _six = six.serve(&["http", "::1", "3000", "on ::1"]);
    let _all = all.serve(&["http", "::", "3000", "on all"]);
    assert_eq!(get(world, "four", "/"), "on 127.0.0.1");
    assert_eq!(get(world, "six", "/"), "on ::1");
    assert_eq!(get(world, "all", "/"), "on all");
    Ok(())
}

fn the_names_are_served_on_both_loopback_addresses(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let _server = shop.serve(&["http", "0.0.0.0", "3000", "of the shop"]);
    for address in ["127.0.0.1", "[::1]"] {
        let url = format!("http://{address}:{}/", world.names_port);
        let host = format!("Host: shop.localhost:{}", world.names_port);
        assert_eq!(
            world
                .program("curl")
                .words(["-sS", "-H", &host, &url])
                .out(),
            "of the shop",
            "{address}"
        );
    }
    Ok(())
}

fn the_program_hears_the_name_that_was_asked_for(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let _server = shop.serve(&["http", "0.0.0.0", "3000", "of the shop"]);
    let url = format!("http://shop.localhost:{}/cart?item=1", world.names_port);
    let head = world
        .program("curl")
        .words(["-sS", "-D", "-", "-o", "/dev/null", "-d", "body", &url])
        .out();
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains(&format!("x-host: shop.localhost:{}\r\n", world.names_port)),
        "{head}"
    );
    assert!(
        head.contains("x-request: post /cart?item=1 http/1.1\r\n"),
        "{head}"
    );
    Ok(())
}

fn a_port_in_front_of_the_name_chooses_among_several(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let _first = shop.serve(&["http", "0.0.0.0", "3000", "at 3000"]);
    let _second = shop.serve(&["http", "127.0.0.1", "3001", "at 3001"]);
    assert_eq!(get(world, "3000.shop", "/"), "at 3000");
    assert_eq!(get(world, "3001.shop", "/"), "at 3001");
    // Both have a page: nobody guesses which is meant.
    let choice = get(world, "shop", "/");
    assert!(
        choice.contains("3000.shop.localhost") && choice.contains("3001.shop.localhost"),
        "{choice}"
    );
    let nobody = get(world, "3002.shop", "/");
    assert!(nobody.contains("3000.shop.localhost"), "{nobody}");
    Ok(())
}

fn a_web_server_is_reached_before_a_database_is(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let _database = shop.serve(&["listen", "tcp", "0.0.0.0", "5432", "6379"]);
    let _server = shop.serve(&["http", "0.0.0.0", "8000", "of the shop"]);
    assert_eq!(get(world, "shop", "/"), "of the shop");
    Ok(())
}

fn a_space_that_does_not_run_gets_a_page_that_lists_those_that_do(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let server = shop.serve(&["http", "0.0.0.0", "3000", "of the shop"]);
    let page = get(world, "blog", "/");
    assert!(
        page.contains("blog") && page.contains("shop.localhost"),
        "{page}"
    );
    let url = format!("http://blog.localhost:{}/", world.names_port);
    let status = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", &url];
    assert_eq!(world.program("curl").words(status).out(), "404");
    // What has ended is not answered by what is left.
    let blog = world.project("blog");
    let _other = blog.serve(&["http", "0.0.0.0", "3000", "of the blog"]);
    drop(server);
    await_that("the shop's name is free", || {
        (!get(world, "shop", "/").contains("of the shop")).then_some(())
    });
    assert_eq!(get(world, "blog", "/"), "of the blog");
    Ok(())
}

fn an_upgraded_connection_passes(world: &World) -> Played {
    const SCRIPT: &str = "
import socket, sys
port, host = int(sys.argv[1]), sys.argv[2]
with socket.create_connection(('127.0.0.1', port)) as sock:
    sock.sendall(f'GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n'.encode())
    head = b''
    while b'\\r\\n\\r\\n' not in head:
        head += sock.recv(1)
    print(head.split()[1].decode())
    for word in (b'to', b'and fro'):
        sock.sendall(word)
        print(sock.recv(len(word), socket.MSG_WAITALL).decode())
";
    let shop = world.project("shop");
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let port = world.names_port.to_string();
    let host = format!("shop.localhost:{port}");
    let said = world
        .program("python3")
        .words(["-c", SCRIPT, &port, &host])
        .out();
    assert_eq!(said, "101\nto\nand fro\n");
    Ok(())
}

fn http2_without_tls_is_served(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let url = format!("http://shop.localhost:{}/", world.names_port);
    let words = [
        "-sS",
        "--http2-prior-knowledge",
        "-w",
        " by %{http_version}",
        &url,
    ];
    assert_eq!(world.program("curl").words(words).out(), "of the shop by 2");
    Ok(())
}

/// What curl on the machine gets from a name.
#[track_caller]
fn get(world: &World, name: &str, path: &str) -> String {
    let url = format!("http://{name}.localhost:{}{path}", world.names_port);
    world.program("curl").words(["-sS", &url]).out()
}
