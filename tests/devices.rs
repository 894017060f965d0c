//! A TAP or a packet socket carries a space's frames.

use crate::harness::machine::IPV4;
use crate::harness::{Played, World, await_that, scenes};

scenes![
    a_machine_without_tap_devices_gets_packet_sockets_by_itself,
    each_device_carries_streams_and_datagrams,
    the_mtu_is_the_one_that_was_asked_for,
];

fn each_device_carries_streams_and_datagrams(world: &World) -> Played {
    world.machine()?;
    let _tcp = world.serve(&["echo", "tcp", IPV4, "7"]);
    let _udp = world.serve(&["echo", "udp", IPV4, "7"]);
    for device in world.devices() {
        let space = world.project(device);
        let _held = space.hold_with(&["--device", device]);
        let kind = space
            .run(["ip", "-d", "-o", "link", "show", "wharf0"])
            .out();
        assert!(
            kind.contains(if *device == "tap" {
                "tun type tap"
            } else {
                "veth"
            }),
            "{kind}"
        );
        space
            .fares(&["ask", "tcp", IPV4, "7", "hello"])
            .is_at_once("answer: hello");
        // Each size by itself: whole, fragmented, and as large as a datagram can be.
        space
            .fares(&["datagrams", IPV4, "7", "1", "1472", "9000", "65507"])
            .is("answer: 4 of 4");
    }
    Ok(())
}

fn the_mtu_is_the_one_that_was_asked_for(world: &World) -> Played {
    world.needs("ip")?;
    for (name, mtu) in [("small", "1280"), ("usual", "1500"), ("large", "65520")] {
        for device in world.devices() {
            let space = world.project(&format!("{name}-{device}"));
            let run = space.wharf([
                "run", "-q", "--device", device, "--mtu", mtu, "--", "ip", "-o", "link", "show",
                "wharf0",
            ]);
            let link = run.out();
            assert!(link.contains(&format!(" mtu {mtu} ")), "{link}");
        }
    }
    Ok(())
}

fn a_machine_without_tap_devices_gets_packet_sockets_by_itself(world: &World) -> Played {
    let machine = world.machine()?;
    machine.administrate("mount -t tmpfs none /dev/net");
    let _server = world.serve(&["echo", "tcp", IPV4, "7"]);
    let shop = world.project("shop");
    let _held = shop.hold();
    let kind = shop.run(["ip", "-d", "-o", "link", "show", "wharf0"]).out();
    assert!(kind.contains("veth"), "{kind}");
    shop.fares(&["ask", "tcp", IPV4, "7", "hello"])
        .is_at_once("answer: hello");
    let forced = world
        .project("blog")
        .wharf(["run", "--device", "tap", "--", "true"])
        .run()
        .ended_with(125);
    assert!(forced.stderr.contains("/dev/net/tun"), "{forced}");
    await_that("only the first space is left", || {
        (world.keepers().len() == 1).then_some(())
    });
    Ok(())
}
