"""The contestants: each is a way into a network namespace, with an agent at its end that runs commands there."""

import contextlib
import ctypes
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

AGENT = [sys.executable, "-B", str(pathlib.Path(__file__).with_name("agent.py"))]
PROBE = os.environ["PROBE"]
KINDS = ["wharf", "pasta", "slirp4netns", "loopback", "veth"]
MTUS = [65520, 1500]
# The machine's own address and its neighbour's, by MTU: RFC 5737's documentation networks.
VETH = {65520: ("192.0.2.1", "192.0.2.2"), 1500: ("198.51.100.1", "198.51.100.2")}
# From <linux/prctl.h>.
PR_SET_CHILD_SUBREAPER = 36
# How long anything may take to start or to end, in seconds.
PATIENCE = 10


class Missing(Exception):
    """This contestant can't take part; says why."""


class Space:
    """A contestant at work: commands run in it through `run`, and reach the machine's loopback at `address`."""

    def __init__(self, kind, mtu, address, command, env=None):
        self.kind, self.mtu, self.address = kind, mtu, address
        self.helpers = []
        # The processes that carry its packets, by what they are.
        self.parts = {}
        # A file and no pipe: whatever else holds it, reading it never waits.
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=env
        )
        self.lines = Lines(self.process.stdout)
        if self.lines.next(PATIENCE) != "ready":
            self.close()
            raise Missing(f"does not start: {said(self.errors)}")

    def run(self, command, timeout):
        """Runs a command inside; gives its output, raises Missing when it fails."""
        self.process.stdin.write(json.dumps({"command": command, "timeout": timeout}).encode() + b"\n")
        self.process.stdin.flush()
        line = self.lines.next(timeout + PATIENCE)
        answer = json.loads(line) if line else {"status": None, "err": "the space is gone"}
        if answer["status"] != 0:
            words = (answer["err"] or answer["out"]).strip().splitlines()
            raise Missing(" ".join(words[-2:])[:200] or f"status {answer['status']}")
        return answer["out"]

    @contextlib.contextmanager
    def serving(self, command, sign):
        """Has a server run inside, from when it has said the sign until the block ends."""
        pid, log = self.run(["sh", "-c", BACKGROUND, "sh", sign, *command], PATIENCE).split()
        try:
            yield
        finally:
            self.run(["sh", "-c", "kill $0; rm $1", pid, log], PATIENCE)

    def close(self):
        """Ends the agent, and with it whatever was started for it."""
        self.process.stdin.close()
        for process in [self.process, *self.helpers]:
            if process is not self.process:
                process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# Starts the rest of the words and waits until their output has the first.
BACKGROUND = """sign=$1; shift; log=$(mktemp); "$@" </dev/null >"$log" 2>&1 & pid=$!
for _ in $(seq 100); do grep -q "$sign" "$log" && break; sleep 0.05; done
echo "$pid $log" """


class Machine:
    """The machine itself, where servers run."""

    @contextlib.contextmanager
    def serving(self, command, sign):
        """Has a server run, from when it has said the sign until the block ends."""
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            lines = Lines(server.stdout)
            while sign not in (line := lines.next(PATIENCE) or ""):
                if not line:
                    raise Missing(f"{command[0]} does not start")
            yield
        finally:
            server.kill()
            server.communicate()


def said(errors):
    """The last line that a program wrote to its standard error."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "says nothing"


class Lines:
    """The lines of a pipe, each waited for so long and no longer."""

    def __init__(self, pipe):
        self.descriptor, self.rest = pipe.fileno(), b""

    def next(self, timeout):
        """One line; None at the end of the pipe or of the time."""
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                return None
            more = os.read(self.descriptor, 1 << 16)
            if not more:
                return None
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode(errors="replace").strip()


def children(parent):
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            if f"\nPPid:\t{parent}\n" in status.read_text():
                found.append(int(status.parent.name))
        except OSError:
            pass
    return found


def descendants(parent):
    found = children(parent)
    return found + [further for child in found for further in descendants(child)]


def adopt_orphans():
    """Has what loses its parent become a child of this process, so that it can be found at the end: pasta leaves one
    behind where it can't open its device."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("cannot become a subreaper")


def end_descendants():
    """Ends whatever this process, or something that it started, has started and left."""
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def open_space(kind, mtu, wharf):
    """Opens a contestant's space; raises Missing where that can't be."""
    return {"wharf": wharf.open, "pasta": pasta, "slirp4netns": slirp4netns, "loopback": loopback, "veth": veth}[kind](mtu)


def set_up_machine():
    """Gives this namespace loopback; the veth pairs come with their spaces."""
    ip("link", "set", "lo", "up")


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"ip {' '.join(words)}: {done.stderr.strip()}")


def need(command, variable=None):
    found = shutil.which(os.environ.get(variable or "", "") or command)
    if not found:
        raise Missing("not installed")
    return found


def loopback(mtu):
    return Space("loopback", mtu, "127.0.0.1", AGENT)


def veth(mtu):
    near, far = VETH[mtu]
    space = Space("veth", mtu, near, ["unshare", "--net", *AGENT])
    try:
        name = f"veth{mtu}"
        ip("link", "add", name, "mtu", str(mtu), "type", "veth",
           "peer", "name", "eth0", "mtu", str(mtu), "netns", str(space.process.pid))
        ip("address", "add", f"{near}/30", "dev", name)
        ip("link", "set", name, "up")
        space.run(["ip", "address", "add", f"{far}/30", "dev", "eth0"], PATIENCE)
        space.run(["ip", "link", "set", "eth0", "up"], PATIENCE)
        if mtu == MTUS[0]:
            # pasta copies an address and a default route from the machine; nothing else uses this one.
            ip("route", "add", "default", "via", far)
    except Missing:
        space.close()
        raise
    return space


def pasta(mtu):
    program = need("pasta", "PASTA")
    # Until 2024 the gateway's address stood for the machine's loopback by itself.
    options = ["--map-gw"] if "--map-gw" in subprocess.run([program, "--help"], capture_output=True, text=True).stdout else []
    forwards = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
    command = [program, "--config-net", "--quiet", *options, "-m", str(mtu), *forwards, "--", *AGENT]
    return Space("pasta", mtu, VETH[MTUS[0]][1], command)


def slirp4netns(mtu):
    program = need("slirp4netns")
    space = Space("slirp4netns", mtu, "10.0.2.2", ["unshare", "--net", *AGENT])
    ready, write = os.pipe()
    command = [program, "--configure", f"--mtu={mtu}", f"--ready-fd={write}", str(space.process.pid), "tap0"]
    errors = tempfile.TemporaryFile()
    helper = subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=errors)
    os.close(write)
    space.helpers.append(helper)
    with os.fdopen(ready) as stream:
        if select.select([stream], [], [], PATIENCE)[0] and stream.read(1):
            return space
    space.close()
    raise Missing(f"does not start: {said(errors)}")


class Wharf:
    """A wharf of the bench's own: its directories are apart from the user's, and it takes no port of by-name."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.env = os.environ | {
            "XDG_RUNTIME_DIR": str(self.directory),
            "XDG_STATE_HOME": str(self.directory / "state"),
            "WHARF_NAMES_PORT": "0",
        }

    def command(self, name, *words, mtu=65520):
        program = os.environ.get("WHARF")
        if not program or not shutil.which(program):
            raise Missing("no binary; WHARF=/path names one")
        return [program, "run", "--quiet", "--space", name, "--mtu", str(mtu), "--", *words]

    def open(self, mtu, name=None):
        return Space("wharf", mtu, "10.77.0.1", self.command(name or f"bench-{mtu}", *AGENT, mtu=mtu), self.env)

    def daemon(self):
        """The daemon's pid, or None where none runs."""
        with socket.socket(socket.AF_UNIX) as asked:
            try:
                asked.connect(str(self.directory / "wharf" / "daemon"))
            except OSError:
                return None
            return struct.unpack("3i", asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def wait_for_end(self, pid):
        """Waits until the daemon has gone, as it does a moment after its last space; says whether it did."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([descriptor], [], [], PATIENCE)[0])
        finally:
            os.close(descriptor)

    def close(self):
        pid = self.daemon()
        if pid is None:
            return
        stop = [os.environ["WHARF"], "stop", "--all"]
        subprocess.run(stop, env=self.env, capture_output=True, timeout=PATIENCE, check=False)
        if not self.wait_for_end(pid):
            os.kill(pid, signal.SIGKILL)
