#!/usr/bin/env python3
"""Plays the scenes of recordings.md in a real terminal (tmux) and prints that page.

    docs/record.py WHARF [--user NAME] > docs/recordings.md

What stands in the page is what the terminal showed. Run by root, the scenes are played as that user (`nobody` if not
named), and a server of root stands for somebody else's; else that part is left out. Needs tmux, git and curl.
"""

import argparse
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

WIDTH, HEIGHT = 110, 300
PATIENCE = 30


class Terminal:
    """One window of tmux with a shell in a directory."""

    def __init__(self, stage, directory):
        self.stage = stage
        self.count = os.path.join(stage.home, f".prompts-{len(stage.windows)}")
        stage.windows.append(self)
        made = stage.tmux("new-window", "-d", "-P", "-F", "#{pane_id}", "-c", directory, stage.shell(self.count))
        self.pane = made.strip()
        self.shown = 0
        self.await_prompt(1)

    def prompts(self):
        try:
            with open(self.count) as count:
                return int(count.read() or 0)
        except FileNotFoundError:
            return 0

    def await_prompt(self, number):
        self.stage.await_that(f"prompt {number}", lambda: self.prompts() >= number)

    def text(self):
        return self.stage.tmux("capture-pane", "-p", "-J", "-t", self.pane).rstrip()

    def type(self, line):
        self.stage.tmux("send-keys", "-t", self.pane, "-l", line)
        self.stage.tmux("send-keys", "-t", self.pane, "Enter")

    def run(self, line):
        """Types a command and waits until it has ended."""
        before = self.prompts()
        self.type(line)
        self.await_prompt(before + 1)
        return self

    def start(self, line, until):
        """Types a command that stays, and waits until it shows that."""
        self.type(line)
        self.stage.await_that(until, lambda: re.search(until, self.text()))
        return self

    def take(self):
        """What came since this was asked last, without the prompt that waits."""
        lines = [line.rstrip() for line in self.text().splitlines()]
        taken, self.shown = lines[self.shown :], len(lines) - 1
        if taken and taken[-1].endswith("$"):
            taken.pop()
        else:
            self.shown += 1
        return "\n".join(taken)


class Stage:
    """A home with two worktrees, a wharf of its own, and a terminal."""

    def __init__(self, wharf, user):
        self.user = user
        self.windows = []
        self.top = tempfile.mkdtemp(prefix="rec", dir="/tmp")
        # Short, since it is shown.
        self.home = "/tmp/ada" if not os.path.exists("/tmp/ada") else os.path.join(self.top, "home")
        binaries = os.path.join(self.top, "bin")
        for directory in (self.home, binaries, os.path.join(self.top, "run"), os.path.join(self.top, "state")):
            os.mkdir(directory, 0o700)
        shutil.copy(wharf, os.path.join(binaries, "wharf"))
        os.chmod(self.top, 0o755)
        self.environment = {
            "HOME": self.home,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "XDG_RUNTIME_DIR": os.path.join(self.top, "run"),
            "XDG_STATE_HOME": os.path.join(self.top, "state"),
            "WHARF_NAMES_PORT": os.environ.get("WHARF_NAMES_PORT", "7070"),
            "NO_COLOR": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        if user:
            for path in [self.home, *(path for path, _, _ in os.walk(self.top))]:
                os.chown(path, user.pw_uid, user.pw_gid)
            os.chmod(os.path.join(binaries, "wharf"), 0o755)
        self.worktrees()
        self.tmux("new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), "sleep 1000")

    def as_user(self, words, **options):
        if self.user:
            options.update(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[])
        return subprocess.run(words, env=self.environment, cwd=self.home, check=True, text=True, capture_output=True, **options)

    def tmux(self, *words):
        return self.as_user(["tmux", "-f", "/dev/null", "-S", os.path.join(self.top, "tmux"), *words]).stdout

    def shell(self, count):
        prompt = f"PROMPT_COMMAND='echo $((++prompts)) > {count}' PS1='\\w$ '"
        return f"env {prompt} bash --norc --noprofile -i"

    def worktrees(self):
        shop = os.path.join(self.home, "shop")
        identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
        self.as_user(["git", "init", "-q", "-b", "main", shop])
        self.as_user(["git", "-C", shop, *identity, "commit", "-q", "--allow-empty", "-m", "begin"])
        self.as_user(["git", "-C", shop, "worktree", "add", "-q", "-b", "fix/cart", f"{shop}-b"])
        for name in ("shop", "shop-b"):
            self.as_user(["sh", "-c", f"echo hello from {name} > {name}/index.html"])

    def await_that(self, what, look):
        end = time.monotonic() + PATIENCE
        while not look():
            if time.monotonic() > end:
                shown = "\n\n".join(window.text() for window in self.windows)
                sys.exit(f"{what} never came; the terminal shows\n{shown}")
            time.sleep(0.02)

    def window(self, *names):
        return Terminal(self, os.path.join(self.home, *names))

    def end(self):
        self.as_user([os.path.join(self.top, "bin", "wharf"), "stop", "--all"], timeout=60)
        self.tmux("kill-server")
        # The shells write until they hear that their terminal is gone.
        for directory in (self.home, self.top):
            self.await_that(f"the end of {directory}", lambda: shutil.rmtree(directory, ignore_errors=True) or not os.path.exists(directory))


def block(*texts):
    body = "\n\n".join(text for text in texts if text)
    return "\n".join(f"    {line}".rstrip() for line in body.splitlines())


def two_worktrees(stage):
    one = stage.window("shop").start("wharf run -- python3 -m http.server 8000", "Serving")
    other = stage.window("shop-b").start("wharf run -- python3 -m http.server 8000", "Serving")
    yield "## Two worktrees, one port\n\nTwo checkouts of one repository, the same command in both, at the same time:"
    yield block(one.take(), other.take())
    third = stage.window("shop")
    names = stage.environment["WHARF_NAMES_PORT"]
    third.run(f"curl http://shop.localhost:{names}/").run(f"curl http://shop-b.localhost:{names}/").run("wharf ls")
    yield "Both from outside, by name, and who listens where:"
    yield block(third.take())
    third.run("wharf run -- python3 -m http.server 8000 2>&1 | tail -n 5")
    yield "The same port twice in one worktree is a conflict, and says so:"
    yield block(third.take())
    third.run("wharf assert .:8000 --cwd ~/shop-b").run("wharf publish 127.0.0.1:3000+:8000").run("wharf why .:8000")
    yield "Against which checkout does the test run? How is it reached from the machine? And the whole story:"
    yield block(third.take())
    third.run("wharf stop .:8000")
    yield "Ended, and nothing else:"
    yield block(third.take())


CRASHES = """\
import os, socket, subprocess
server = socket.create_server(("127.0.0.1", 4000))
os.set_inheritable(server.fileno(), True)
subprocess.Popen(["sleep", "300"], close_fds=False)
os.abort()
"""


def crash(stage):
    path = os.path.join(stage.home, "shop", "server.py")
    stage.as_user(["sh", "-c", 'cat > "$0"', path], input=CRASHES)
    window = stage.window("shop")
    window.run("setsid python3 server.py").run("python3 -m http.server --bind 127.0.0.1 4000 2>&1 | tail -n 1")
    window.run("wharf why 4000")
    yield "## A crash that left a child behind\n\nA development server of the machine crashes, and the next one doesn't start, though no server runs:"
    yield block(window.take())
    window.run("wharf stop 4000").run("wharf why 4000")
    yield block(window.take())


def foreign(stage):
    words = ["python3", "-m", "http.server", "8080"]
    server = subprocess.Popen(words, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stage.await_that("port 8080", lambda: socket.socket().connect_ex(("127.0.0.1", 8080)) == 0)
    window = stage.window()
    window.run("wharf why 8080").run("wharf stop 8080")
    server.terminate()
    server.wait()
    yield "## Somebody else's server\n\nPort 8080 is root's:"
    yield block(window.take())


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("wharf")
    arguments.add_argument("--user", default="nobody")
    typed = arguments.parse_args()
    user = pwd.getpwnam(typed.user) if os.geteuid() == 0 else None
    stage = Stage(os.path.realpath(typed.wharf), user)
    parts = ["# Recordings\n\nWhat a terminal showed; `docs/record.py` plays it again."]
    try:
        for scene in (two_worktrees, crash, *([foreign] if user else [])):
            parts.extend(scene(stage))
    finally:
        stage.end()
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
