"""A far server behind a bad wire, and what each contestant gets through it."""

import contextlib
import subprocess

import measures
from spaces import PATIENCE, PROBE, Lines, Missing, Space, ip, AGENT

# RFC 5737's third documentation network: the machine's end of the wire and the server's.
NEAR, FAR = "203.0.113.1", "203.0.113.2"
ROUND_TRIPS_MS = [20, 50, 200]
LOSSES = [0.001, 0.01]
STREAMS = 8


class Far:
    """A namespace at the far end of a wire that delays and loses."""

    def __init__(self, round_trip_ms, loss):
        self.space = Space("far", 1500, FAR, ["unshare", "--net", *AGENT])
        wire = [PROBE, "wire", "--delay", str(round_trip_ms / 2), "--loss", str(loss)]
        self.wire = subprocess.Popen(wire, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.space.errors)
        self.space.helpers.append(self.wire)
        if Lines(self.wire.stdout).next(PATIENCE) != "ready":
            self.close()
            raise Missing("the wire does not start")
        ip("link", "set", "far", "netns", str(self.space.process.pid))
        ip("address", "add", f"{NEAR}/24", "dev", "near")
        ip("link", "set", "near", "up")
        for words in [["address", "add", f"{FAR}/24", "dev", "far"], ["link", "set", "far", "up"]]:
            self.space.run(["ip", *words], PATIENCE)

    def close(self):
        self.space.close()


@contextlib.contextmanager
def far(round_trip_ms, loss):
    there = Far(round_trip_ms, loss)
    try:
        yield there.space
    finally:
        there.close()


def goodput(space, there, into, seconds, congestion):
    """Mbit/s over several streams, whose losses are independent: their sum scatters less than one."""
    return measures.throughput(space, into, STREAMS, seconds, congestion, FAR, there)["gbits"] * 1000
