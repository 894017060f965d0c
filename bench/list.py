#!/usr/bin/env python3
"""How long lists of ports take: wharf beside ss, lsof and a scan of /proc, in one run.

    bench/list.py WHARF [--listeners 5000] [--processes 500] [--rounds 15]

Makes the listeners, divides them among as many processes, and prints a Markdown table: medians of the time and of the processor
time, and both as multiples of those of `ss -tlnp`. The programs take turns, so that a busy moment hits all of them; on a
busy machine processor time says more. Output goes to a file, as in a pipe. Run it as the user that the lists are for: what a program may not look at costs it nothing.
"""

import argparse
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("wharf")
    arguments.add_argument("--listeners", type=int, default=5000)
    arguments.add_argument("--processes", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=15)
    typed = arguments.parse_args()
    holders, ports = hold(typed.listeners, typed.processes)
    try:
        measure(typed, ports)
    finally:
        for pid, end in holders:
            os.close(end)
            os.waitpid(pid, 0)


def hold(listeners, processes):
    """Listeners on 127.0.0.1, in processes that end when their pipe does; a port of one of them."""
    share = listeners // processes + 1
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, share + processes + 64)), hard))
    holders, ports = [], []
    left = listeners
    for index in range(processes):
        count = left // (processes - index)
        left -= count
        (wait, end), (told, tell) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            for _, other in holders:
                os.close(other)
            os.close(end)
            kept = [listener() for _ in range(count)]
            os.write(tell, str(kept[0].getsockname()[1] if kept else 0).encode())
            os.read(wait, 1)
            os._exit(0)
        os.close(wait)
        os.close(tell)
        ports.append(int(os.read(told, 16)))
        os.close(told)
        holders.append((pid, end))
    return holders, [port for port in ports if port]


def listener():
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def scan():
    """What a program without sock_diag does: /proc/net, and the descriptors of every process."""
    inodes = {}
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}") as lines:
            next(lines)
            for line in lines:
                fields = line.split()
                if fields[3] == "0A":
                    inodes[f"socket:[{fields[9]}]"] = fields[1]
    rows = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                if target in inodes:
                    with open(f"/proc/{pid}/cmdline", "rb") as command:
                        rows.append((inodes[target], pid, command.read()))
        except OSError:
            continue
    return len(rows)


def measure(typed, ports):
    port = str(ports[len(ports) // 2])
    lines = {
        "`wharf ls --host`": [typed.wharf, "ls", "--host"],
        "`wharf ls --host --json`": [typed.wharf, "ls", "--host", "--json"],
        "`wharf why PORT`": [typed.wharf, "why", port],
        "`ss -tlnp`": ["ss", "-tlnp"],
        "`ss -tlnp sport = :PORT`": ["ss", "-tlnp", f"sport = :{port}"],
        "`lsof -i -P -n`": ["lsof", "-i", "-P", "-n"],
        "`lsof -i :PORT -P -n`": ["lsof", "-i", f":{port}", "-P", "-n"],
        "`fuser PORT/tcp`": ["fuser", f"{port}/tcp"],
        "/proc/net/tcp and /proc/\\*/fd, in Python": None,
    }
    present = {name: line for name, line in lines.items() if line is None or shutil.which(line[0])}
    times = {name: [] for name in present}
    works = {name: [] for name in present}
    rows = {}
    for _ in range(typed.rounds):
        for name, line in present.items():
            begun, spent = time.perf_counter(), worked()
            rows[name] = scan() if line is None else run(line)
            times[name].append((time.perf_counter() - begun) * 1000)
            works[name].append(worked() - spent)
    report(typed, times, works, rows)


def worked():
    """Milliseconds of processor time that this process and its children have had, up to those that have ended."""
    own, others = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime) * 1000


def run(line):
    """Runs a program to its end; the number of lines that it printed."""
    with tempfile.TemporaryFile() as output:
        subprocess.run(line, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, check=False)
        output.seek(0)
        return output.read().count(b"\n")


def report(typed, times, works, rows):
    system = os.uname()
    processes = len([name for name in os.listdir("/proc") if name.isdigit()])
    print(
        f"{typed.listeners} listeners of {typed.processes} processes, {processes} processes in all, as user {os.getuid()}; "
        f"{os.cpu_count()} processors with a load of {os.getloadavg()[0]:.1f}, Linux {system.release}; "
        f"{typed.rounds} rounds.\n"
    )
    print("| | time, ms | to `ss -tlnp` | processor time, ms | to `ss -tlnp` | lines |")
    print("|---|--:|--:|--:|--:|--:|")
    median = statistics.median
    time_base, work_base = median(times["`ss -tlnp`"]), median(works["`ss -tlnp`"])
    for name in times:
        took, worked_for = median(times[name]), median(works[name])
        print(
            f"| {name} | {took:.0f} | {took / time_base:.2f} | {worked_for:.0f} | {worked_for / work_base:.2f} | {rows[name]} |"
        )


if __name__ == "__main__":
    sys.exit(main())
