"""Side by side: rounds in which every contestant has its turn, and a table of medians and ratios."""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import crowds
import far
import measures
import report
import spaces
from spaces import KINDS, MTUS, Missing

USUAL = ["throughput", "latency", "connections", "start-up"]
# These take minutes, and are measured when they are asked for.
FURTHER = ["between", "datagrams", "web", "far", "busy", "idle"]
# Octets of a datagram, and how many one call sends.
DATAGRAMS = [(64, 1), (1400, 1), (1400, 40)]
BUSY = [1, 8, 64]
IDLE = [10_000, 100_000]
SETTING = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The directory's name is short: a Unix socket's path has 108 bytes.
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="wharf-bench-", dir="/tmp"))
    try:
        spaces.adopt_orphans()
        with contextlib.ExitStack() as stack:
            stack.callback(spaces.end_descendants)
            bench = Bench(options, scratch, stack)
            bench.set_up()
            bench.measure()
            bench.measure_memory("after the load")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(report.markdown(bench.results))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(bench.results), indent=1) + "\n")


def parse():
    parser = argparse.ArgumentParser(prog="bench/run", description="wharf, pasta, slirp4netns and the kernel, side by side")
    parser.add_argument("--rounds", type=int, default=3, help="how often every contestant has its turn (default 3)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each throughput run takes (default 3)")
    parser.add_argument("--quick", action="store_true", help="one round of one second each: a look, no result")
    parser.add_argument("--streams", type=int, action="append", metavar="N",
                        help="streams at once in throughput runs (default 1; repeatable)")
    parser.add_argument("--congestion", action="append", metavar="NAME",
                        help="TCP congestion control on every side; `default` is the machine's (default reno; repeatable)")
    parser.add_argument("--only", action="append", choices=[*USUAL, "memory", *FURTHER],
                        help=f"measure this alone (repeatable); {', '.join(FURTHER)} are measured only so")
    parser.add_argument("--limit", type=int, default=480, metavar="SECONDS", help="begin nothing after that (default 480)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    options.streams = options.streams or [1]
    options.congestion = options.congestion or ["reno"]
    return options


class Bench:
    """One run of the bench."""

    def __init__(self, options, scratch, stack):
        self.options, self.scratch, self.stack = options, scratch, stack
        self.spaces = {}
        self.end = time.monotonic() + options.limit
        self.results = report.Results(options)

    def wants(self, *what):
        return any(name in (self.options.only or [*USUAL, "memory"]) for name in what)

    def set_up(self):
        spaces.set_up_machine()
        self.server = measures.ProbeServer()
        self.stack.callback(self.server.close)
        self.wharf = spaces.Wharf(self.scratch / "w")
        self.stack.callback(self.wharf.close)
        # veth comes before pasta, which copies its address.
        for kind in sorted(KINDS, key=lambda kind: kind != "veth"):
            for mtu in MTUS:
                self.open(kind, mtu)
                # One space is open now and has moved next to nothing.
                if mtu == MTUS[0] and (kind, mtu) in self.spaces:
                    self.measure_memory("idle", kind)

    def open(self, kind, mtu):
        if kind == "loopback" and mtu != MTUS[0]:
            # Loopback has one MTU, and stands in both columns.
            self.spaces[kind, mtu] = self.spaces.get((kind, MTUS[0]))
            return
        try:
            space = spaces.open_space(kind, mtu, self.wharf)
            self.stack.callback(space.close)
            measures.await_reach(space, self.server)
            space.parts = measures.parts(space, self.wharf)
            self.spaces[kind, mtu] = space
        except Missing as why:
            self.results.remark(f"{kind}, MTU {mtu}: {why}")

    def measure(self):
        for number in range(1, self.options.rounds + 1):
            print(f"bench: round {number} of {self.options.rounds}", file=sys.stderr)
            self.results.others.append(measures.busy(1))
            for step in self.steps():
                if time.monotonic() > self.end:
                    self.results.remark(f"time was up in round {number}; what came before counts")
                    return
                step()

    def steps(self):
        """One round: the contestants take turns within each measure."""
        if self.wants("throughput", "between", "far", "busy") and not shutil.which("iperf3"):
            self.results.remark("iperf3 is not installed: no throughput")
        else:
            for congestion in self.options.congestion:
                yield from self.streams(congestion)
        if self.wants("latency"):
            yield from (lambda kind=kind: self.probe(kind, "latency", 1) for kind in KINDS)
        if self.wants("connections"):
            yield from (lambda kind=kind, at_once=at_once: self.probe(kind, "connections", at_once)
                        for at_once in [1, 32] for kind in KINDS)
        if self.wants("datagrams"):
            yield from (lambda key=("datagrams", into, *shape), kind=kind: self.datagrams(key, kind)
                        for shape in DATAGRAMS for into in [False, True] for kind in KINDS)
        if self.wants("web"):
            yield self.web
        if self.wants("idle"):
            yield from (lambda count=count, kind=kind: self.idle(count, kind) for count in IDLE for kind in KINDS)
        if self.wants("start-up"):
            yield self.start_up

    def streams(self, congestion):
        name = self.use(congestion)
        if not name:
            return
        if self.wants("throughput"):
            yield from self.throughput(name)
        if self.wants("between"):
            yield lambda: self.between(name)
        if self.wants("far"):
            yield from (lambda trip=trip, loss=loss: self.far(name, trip, loss)
                        for trip in far.ROUND_TRIPS_MS for loss in far.LOSSES)
        if self.wants("busy"):
            yield from (lambda count=count: self.busy(name, count) for count in BUSY)

    def throughput(self, name):
        for streams in self.options.streams:
            for into in [False, True]:
                for mtu in MTUS:
                    for kind in KINDS:
                        if kind != "loopback" or mtu == MTUS[0]:
                            key = ("throughput", name, streams, into, mtu)
                            yield lambda key=key, kind=kind: self.run_throughput(key, kind)

    def use(self, congestion):
        """Makes a congestion control the default of this machine, so that every program's own sockets have it."""
        machine = os.environ.setdefault("BENCH_CONGESTION", SETTING.read_text().strip())
        name = machine if congestion == "default" else congestion
        try:
            SETTING.write_text(name)
        except OSError as error:
            self.results.remark(f"congestion control {name} can't be set in a namespace ({error.strerror}): not measured")
            return None
        return name

    def run_throughput(self, key, kind):
        _, name, streams, into, mtu = key
        self.sample(key, kind, mtu, lambda space: measures.throughput(space, into, streams, self.options.seconds, name))

    def between(self, name):
        """From one of wharf's spaces to another; the kernel's veth beside it."""
        with contextlib.closing(self.wharf.open(MTUS[0], "other")) as other:
            self.sample(("between", name), "wharf", MTUS[0], lambda space: measures.throughput(
                space, False, 1, self.options.seconds, name, "other.internal", other)["gbits"])
        self.sample(("between", name), "veth", MTUS[0], lambda space: measures.throughput(
            space, False, 1, self.options.seconds, name)["gbits"])

    def far(self, name, trip, loss):
        """Out of a space and into it, with a server behind a bad wire."""
        with far.far(trip, loss) as there:
            for into in [False, True]:
                for kind in [kind for kind in KINDS if kind != "veth"]:
                    self.sample(("far", name, trip, loss, into), kind, MTUS[0], lambda space: far.goodput(
                        space, there, into, self.options.seconds, name))

    def busy(self, name, count):
        with contextlib.ExitStack() as stack:
            busy = [stack.enter_context(contextlib.closing(self.wharf.open(MTUS[0], f"busy{nth}"))) for nth in range(count)]
            self.results.add(("busy", name, count), "wharf", crowds.busy_spaces(busy, self.options.seconds, name))

    def datagrams(self, key, kind):
        _, into, size, train = key
        self.sample(key, kind, MTUS[0], lambda space: measures.datagrams(
            space, self.server, into, size, train, self.options.seconds))

    def web(self):
        with measures.nginx(self.scratch) as port:
            for kind in KINDS:
                self.sample(("web",), kind, MTUS[0], lambda space: measures.web(space, port, self.options.seconds))

    def idle(self, count, kind):
        def take(space):
            told = crowds.idle_connections(space, self.server, count)
            if told["failed"]:
                self.results.remark(f"{kind}: {told['failed']} of {count} idle connections failed: {told['why']}")
            return told
        self.sample(("idle", count), kind, MTUS[0], take)

    def probe(self, kind, what, at_once):
        seconds = 0.5 if self.options.quick else 1
        def take(space):
            told = measures.probe(space, self.server, what, seconds, at_once)
            if told["failed"]:
                self.results.remark(f"{kind}: {told['failed']} of {told['count']} connections failed, {at_once} at once")
            return told
        self.sample((what, at_once), kind, MTUS[0], take)

    def sample(self, key, kind, mtu, take):
        space = self.spaces.get((kind, mtu))
        if not space:
            return
        try:
            self.results.add(key, kind, take(space))
        except (Missing, ValueError, KeyError) as why:
            self.results.remark(f"{kind}, {report.title(key)}: {why}")

    def start_up(self):
        times, missing = measures.start_up(self.scratch, 5 if self.options.quick else 10)
        for way, milliseconds in times.items():
            self.results.add(("start-up",), way, milliseconds)
        for way, why in missing.items():
            self.results.remark(f"{way}, start-up: {why}")

    def measure_memory(self, when, only=None):
        if not self.wants("memory"):
            return
        for kind in [only] if only else KINDS:
            space = self.spaces.get((kind, MTUS[0]))
            if space and kind in ("wharf", "pasta", "slirp4netns"):
                try:
                    self.results.memory[when, kind] = measures.memory(measures.parts(space, self.wharf))
                except OSError as error:
                    self.results.remark(f"{kind}, memory: {error}")


if __name__ == "__main__":
    main()
