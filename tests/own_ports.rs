//! Every project has its own ports.

use crate::harness::{Played, World, free_port, scenes};

scenes![
    a_port_below_1024_needs_no_right,
    a_server_of_the_machine_is_not_reached_at_a_spaces_localhost,
    all_ports_of_a_space_are_free_at_once,
    pythons_web_server_runs_unchanged,
    servers_on_one_port_in_two_directories_and_on_the_machine_each_answer_with_their_own_content,
];

fn servers_on_one_port_in_two_directories_and_on_the_machine_each_answer_with_their_own_content(
    world: &World,
) -> Played {
    world.needs("curl")?;
    let port = free_port().to_string();
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _machine = world.serve(&["http", "0.0.0.0", &port, "of the machine"]);
    let _first = shop.serve(&["http", "0.0.0.0", &port, "of the shop"]);
    let _second = blog.serve(&["http", "0.0.0.0", &port, "of the blog"]);
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(
        world.program("curl").words(["-sS", &url]).out(),
        "of the machine"
    );
    assert_eq!(shop.run(["curl", "-sS", &url]).out(), "of the shop");
    assert_eq!(blog.run(["curl", "-sS", &url]).out(), "of the blog");
    Ok(())
}

fn pythons_web_server_runs_unchanged(world: &World) -> Played {
    world.needs("curl")?;
    let shop = world.project("shop");
    std::fs::write(shop.path.join("index.html"), "welcome").unwrap();
    let mut server = shop
        .wharf(["run", "--", "python3", "-m", "http.server", "8000"])
        .start();
    server.warns(&format!("http://shop.localhost:{}", world.names_port));
    server.says("Serving HTTP on 0.0.0.0 port 8000");
    assert_eq!(shop.run(["curl", "-sS", "localhost:8000"]).out(), "welcome");
    assert!(server.runs());
    Ok(())
}

fn a_port_below_1024_needs_no_right(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["echo", "tcp", "0.0.0.0", "80"]);
    let _other = shop.serve(&["echo", "udp", "::", "53"]);
    shop.fares(&["ask", "tcp", "127.0.0.1", "80", "hello"])
        .is("answer: hello");
    shop.fares(&["ask", "udp", "::1", "53", "hello"])
        .is("answer: hello");
    Ok(())
}

fn a_server_of_the_machine_is_not_reached_at_a_spaces_localhost(world: &World) -> Played {
    let port = free_port().to_string();
    let shop = world.project("shop");
    let _machine = world.serve(&["echo", "tcp", "0.0.0.0", &port]);
    let _machine6 = world.serve(&["echo", "tcp", "::1", &port]);
    shop.fares(&["ask", "tcp", "127.0.0.1", &port, "hello"])
        .is_at_once("refused");
    shop.fares(&["ask", "tcp", "::1", &port, "hello"])
        .is_at_once("refused");
    shop.fares(&["ask", "udp", "127.0.0.1", &port, "hello"])
        .is_at_once("refused");
    Ok(())
}

fn all_ports_of_a_space_are_free_at_once(world: &World) -> Played {
    // Every port but those that the limit of open files leaves out; nothing of wharf's own is in the way.
    const SCRIPT: &str = "
import resource, socket, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
step = 65535 * 2 // (hard - 100) + 1
for port in range(1, 65536, step):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        sock = socket.socket(socket.AF_INET6, kind)
        sock.bind(('::', port))
        if kind == socket.SOCK_STREAM:
            sock.listen(1)
        sock.detach()
print('all')
";
    let shop = world.project("shop");
    assert_eq!(shop.run(["python3", "-c", SCRIPT]).out(), "all\n");
    Ok(())
}
