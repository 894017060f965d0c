//! Own sockets beyond the recorded cases: devices, a port chosen late, and the way back.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::time::Duration;

use bytes::Bytes;
use network::{Network, Side, ordinary};
use wharf_net::{
    Capabilities, Discard, Host, NoSuchSocket, OwnBindError, Ready, RecvError, SendError, Setting,
    SocketId, tcp,
};
use wharf_port::table::{BindError, Device, Right};
use wharf_port::{Domain, Endpoint, Local, Port, PortRange, Protocol};

fn pair() -> Network {
    let config = |side| ordinary(side, Capabilities::ALL);
    Network::new(config(Side::Left), config(Side::Right))
}

fn local(text: &str) -> Local {
    text.parse().unwrap()
}

fn at(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn opened(host: &mut Host, protocol: Protocol) -> SocketId {
    host.open(protocol, Domain::V4).unwrap()
}

fn listener(host: &mut Host, to: &str) -> SocketId {
    let socket = opened(host, Protocol::Tcp);
    host.bind(socket, local(to)).unwrap();
    host.listen(socket, 8).unwrap();
    socket
}

#[test]
fn a_socket_on_a_device_hears_that_device_only() {
    let mut network = pair();
    let now = network.now;
    let other = Device::new(7).unwrap();
    for (port, device, heard) in [
        (7001, Some(Host::LINK), [true, false]),
        (7002, Some(Host::LOOPBACK), [false, true]),
        (7003, Some(other), [false, false]),
        (7004, None, [true, true]),
    ] {
        let socket = opened(&mut network.right, Protocol::Udp);
        network
            .right
            .set(now, socket, Setting::Device(device))
            .unwrap();
        network
            .right
            .bind(socket, local(&format!("0.0.0.0:{port}")))
            .unwrap();
        let to = at(&format!("10.0.0.2:{port}"));
        for (side, heard) in [Side::Left, Side::Right].into_iter().zip(heard) {
            let sender = opened(network.host(side), Protocol::Udp);
            let now = network.now;
            let sent = network
                .host(side)
                .send_to(now, sender, Some(to), Bytes::from_static(b"?"));
            sent.unwrap();
            network.pass(Duration::from_millis(10));
            let received = network.right.recv_from(socket);
            assert_eq!(received.is_ok(), heard, "{port} from {side:?}");
        }
    }
}

#[test]
fn a_port_that_is_chosen_late_serves_several_peers() {
    let mut network = pair();
    let now = network.now;
    let one = PortRange::new(Port::new(40_000).unwrap(), Port::new(40_000).unwrap());
    let sockets = ["10.0.0.2:80", "10.0.0.2:81"].map(|remote| {
        let socket = opened(&mut network.left, Protocol::Tcp);
        network.left.set(now, socket, Setting::Ports(one)).unwrap();
        let own = "10.0.0.1".parse().unwrap();
        network.left.bind_address(socket, own).unwrap();
        assert_eq!(network.left.bound(socket), None);
        let flow = network.left.connect(now, socket, at(remote)).unwrap();
        assert_eq!(flow.local, at("10.0.0.1:40000"));
        socket
    });
    let again = network
        .left
        .bind_address(sockets[0], "10.0.0.1".parse().unwrap());
    assert_eq!(again, Err(OwnBindError::Refused(BindError::AlreadyBound)));
    let stranger = opened(&mut network.left, Protocol::Tcp);
    let foreign = network
        .left
        .bind_address(stranger, "10.0.0.9".parse().unwrap());
    assert_eq!(foreign, Err(OwnBindError::NotOwn));
}

#[test]
fn a_listener_that_was_bound_without_a_port_listens_at_its_address() {
    let mut network = pair();
    let socket = opened(&mut network.left, Protocol::Tcp);
    network
        .left
        .bind_address(socket, "10.0.0.1".parse().unwrap())
        .unwrap();
    let port = network.left.listen(socket, 1).unwrap();
    let cover = Domain::V4.cover("10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(network.left.bound(socket), Some((cover, port)));
}

#[test]
fn unlistening_resets_who_was_not_accepted_and_keeps_the_port() {
    let mut network = pair();
    let server = listener(&mut network.right, "10.0.0.2:80");
    let client = opened(&mut network.left, Protocol::Tcp);
    let now = network.now;
    network
        .left
        .connect(now, client, at("10.0.0.2:80"))
        .unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    let now = network.now;
    network.right.unlisten(now, server).unwrap();
    network.await_ready(Side::Left, client, Ready::FAILED);
    assert_eq!(network.left.error(client), Some(tcp::Error::Reset));
    assert_eq!(
        network.right.bound(server).map(|(_, port)| port.number()),
        Some(80)
    );
    assert_eq!(network.right.unlisten(now, server), Err(NoSuchSocket));
    network.right.listen(server, 1).unwrap();
}

#[test]
fn disconnecting_resets_the_peer_and_the_socket_connects_anew() {
    let mut network = pair();
    let server = listener(&mut network.right, "10.0.0.2:80");
    let client = opened(&mut network.left, Protocol::Tcp);
    network.left.bind(client, local("10.0.0.1:5000")).unwrap();
    for _ in 0..2 {
        let now = network.now;
        network
            .left
            .connect(now, client, at("10.0.0.2:80"))
            .unwrap();
        network.await_ready(Side::Left, client, Ready::CONNECTED);
        network.await_ready(Side::Right, server, Ready::READABLE);
        let accepted = network.right.accept(server).unwrap();
        let now = network.now;
        network.left.disconnect(now, client).unwrap();
        assert_eq!(network.left.state(client), None);
        network.await_ready(Side::Right, accepted, Ready::FAILED);
        assert_eq!(network.right.error(accepted), Some(tcp::Error::Reset));
        let now = network.now;
        network.right.close(now, accepted);
    }
}

#[test]
fn the_name_of_a_closed_socket_is_void_while_its_connection_finishes() {
    let mut network = pair();
    let server = listener(&mut network.right, "10.0.0.2:80");
    let client = opened(&mut network.left, Protocol::Tcp);
    let now = network.now;
    network
        .left
        .connect(now, client, at("10.0.0.2:80"))
        .unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    network.await_ready(Side::Right, server, Ready::READABLE);
    let accepted = network.right.accept(server).unwrap();
    let now = network.now;
    network
        .left
        .write(now, client, Bytes::from_static(b"last"))
        .unwrap();
    network.left.close(now, client);
    assert_eq!(network.left.socket_count(), 1, "it has words to deliver");
    assert!(network.left.disconnect(now, client).is_err());
    assert!(network.left.unlisten(now, client).is_err());
    assert!(network.left.listen(client, 1).is_err());
    assert!(network.left.bind(client, local("10.0.0.1:5000")).is_err());
    let again = network.left.connect(now, client, at("10.0.0.2:80"));
    assert!(again.is_err());
    assert!(network.left.bound(client).is_none());
    network.await_ready(Side::Right, accepted, Ready::READABLE);
    network.pass(Duration::from_secs(1));
    assert_eq!(network.right.readable(accepted), 4);
    assert_eq!(network.right.error(accepted), None);
    let now = network.now;
    network.right.close(now, accepted);
    network.pass(Duration::from_secs(120));
    assert_eq!(network.left.socket_count(), 0);
}

#[test]
fn a_refused_attempt_leaves_a_socket_that_is_bound_as_before_and_can_try_again() {
    let mut network = pair();
    let client = opened(&mut network.left, Protocol::Tcp);
    let place = local("10.0.0.1:5000");
    network.left.bind(client, place).unwrap();
    let now = network.now;
    network
        .left
        .connect(now, client, at("10.0.0.2:80"))
        .unwrap();
    network.await_ready(Side::Left, client, Ready::FAILED);
    assert_eq!(network.left.error(client), Some(tcp::Error::Refused));
    let other = opened(&mut network.left, Protocol::Tcp);
    let refused = network.left.bind(other, place).unwrap_err();
    assert!(matches!(
        refused,
        OwnBindError::Refused(BindError::InUse(_))
    ));

    listener(&mut network.right, "10.0.0.2:80");
    let now = network.now;
    network.left.disconnect(now, client).unwrap();
    let flow = network
        .left
        .connect(now, client, at("10.0.0.2:80"))
        .unwrap();
    assert_eq!(flow.local, at("10.0.0.1:5000"));
    network.await_ready(Side::Left, client, Ready::CONNECTED);
}

#[test]
fn a_disconnected_listener_no_longer_listens() {
    let mut network = pair();
    let server = listener(&mut network.right, "10.0.0.2:80");
    let now = network.now;
    network.right.disconnect(now, server).unwrap();
    assert_eq!(network.right.unlisten(now, server), Err(NoSuchSocket));
    network.right.listen(server, 1).unwrap();
}

#[test]
fn the_ipv6_loopback_address_is_of_one_device_only() {
    let mut network = pair();
    let now = network.now;
    let mut bind = |device| {
        let socket = network.left.open(Protocol::Udp, Domain::V6Only).unwrap();
        let setting = Setting::Device(Some(device));
        network.left.set(now, socket, setting).unwrap();
        network.left.bind(socket, local("[::1]:7"))
    };
    assert_eq!(bind(Host::LINK).unwrap_err(), OwnBindError::NotOwn);
    assert!(bind(Host::LOOPBACK).is_ok());
}

#[test]
fn a_disconnected_udp_socket_hears_everybody_again() {
    let mut network = pair();
    let socket = opened(&mut network.right, Protocol::Udp);
    network.right.bind(socket, local("10.0.0.2:7")).unwrap();
    let now = network.now;
    network
        .right
        .connect(now, socket, at("10.0.0.1:9"))
        .unwrap();
    for heard in [Err(RecvError::Empty), Ok(())] {
        let sender = opened(&mut network.left, Protocol::Udp);
        let now = network.now;
        let sent = network.left.send_to(
            now,
            sender,
            Some(at("10.0.0.2:7")),
            Bytes::from_static(b"?"),
        );
        sent.unwrap();
        network.pass(Duration::from_millis(10));
        assert_eq!(network.right.recv_from(socket).map(|_| ()), heard);
        let now = network.now;
        network.right.disconnect(now, socket).unwrap();
    }
}

#[test]
fn a_socket_on_a_device_sends_through_that_device_only() {
    let own = ["127.0.0.1:9", "10.0.0.1:9", "10.0.0.2:9"];
    for (device, allowed) in [
        (None, [true, true, true]),
        (Some(Host::LOOPBACK), [true, true, false]),
        (Some(Host::LINK), [false, true, true]),
        (Device::new(7), [false, false, false]),
    ] {
        let mut network = pair();
        let now = network.now;
        for (to, allowed) in own.into_iter().zip(allowed) {
            let host = &mut network.left;
            let open = |host: &mut Host, protocol| {
                let socket = opened(host, protocol);
                host.set(now, socket, Setting::Device(device)).unwrap();
                socket
            };
            let socket = open(host, Protocol::Udp);
            let sent = host.send_to(now, socket, Some(at(to)), Bytes::new());
            let expected = match allowed {
                true => Ok(()),
                false => Err(SendError::Dropped(Discard::NoRoute)),
            };
            assert_eq!(sent, expected, "{device:?} {to}");
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                let socket = open(host, protocol);
                let connected = host.connect(now, socket, at(to));
                assert_eq!(connected.is_ok(), allowed, "{device:?} {to} {protocol}");
            }
        }
    }
}

#[test]
fn system_ports_are_for_those_with_the_right() {
    let mut config = ordinary(Side::Left, Capabilities::ALL);
    config.unprivileged = Port::new(1024).unwrap();
    let mut host = Host::new(config);
    let now = wharf_net::Instant::ZERO;
    let (plain, privileged) = (
        opened(&mut host, Protocol::Tcp),
        opened(&mut host, Protocol::Tcp),
    );
    let right = Setting::Right(Right::System);
    host.set(now, privileged, right).unwrap();
    let denied = BindError::Denied(Port::new(443).unwrap());
    assert_eq!(
        host.bind(plain, local("0.0.0.0:443")),
        Err(OwnBindError::Refused(denied))
    );
    assert!(host.bind(plain, local("0.0.0.0:1024")).is_ok());
    assert!(host.bind(privileged, local("0.0.0.0:443")).is_ok());
    let everybody = &mut pair().left;
    let anybody = opened(everybody, Protocol::Tcp);
    assert!(everybody.bind(anybody, local("0.0.0.0:443")).is_ok());
}

#[test]
fn what_was_set_is_known_and_the_rest_is_the_hosts() {
    let mut network = pair();
    let (now, host) = (network.now, &mut network.left);
    let socket = opened(host, Protocol::Tcp);
    let defaults = tcp::Config::default();
    let fresh = host.settings(socket).unwrap();
    assert_eq!(fresh.nodelay, defaults.nodelay);
    assert_eq!(fresh.receive_buffer, defaults.receive_initial);
    assert_eq!(fresh.keepalive, None);
    let keepalive = Some(tcp::KeepAlive::default());
    for setting in [
        Setting::NoDelay(true),
        Setting::KeepAlive(keepalive),
        Setting::SendBuffer(5000),
    ] {
        host.set(now, socket, setting).unwrap();
    }
    let set = host.settings(socket).unwrap();
    assert_eq!(
        (set.nodelay, set.keepalive, set.send_buffer),
        (true, keepalive, 5000)
    );
    host.set(now, socket, Setting::KeepAlive(None)).unwrap();
    assert_eq!(host.settings(socket).unwrap().keepalive, None);
    let datagrams = opened(host, Protocol::Udp);
    let sending = |host: &Host| {
        let set = host.settings(datagrams).unwrap();
        (set.hop_limit, set.group_hop_limit, set.group_loop)
    };
    assert_eq!(sending(host), (64, 1, true));
    for setting in [
        Setting::HopLimit(Some(3)),
        Setting::GroupHopLimit(4),
        Setting::GroupLoop(false),
    ] {
        host.set(now, datagrams, setting).unwrap();
    }
    assert_eq!(sending(host), (3, 4, false));
    host.close(now, socket);
    assert_eq!(host.settings(socket), None);
}

/// What a listener takes uses what the listener was told to, and others what the host's configuration says.
#[test]
fn congestion_control_is_a_socket_s_choice() {
    let mut network = pair();
    let server = listener(&mut network.right, "10.0.0.2:80");
    let client = opened(&mut network.left, Protocol::Tcp);
    let now = network.now;
    let bbr = Setting::Congestion(tcp::Algorithm::Bbr);
    network.right.set(now, server, bbr).unwrap();
    network
        .left
        .connect(now, client, at("10.0.0.2:80"))
        .unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    network.pass(Duration::from_millis(10));
    let accepted = network.right.accept(server).unwrap();
    let used = |host: &Host, socket| host.settings(socket).unwrap().congestion;
    assert_eq!(used(&network.right, accepted), tcp::Algorithm::Bbr);
    assert_eq!(used(&network.left, client), tcp::Algorithm::Cubic);
}
