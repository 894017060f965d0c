"""The servers and clients that scenes use: `peer.py COMMAND ARGUMENTS…`.

A server says "ready" when it can be reached, and serves until it is killed or its standard input ends. A client says in
one line how it fared: "answer: …", "refused", "unreachable", "prohibited", "closed" or "silent", and then in "took: …"
how many seconds that took.
"""

import asyncio
import errno
import hashlib
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

PATIENCE = 10.0
OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "prohibited",
    errno.EPERM: "prohibited",
    errno.ECONNRESET: "closed",
    errno.EPIPE: "closed",
}


def made(protocol, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    return socket.socket(family, kind)


def told_of_errors(protocol, address):
    sock = made(protocol, address)
    if protocol == "udp":
        # Without it, Linux tells a socket that nobody is there, but not that the host or network isn't.
        level, option = (socket.IPPROTO_IPV6, 25) if ":" in address else (socket.IPPROTO_IP, 11)
        sock.setsockopt(level, option, 1)
    return sock


def bound(protocol, address, port):
    sock = made(protocol, address)
    if protocol == "tcp":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, int(port)))
    if protocol == "tcp":
        sock.listen(4096)
    return sock


def ready(*words):
    print("ready", *words, flush=True)


def until_input_ends():
    while os.read(0, 4096):
        pass


def in_background(work, *arguments):
    threading.Thread(target=work, args=arguments, daemon=True).start()


# Servers.


def listen(protocol, address, *ports):
    """Holds ports and never says a word."""
    held = [bound(protocol, address, port) for port in ports]
    ready(*(sock.getsockname()[1] for sock in held))
    until_input_ends()


def http(address, port, content):
    """Answers every request with the content, and tells in `X-Host` which host was asked."""
    server = bound("tcp", address, port)
    body = content.encode()

    def answer(sock):
        with sock, sock.makefile("rb") as lines:
            while request := lines.readline():
                fields = {}
                while (line := lines.readline().strip()):
                    name, _, value = line.partition(b":")
                    fields[name.lower()] = value.strip()
                if fields.get(b"upgrade") == b"echo":
                    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
                    while data := lines.read1(4096):
                        sock.sendall(data)
                    return
                lines.read(int(fields.get(b"content-length", 0)))
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Host: %s\r\nX-Request: %s\r\nContent-Length: %d\r\n\r\n"
                sock.sendall(head % (fields.get(b"host", b""), request.strip(), len(body)) + body)

    def serve():
        while True:
            in_background(answer, server.accept()[0])

    in_background(serve)
    ready(server.getsockname()[1])
    until_input_ends()


def echo(protocol, address, port):
    """Sends back what comes."""
    server = bound(protocol, address, port)
    if protocol == "tcp":
        in_background(asyncio.run, echo_streams(server))
    else:
        in_background(echo_datagrams, server)
    ready(server.getsockname()[1])
    until_input_ends()


async def echo_streams(server):
    async def one(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    serving = await asyncio.start_server(one, sock=server, backlog=4096)
    await serving.serve_forever()


def echo_datagrams(server):
    while True:
        data, peer = server.recvfrom(65535)
        server.sendto(data, peer)


def names(address, zone):
    """A name server for one zone: A 192.0.2.99, AAAA 2001:db8::99, and of big.ZONE a TXT too large for a datagram."""

    def question(query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        return ".".join(labels), struct.unpack("!H", query[at + 1 : at + 3])[0], query[12 : at + 5]

    def answer(query, limit):
        name, kind, asked = question(query)
        known = name == zone or name.endswith("." + zone)
        data = {1: [bytes([192, 0, 2, 99])], 28: [socket.inet_pton(socket.AF_INET6, "2001:db8::99")]}.get(kind, [])
        if kind == 16 and name == "big." + zone:
            data = [bytes([250]) + b"x" * 250 for _ in range(20)]
        data = data if known else []
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(one)) + one for one in data)
        flags = 0x8580 if known else 0x8583
        if 12 + len(asked) + len(records) > limit:
            records, data, flags = b"", [], flags | 0x0200
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(data), 0, 0) + asked + records

    datagrams, streams = bound("udp", address, 53), bound("tcp", address, 53)

    def serve_datagrams():
        while True:
            query, peer = datagrams.recvfrom(4096)
            datagrams.sendto(answer(query, 512), peer)

    def serve_streams():
        while True:
            sock, _ = streams.accept()
            with sock:
                while len(head := sock.recv(2, socket.MSG_WAITALL)) == 2:
                    reply = answer(sock.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL), 65535)
                    sock.sendall(struct.pack("!H", len(reply)) + reply)

    in_background(serve_datagrams)
    in_background(serve_streams)
    ready()
    until_input_ends()


# Clients.


def tried(work):
    """How the work fared, and the seconds that it took."""
    begun = time.monotonic()
    try:
        said = "answer: " + work()
    except TimeoutError:
        said = "silent"
    except OSError as error:
        said = OUTCOMES.get(error.errno, str(error))
    return said, time.monotonic() - begun


def tell(said, took):
    print(said, flush=True)
    print(f"took: {took:.3f}", flush=True)


def outcome(work):
    tell(*tried(work))


def quickest_outcome(work):
    """What took its time is tried again: a busy machine is slow now and then, a lost SYN always."""
    for _ in range(3):
        said, took = tried(work)
        if took < 0.5 or said == "silent":
            break
    tell(said, took)


def ask(protocol, address, port, text):
    """Sends the text and waits for as much in return."""

    def work():
        data, got = text.encode(), b""
        with told_of_errors(protocol, address) as sock:
            sock.settimeout(PATIENCE)
            sock.connect((address, int(port)))
            sock.sendall(data)
            while len(got) < len(data):
                part = sock.recv(65535)
                if not part:
                    raise ConnectionResetError(errno.ECONNRESET, "closed")
                got += part
        return got.decode()

    quickest_outcome(work)


def datagrams(address, port, *sizes):
    """Sends datagrams of these sizes, each once, and counts those that come back as they were."""

    def work():
        right = 0
        with made("udp", address) as sock:
            sock.settimeout(PATIENCE)
            sock.connect((address, int(port)))
            for size in map(int, sizes):
                data = os.urandom(size)
                sock.send(data)
                right += sock.recv(65535) == data
        return f"{right} of {len(sizes)}"

    outcome(work)


def crowd(address, port, count):
    """Has so many connections open at once, and an answer on each."""
    count = int(count)

    async def all_of_them():
        opening = asyncio.Semaphore(200)

        async def one():
            async with opening:
                return await asyncio.open_connection(address, int(port))

        streams = await asyncio.gather(*(one() for _ in range(count)))
        for number, (_, writer) in enumerate(streams):
            writer.write(b"%6d" % number)
        answers = [await reader.readexactly(6) for reader, _ in streams]
        for _, writer in streams:
            writer.close()
        return sum(int(answer) == number for number, answer in enumerate(answers))

    outcome(lambda: f"{asyncio.run(all_of_them())} of {count}")


def queue(address, port, count):
    """Opens so many connections one after another, and gets an answer on each."""

    def work():
        right = 0
        for number in range(int(count)):
            with made("tcp", address) as sock:
                sock.settimeout(PATIENCE)
                sock.connect((address, int(port)))
                data = b"%6d" % number
                sock.sendall(data)
                right += sock.recv(6, socket.MSG_WAITALL) == data
        return f"{right} of {count}"

    outcome(work)


# Both: a stream of so many bytes in one direction, and its SHA-256.


def stream(role, direction, address, port, count):
    if role == "listen":
        server = bound("tcp", address, port)
        ready(server.getsockname()[1])
        sock = server.accept()[0]
    else:
        sock = made("tcp", address)
        sock.connect((address, int(port)))
    digest, left = hashlib.sha256(), int(count)
    if direction == "send":
        block = os.urandom(1 << 20)
        while left:
            # Each block differs from the one before, so that none can take another's place.
            part = (left.to_bytes(8, "big") + block)[: min(left, 1 << 20)]
            sock.sendall(part)
            digest.update(part)
            left -= len(part)
        sock.shutdown(socket.SHUT_WR)
        # Until the receiver has everything.
        sock.recv(1)
    else:
        while part := sock.recv(1 << 20):
            digest.update(part)
            left -= len(part)
    print(f"sum: {digest.hexdigest()} {int(count) - left if direction == 'receive' else count}", flush=True)


# Signals.


def signals():
    """Counts the signals that come; says how many of each when a line comes, and ends."""
    caught = {}

    def catch(number, _):
        name = signal.Signals(number).name
        caught[name] = caught.get(name, 0) + 1
        print("got", name, flush=True)

    for name in "SIGINT SIGTERM SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGALRM SIGWINCH SIGCONT".split():
        signal.signal(getattr(signal, name), catch)
    ready(os.getpid())
    # Not readline, which would leave signals between two reads.
    while not select.select([0], [], [], 0.05)[0]:
        pass
    os.read(0, 4096)
    print("caught:", *(f"{name}={count}" for name, count in sorted(caught.items())), flush=True)


COMMANDS = {
    command.__name__: command
    for command in (listen, http, echo, names, ask, datagrams, crowd, queue, stream, signals)
}

COMMANDS[sys.argv[1]](*sys.argv[2:])
