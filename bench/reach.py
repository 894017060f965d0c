#!/usr/bin/env python3
"""How fast a space is reached from the machine: by name, beside nginx as the proxy; by published ports, beside pasta's.

    bench/reach.py WHARF [ROUNDS [SECONDS]]

In a user and network namespace of its own, where nothing else talks. All contestants stand at once and take turns; the tables have
medians, with the lowest and highest in brackets. Wants nginx, wrk, iperf3 and pasta; who isn't there has no line.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).with_name("side_by_side")))
os.environ.setdefault("PROBE", "")  # is none of this bench's
from spaces import adopt_orphans, end_descendants  # noqa: E402

PATIENCE = 20
# An address of the machine that isn't loopback: RFC 5737's documentation network.
ADDRESS, NEIGHBOUR = "198.51.100.1", "198.51.100.2"
NAMES = 7070

NGINX = """
worker_processes 1; daemon off; pid {0}/{1}.pid; error_log {0}/{1}.log; user root;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
    {2}
}}
"""
SERVES = "server {{ listen {}; root {}; }}"
# As nginx's own documentation has it for connections that are kept.
PROXIES = """upstream program {{ server 127.0.0.1:{1}; keepalive 64; keepalive_requests 1000000; }}
    server {{ listen {0}; location / {{ proxy_pass http://program; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_buffering off; }} }}"""


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if os.environ.get("REACH") != "1":
        alone = ["unshare", "--map-root-user", "--net", "--", sys.executable, "-B", *sys.argv]
        os.execvpe("unshare", alone, os.environ | {"REACH": "1"})
    wharf = str(pathlib.Path(sys.argv[1]).resolve())
    typed = [int(word) for word in sys.argv[2:4]]
    rounds, seconds = typed + [5, 3][len(typed):]
    for line in ["link set lo up", "link add wire type veth peer name far", "link set far up", f"address add {ADDRESS}/24 dev wire", "link set wire up",
                 f"route add default via {NEIGHBOUR}"]:
        subprocess.run(["ip", *line.split()], check=True)
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="reach") as scratch, contextlib.ExitStack() as stack:
        Bench(wharf, pathlib.Path(scratch), rounds, seconds, stack).play()


class Bench:
    def __init__(self, wharf, scratch, rounds, seconds, stack):
        self.wharf, self.scratch, self.rounds, self.seconds, self.stack = wharf, scratch, rounds, seconds, stack
        for directory in ["run", "state"]:
            (scratch / directory).mkdir(mode=0o700)
        self.env = os.environ | {"XDG_RUNTIME_DIR": str(scratch / "run"), "XDG_STATE_HOME": str(scratch / "state"),
                                 "WHARF_NAMES_PORT": str(NAMES)}

    def play(self):
        self.stack.callback(end_descendants)
        self.stack.callback(lambda: self.say("stop", "--all"))
        self.web()
        self.published()

    def say(self, *words):
        return subprocess.run([self.wharf, *words], env=self.env, capture_output=True, text=True, check=False).stdout

    def start(self, *words, env=None):
        process = subprocess.Popen(words, env=env or self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.stack.callback(end, process)

    def inside(self, space, *words):
        self.start(self.wharf, "run", "--quiet", "--space", space, "--", *words)

    def nginx(self, name, *servers):
        file = self.scratch / f"{name}.conf"
        file.write_text(NGINX.format(self.scratch, name, "\n".join(servers)))
        return ["nginx", "-c", str(file)]

    def web(self):
        """Requests on connections that are kept, of a small page and of a large one."""
        if missing("nginx", "wrk"):
            return
        root = self.scratch / "root"
        root.mkdir()
        (root / "small").write_bytes(b"hello\n")
        (root / "large").write_bytes(os.urandom(1 << 20))
        self.inside("web", *self.nginx("inside", SERVES.format("127.0.0.1:8000", root)))
        self.start(*self.nginx("direct", SERVES.format("127.0.0.1:8001", root)))
        self.start(*self.nginx("proxy", PROXIES.format("127.0.0.1:8002", 8001)))
        for port in [8001, 8002]:
            await_listener("127.0.0.1", port)
        place = self.publish("web:8000")
        ways = {
            "the program itself": (8001, []),
            "nginx as the proxy": (8002, []),
            "wharf, by name": (NAMES, ["--header", "Host: web.localhost:7070"]),
            "wharf, published": (place, []),
        }
        pages = {"small": ("requests/s", 1), "large": ("Gbit/s, pages of 1 MiB", (8 << 20) / 1e9)}
        for page, connections in [("small", 32), ("small", 1), ("large", 32)]:
            unit, scale = pages[page]
            def measure(way, page=page, connections=connections, scale=scale):
                port, words = way
                at = port if isinstance(port, str) else f"127.0.0.1:{port}"
                return self.wrk(f"http://{at}/{page}", connections, words) * scale
            on = "one connection" if connections == 1 else f"{connections} connections"
            table(f"Web, {unit} on {on}", self.take_turns(ways, measure))

    def wrk(self, url, connections, words):
        command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", str(self.seconds), *words, url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in told or "Socket errors" in told:
            sys.exit(f"{url}: {told}")
        return float(next(line.split()[1] for line in told.splitlines() if line.startswith("Requests/sec:")))

    def published(self):
        """One TCP stream to a port of a space, each way."""
        if missing("iperf3"):
            return
        self.inside("bulk", "iperf3", "--server", "--port", "5201")
        self.start("iperf3", "--server", "--port", "5202")
        loopback = {"the program itself": "127.0.0.1:5202", "wharf": self.publish("bulk:5201")}
        network = {"the program itself": f"{ADDRESS}:5202", "wharf": self.publish("bulk:5201", "--at", ADDRESS)}
        if not missing("pasta"):
            forward = ["-t", "127.0.0.1/5203:5203", "-t", f"{ADDRESS}/5204:5203", "-u", "none", "-T", "none", "-U", "none"]
            self.start("pasta", "--config-net", "--quiet", *forward, "--", "iperf3", "--server", "--port", "5203")
            loopback["pasta"], network["pasta"] = "127.0.0.1:5203", f"{ADDRESS}:5204"
        for ways, whence in [(loopback, "from the machine's loopback"), (network, "from an address of the network")]:
            for address in ways.values():
                await_listener(*address.split(":"))
            for words, whither in [([], "in"), (["--reverse"], "out")]:
                measure = lambda address, words=words: self.iperf3(address, words)
                table(f"Published, Gbit/s {whither}, {whence}", self.take_turns(ways, measure))

    def iperf3(self, address, words):
        host, port = address.split(":")
        command = ["iperf3", "--client", host, "--port", port, "--time", str(self.seconds), "--json", *words]
        # A server of one client at a time may still be busy with the one before.
        for _ in range(20):
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
            if "error" not in told:
                return told["end"]["sum_received"]["bits_per_second"] / 1e9
            time.sleep(0.2)
        sys.exit(f"{address}: {told['error']}")

    def publish(self, *words):
        end_of_time = time.monotonic() + PATIENCE
        while time.monotonic() < end_of_time:
            place = self.say("publish", *words).split(" ")[0].strip()
            if place:
                await_listener(*place.split(":"))
                return place
            time.sleep(0.1)
        sys.exit(f"wharf publish {' '.join(words)} fails")

    def take_turns(self, ways, measure):
        samples = {name: [] for name in ways}
        for _ in range(self.rounds):
            for name, way in ways.items():
                samples[name].append(measure(way))
        return samples


def missing(*programs):
    absent = [program for program in programs if not shutil.which(program)]
    for program in absent:
        print(f"not installed: {program}", file=sys.stderr)
    return bool(absent)


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_listener(host, port):
    end_of_time = time.monotonic() + PATIENCE
    while time.monotonic() < end_of_time:
        with socket.socket() as asked:
            if asked.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens at {host}:{port}")


def table(title, samples):
    whole = statistics.median(next(iter(samples.values())))
    print(f"\n{title}\n")
    print("| | median | of the program itself |\n|---|---|---|")
    for name, values in samples.items():
        median = statistics.median(values)
        figure = "{:,.0f}" if median > 1000 else "{:.2f}"
        low, high = (figure.format(value) for value in (min(values), max(values)))
        print(f"| {name} | {figure.format(median)} ({low}–{high}) | {median / whole:.0%} |", flush=True)


if __name__ == "__main__":
    main()
