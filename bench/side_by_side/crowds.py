"""Many at once: busy spaces, and idle connections through one space."""

import concurrent.futures
import json
import resource
import subprocess
import threading
import time

import measures
from spaces import PATIENCE, PROBE, Lines, Missing

# Descriptors that a process has besides its connections.
SPARE = 200


def busy_spaces(spaces, seconds, congestion):
    """Gbit/s of all spaces together, each with one stream out of it, from the first one's start to the last one's end."""
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(spaces)) as pool:
        told = list(pool.map(lambda space: measures.throughput(space, False, 1, seconds, congestion), spaces))
    return sum(each["bytes"] for each in told) * 8e-9 / (time.monotonic() - begun)


def idle_connections(space, server, count):
    """Many connections that do nothing: how fast they are made, what an active one beside them feels, and what memory they
    take of what carries them (MiB of PSS, before and with all of them)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count + SPARE > limit:
        raise Missing(f"one process may have {limit} descriptors here")
    holder = subprocess.Popen([PROBE, "hold", "0.0.0.0:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        ports = Lines(holder.stdout).next(PATIENCE)
        with Watched(space) as watched:
            command = [PROBE, "crowd", f"{space.address}:{server.port}", "--ports", ports, "--count", str(count)]
            told = json.loads(space.run(command, 120))
    finally:
        holder.stdin.close()
        holder.wait()
    return told | {"before": watched.least, "with": watched.most}


class Watched:
    """The memory of what carries a space's packets, looked at while something happens."""

    def __init__(self, space):
        self.space, self.done = space, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.least = self.most = self.memory()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def look(self):
        while not self.done.wait(0.25):
            self.most = max(self.most, self.memory())

    def memory(self):
        return sum(measures.rollup(pid) or measures.resident(pid) for pid in self.space.parts.values())
