"""What is measured, each a function of a space (or of a command) that gives one number or several."""

import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import time

from spaces import AGENT, PATIENCE, PROBE, Lines, Machine, Missing, Space, Wharf, children, descendants, need


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
        # The second is for trains of datagrams.
        self.port, self.trains = map(int, Lines(self.process.stdout).next(PATIENCE).split())

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


def throughput(space, into, streams, seconds, congestion, address=None, at=None):
    """Gbit/s that arrive over TCP, out of the space or into it, and the processor seconds per GB of what carries them.

    Each run has a server of its own: one that has served remembers its former client's congestion control. It runs on the
    machine, or in the space `at`; its `address` is the machine's unless said otherwise.
    """
    iperf3 = need("iperf3")
    port = str(free_port())
    serve = [iperf3, "--server", "--one-off", "--forceflush", "--port", port]
    client = [iperf3, "--client", address or space.address, "--port", port, "--time", str(seconds), "--json",
              "--parallel", str(streams), "--congestion", congestion, *(["--reverse"] if into else [])]
    with (at or Machine()).serving(serve, "listening"):
        before = processor_time(space)
        told = json.loads(space.run(client, seconds + PATIENCE))["end"]["sum_received"]
        used = processor_time(space) - before
    return {"gbits": told["bits_per_second"] / 1e9, "bytes": told["bytes"],
            "per_gb": used / (told["bytes"] / 1e9) if space.parts else None}


GIVEN = set()


def free_port():
    """A port that is free and was given to nobody before, who may not have taken it yet."""
    with contextlib.ExitStack() as asked:
        while True:
            one = asked.enter_context(socket.socket())
            one.bind(("", 0))
            port = one.getsockname()[1]
            if port not in GIVEN:
                GIVEN.add(port)
                return port


def processor_time(space):
    """Seconds of processor time that the processes have used which carry a space's packets."""
    return sum(used(pid) for pid in space.parts.values())


def used(pid):
    # After the name in brackets; the twelfth and thirteenth are the user's and the system's time, in ticks.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def datagrams(space, server, into, size, train, seconds):
    """Datagrams that arrive per second."""
    port = server.trains if train > 1 and not into else server.port
    command = [PROBE, "datagrams", f"{space.address}:{port}", "--seconds", str(seconds), "--size", str(size),
               "--train", str(train), *(["--into"] if into else [])]
    return float(space.run(command, 3 * seconds + PATIENCE))


NGINX = """
worker_processes 1; daemon off; pid {0}/nginx.pid; error_log {0}/nginx.log; user root;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
    server {{ listen {1} backlog=1024; return 200 "hello\\n"; }}
}}
"""


@contextlib.contextmanager
def nginx(scratch):
    """nginx on the machine, which answers all with a few octets; gives its port."""
    configuration, port = scratch / "nginx.conf", free_port()
    configuration.write_text(NGINX.format(scratch, port))
    server = subprocess.Popen([need("nginx"), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        await_listener(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def await_listener(port):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Missing(f"nothing listens at {port}")


def web(space, port, seconds):
    """Requests per second that wrk makes, a connection each, 32 at once."""
    command = [need("wrk"), "--threads", "1", "--connections", "32", "--duration", str(seconds),
               "--header", "Connection: close", f"http://{space.address}:{port}/"]
    told = space.run(command, seconds + PATIENCE)
    return float(next(line.split()[1] for line in told.splitlines() if line.startswith("Requests/sec:")))


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
    """The processes that a contestant keeps for a space, without the program inside; none where the kernel does it all."""
    if space.kind in ("loopback", "veth"):
        return {}
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
