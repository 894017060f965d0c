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

import measures
import report
import spaces
from spaces import KINDS, MTUS, Missing

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
    parser.add_argument("--only", action="append", choices=["throughput", "latency", "connections", "start-up", "memory"],
                        help="measure this alone (repeatable)")
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
        wanted = self.options.only or ["throughput", "latency", "connections", "start-up"]
        if "throughput" in wanted and not shutil.which("iperf3"):
            self.results.remark("iperf3 is not installed: no throughput")
        elif "throughput" in wanted:
            for congestion in self.options.congestion:
                yield from self.throughput(congestion)
        if "latency" in wanted:
            for kind in KINDS:
                yield lambda kind=kind: self.probe(kind, "latency", 1)
        if "connections" in wanted:
            for at_once in [1, 16]:
                for kind in KINDS:
                    yield lambda kind=kind, at_once=at_once: self.probe(kind, "connections", at_once)
        if "start-up" in wanted:
            yield self.start_up

    def throughput(self, congestion):
        name = self.use(congestion)
        if not name:
            return
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
        if self.options.only and "memory" not in self.options.only:
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
