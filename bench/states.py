#!/usr/bin/env python3
"""What ss, lsof, fuser and wharf say about a port in each of its states: the table of docs/why.md.

    bench/states.py WHARF

Makes the states of tests/states.py for real, asks each program, and prints a Markdown table. The programs run as an
ordinary user. As root it also makes what needs another user; nothing of the machine is changed.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

STATES = pathlib.Path(__file__).parent.parent / "tests" / "states.py"
USER = 47077
ROWS = [
    ("a server listens", "listening", "own"),
    ("bound, and not listening", "bound", "own"),
    ("TIME-WAIT", "time-wait", "own"),
    ("an outgoing connection's own port", "outgoing", "own"),
    ("connections without their listener", "outlived", "own"),
    ("left over: a dead server's child holds the socket", "left-over", "own"),
    ("two sockets share it (SO_REUSEPORT)", "shared", "own"),
    ("two servers: 127.0.0.1 and ::1", "two-servers", "own"),
    ("another user's server", "listening", "root"),
    ("a container's proxy, of another user", "listening", "proxy"),
    ("a server in another network namespace", "everywhere", "namespace"),
]


def main():
    wharf = os.path.abspath(sys.argv[1])
    print("| the port is | `ss -tulnp` | `ss -tanp` | `lsof -i` | `fuser` | `wharf why` |")
    print("|---|---|---|---|---|---|")
    for number, (title, state, whose) in enumerate(ROWS):
        if whose in ("root", "proxy") and os.getuid() != 0:
            continue
        with made(state, whose, 14200 + number) as holder:
            port = holder.stdout.readline().split()[1]
            cells = [
                sockets(["ss", "-Htulnp", f"sport = :{port}"], 1),
                sockets(["ss", "-Htanp", f"sport = :{port}"], 0),
                files(["lsof", "-i", f":{port}", "-P", "-n"]),
                processes(["fuser", "-v", f"{port}/tcp"]),
                story(wharf, port),
            ]
            holder.stdin.close()
            holder.wait()
        print(f"| {title} | {' | '.join(cells)} |")


def made(state, whose, port):
    line = ["python3", str(STATES), state, str(port)]
    if whose == "namespace":
        line = ["unshare", "--map-root-user", "--net", *line]
    if whose == "proxy":
        more = f"-proto tcp -host-ip 127.0.0.1 -host-port {port} -container-ip 172.17.0.2 -container-port 80"
        line = ["bash", "-c", f"exec -a docker-proxy python3 {STATES} {state} {port} {more}"]
    user = USER if whose in ("own", "namespace") else None
    return start(line, user, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start(line, user, **how):
    if os.getuid() != 0:
        user = None
    more = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return subprocess.Popen(line, cwd="/", env=environment(), **more, **how)


def environment():
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}


def said(line):
    # fuser says on standard error what its numbers are; the others have only complaints there.
    errors = subprocess.STDOUT if line[0] == "fuser" else subprocess.DEVNULL
    program = start(line, USER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
    return program.communicate()[0], program.returncode


def sockets(line, state):
    found = []
    for row in said(line)[0].splitlines():
        users = row.partition("users:((")[2].split('"')
        found.append(f"{row.split()[state]} {users[1] if len(users) > 1 else '(no program)'}")
    return told(found)


def files(line):
    rows = [row.split() for row in said(line)[0].splitlines()[1:]]
    return told([f"{row[-1].strip('()')} {row[0]}" for row in rows])


def processes(line):
    rows = [row.split() for row in said(line)[0].splitlines()]
    return told([row[-1] for row in rows if len(row) > 3 and row[0].endswith("/tcp:")])


def told(found):
    counted = {row: found.count(row) for row in found}
    rows = [row if count == 1 else f"{count} × {row}" for row, count in counted.items()]
    return "<br>".join(rows) or "nothing"


def story(wharf, port):
    answer, status = said([wharf, "why", port, "--json"])
    answer = json.loads(answer)
    summary = answer["summary"].removeprefix(f"{port} is ").rstrip(".")
    summary = re.sub(r" \(pid \d+\)", "", summary)
    topics = []
    for place in answer["places"]:
        notes = [note for hold in place["holds"] for note in hold["notes"]] + place["notes"]
        topics += [note["topic"] for note in notes if note["topic"] not in topics]
    more = f"; {', '.join(topics)}" if topics else ""
    return f"{summary}{more} ({status})"


if __name__ == "__main__":
    sys.exit(main())
