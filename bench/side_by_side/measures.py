"""What is measured, each a function of a space (or of a command) that gives one number or several."""

import json
import os
import pathlib
import statistics
import subprocess
import time

from spaces import AGENT, PATIENCE, Lines, Missing, Space, Wharf, children, descendants, need

IPERF_PORT = 5201
PROBE = os.environ["PROBE"]


def busy(seconds):
    """How many processors are at work, looked at while nothing of the bench moves: other work, which spoils results."""
    def ticks():
        user, nice, system, _idle, _wait, *rest = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:])
        return user + nice + system + sum(rest[:2])
    before = ticks()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


class ProbeServer:
    """The probe's server on the machine; ends with this program, however that ends."""

    def __init__(self):
        self.process = subprocess.Popen(
            [PROBE, "serve", "0.0.0.0:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = int(Lines(self.process.stdout).next(PATIENCE))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def await_reach(space, server):
    """Waits until the machine's loopback is reached from inside; raises Missing if it is not."""
    end = time.monotonic() + 3
    while True:
        try:
            probe(space, server, "latency", 0.02)
            return
        except Missing as why:
            if time.monotonic() > end:
                raise Missing(f"does not reach the machine: {why}") from why
            time.sleep(0.1)


def throughput(space, into, streams, seconds, congestion):
    """Gbit/s that arrive over TCP, out of the space or into it.

    Each run has a server of its own: one that has served remembers its former client's congestion control.
    """
    iperf3 = need("iperf3")
    serve = [iperf3, "--server", "--one-off", "--forceflush", "--port", str(IPERF_PORT)]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        lines = Lines(server.stdout)
        while "listening" not in (line := lines.next(PATIENCE) or ""):
            if not line:
                raise Missing("the iperf3 server does not start")
        client = [iperf3, "--client", space.address, "--port", str(IPERF_PORT), "--time", str(seconds), "--json",
                  "--parallel", str(streams), "--congestion", congestion, *(["--reverse"] if into else [])]
        told = json.loads(space.run(client, seconds + PATIENCE))
        return told["end"]["sum_received"]["bits_per_second"] / 1e9
    finally:
        server.kill()
        server.communicate()


def probe(space, server, what, seconds, at_once=1):
    """The probe's summary: count, failed, per_second, p50_ns, p99_ns."""
    command = [PROBE, what, f"{space.address}:{server.port}", "--seconds", str(seconds), "--at-once", str(at_once)]
    return json.loads(space.run(command, seconds * 3 + PATIENCE))


def start_up(scratch, runs):
    """Milliseconds that `true` takes, by the way it is started; the median of several runs each."""
    times, missing = {}, {}
    for name, way in {"true": plain, "unshare": unshare, "pasta": pasta, "wharf": wharf}.items():
        try:
            times |= way(scratch, runs)
        except (Missing, subprocess.SubprocessError) as why:
            missing[name] = str(why)
    return times, missing


def plain(_scratch, runs):
    return {"true": clock(["true"], runs)}


def unshare(_scratch, runs):
    return {"unshare": clock(["unshare", "--map-root-user", "--net", "true"], runs)}


def pasta(_scratch, runs):
    return {"pasta": clock([need("pasta", "PASTA"), "--config-net", "--quiet", "--", "true"], runs)}


def wharf(scratch, runs):
    cold = Wharf(scratch / f"cold{time.monotonic_ns()}")
    times = {}
    try:
        samples = []
        for _ in range(max(runs // 2, 1)):
            samples.append(clock(cold.command("cold", "true"), 1, cold.env))
            daemon = cold.daemon()
            if daemon and not cold.wait_for_end(daemon):
                raise Missing("the daemon does not end with its last space")
        times["wharf, cold"] = statistics.median(samples)
        # A space that stays keeps the daemon up; each further start finds it running.
        stays = Space("wharf", 0, "", cold.command("stays", *AGENT), cold.env)
        try:
            samples = [clock(cold.command(f"new{number}", "true"), 1, cold.env) for number in range(runs)]
            times["wharf, new space"] = statistics.median(samples)
            times["wharf, same space"] = clock(cold.command("stays", "true"), runs, cold.env)
        finally:
            stays.close()
    finally:
        cold.close()
    return times


def clock(command, runs, env=None):
    samples = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=PATIENCE, check=True)
        samples.append((time.perf_counter() - began) * 1000)
    return statistics.median(samples)


def memory(pids):
    """PSS and RSS in MiB by part, of the processes given as {part: pid}; PSS is None where it may not be read."""
    return {part: {"pss": rollup(pid), "rss": resident(pid)} for part, pid in pids.items()}


def parts(space, wharf_here):
    """The processes that a contestant keeps for a space, without the program inside."""
    if space.kind == "wharf":
        daemon = wharf_here.daemon()
        keepers = children(daemon)
        return {"daemon": daemon, "run": space.process.pid} | {f"keeper {pid}": pid for pid in keepers}
    if space.kind == "slirp4netns":
        return {"slirp4netns": space.helpers[0].pid}
    agent = {pid for pid in descendants(space.process.pid) if "agent.py" in command_line(pid)}
    return {f"pasta {pid}": pid for pid in {space.process.pid, *descendants(space.process.pid)} - agent}


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def rollup(pid):
    try:
        return kibibytes(pathlib.Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
    except OSError:
        return None


def resident(pid):
    return kibibytes(pathlib.Path(f"/proc/{pid}/status"), "VmRSS:")


def kibibytes(path, field):
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1]) / 1024 for words in lines if words and words[0] == field), 0.0)
