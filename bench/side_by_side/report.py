"""From samples to Markdown and JSON. A ratio says how many times better wharf is: more of it, or sooner."""

import os
import platform
import statistics
import subprocess

from spaces import KINDS, MTUS

OTHERS = [kind for kind in KINDS if kind != "wharf"]


class Results:
    """Every sample, by what was measured and of whom, and what is to be said about them."""

    def __init__(self, options):
        self.options = options
        self.samples = {}
        self.memory = {}
        self.remarks = []
        self.others = []

    def add(self, key, kind, sample):
        self.samples.setdefault(key, {}).setdefault(kind, []).append(sample)

    def remark(self, sentence):
        if sentence not in self.remarks:
            self.remarks.append(sentence)


def title(key):
    match key:
        case ("throughput", _, streams, into, mtu):
            way = "into the space" if into else "out of the space"
            return f"{way}, MTU {mtu}, {streams} stream{'s' if streams > 1 else ''}"
        case ("connections", at_once):
            return f"{at_once} at once"
        case ("datagrams", into, size, train):
            way = "into the space" if into else "out of the space"
            return f"{way}, {size} bytes" + (f", {train} a call" if train > 1 else "")
        case ("far", _, trip, loss, into):
            return f"{'into' if into else 'out of'} the space, {trip} ms, {loss:.1%}"
        case ("between", name):
            return f"one stream, {name}"
        case ("busy", name, count):
            return f"{count} space{'s' if count > 1 else ''}, {name}"
        case ("idle", count):
            return f"{count:,} idle"
        case _:
            return key[0]


def markdown(results):
    lines = ["## Side by side", "", *setting(results), ""]
    names = dict.fromkeys(key[1] for key in results.samples if key[0] == "throughput")
    for name in names:
        lines += [f"### TCP throughput, Gbit/s ({name} on every side)", "", *throughput(results, name), ""]
        lines += [f"### Processor seconds of the relay per GB ({name})", "", *cost(results, name), ""]
    lines += simple(results, "between", "Between two spaces, Gbit/s", "{:.2f}")
    lines += simple(results, "datagrams", "UDP datagrams that arrive per second", "{:.0f}")
    lines += latency_and_connections(results)
    lines += simple(results, "web", "nginx under wrk, a connection for each request, 32 at once: requests per second", "{:.0f}")
    lines += simple(results, "far", "Goodput of 8 streams with a far server, Mbit/s (round trip; loss each way)", "{:.1f}")
    lines += simple(results, "busy", "Spaces busy at once, one stream out of each: Gbit/s in all", "{:.2f}")
    lines += idle(results) + start_up(results) + memory(results)
    if results.remarks:
        lines += ["Remarks:", "", *(f"- {remark}" for remark in results.remarks), ""]
    return "\n".join(lines)


def setting(results):
    processors = len(os.sched_getaffinity(0))
    options = results.options
    yield (f"Linux {platform.release()}, {processors} processors; rounds: {options.rounds}, interleaved, {options.seconds} s for "
           "each throughput. Medians, (lowest–highest). A ratio above 1 means that wharf does better.")
    yield ""
    others = max(results.others, default=0)
    if others > 0.2:
        yield (f"**The machine was not idle: other work took up to {others:.1f} processors between the rounds. "
               "These figures are a look, no result.**")
        yield ""
    yield ", ".join(f"{name} {version}" for name, version in versions()) + "."


def versions():
    """What takes part: what the program says of itself, or what its package does where it doesn't know."""
    for name, program, package in [
        ("wharf", os.environ.get("WHARF"), None),
        ("pasta", os.environ.get("PASTA") or "pasta", "passt"),
        ("slirp4netns", "slirp4netns", "slirp4netns"),
        ("iperf3", "iperf3", "iperf3"),
    ]:
        told = first_line(program or "", "--version").split(" ")
        # "slirp4netns version 1.2.0", "iperf 3.12 (cJSON 1.7.15)", "pasta unknown version"
        known = next((word for word in told if word[:1].isdigit()), "")
        if not known and package and not os.environ.get(name.upper()):
            known = first_line("dpkg-query", "--show", "--showformat=${Version}", package)
        yield name, known or "unknown"


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0]
    except OSError:
        return ""


def throughput(results, name):
    yield from head("")
    for key in sorted((key for key in results.samples if key[:2] == ("throughput", name)), key=lambda key: (key[2], key[3], -key[4])):
        # Loopback was measured once, at its own MTU.
        loopback = results.samples.get((*key[:4], MTUS[0]), {}).get("loopback")
        by_kind = pick(results.samples[key] | ({"loopback": loopback} if loopback else {}), "gbits", 1)
        yield row(title(key), by_kind, "{:.2f}", more_is_better=True)


def cost(results, name):
    yield from head("")
    for key in sorted((key for key in results.samples if key[:2] == ("throughput", name)), key=lambda key: (key[2], key[3], -key[4])):
        yield row(title(key), pick(results.samples[key], "per_gb", 1), "{:.3f}", more_is_better=False)


def simple(results, what, heading, form):
    """A table of samples that are numbers, of which more is better."""
    keys = [key for key in results.samples if key[0] == what]
    if not keys:
        return []
    return [f"### {heading}", "", *head(""), *(row(title(key), results.samples[key], form, True) for key in keys), ""]


def idle(results):
    keys = [key for key in results.samples if key[0] == "idle"]
    if not keys:
        return []
    lines = ["### Idle connections through one space", "", "| | of | made per second | p50 alone, µs | p50 beside them, µs | "
             "p99 beside them, µs | KiB each (PSS of what carries them) |", "|---" * 7 + "|"]
    for key in keys:
        for kind, samples in results.samples[key].items():
            each = [(told["with"] - told["before"]) * 1024 / told["count"] for told in samples]
            figures = [cell([told["per_second"] for told in samples], "{:.0f}")]
            figures += [cell([told[when][field] / 1000 for told in samples], "{:.1f}")
                        for when, field in [("alone", "p50_ns"), ("beside", "p50_ns"), ("beside", "p99_ns")]]
            figures.append(cell(each, "{:.2f}") if kind not in ("loopback", "veth") else "–")
            lines.append(f"| {title(key)} | {kind} | " + " | ".join(figures) + " |")
    return [*lines, ""]


def latency_and_connections(results):
    lines = []
    latency = results.samples.get(("latency", 1))
    if latency:
        lines += ["### Request and response of 64 bytes, one connection, µs", "", *head("")]
        for field in ["p50_ns", "p99_ns"]:
            by_kind = pick(latency, field, 1e-3)
            lines.append(row(field.removesuffix("_ns"), by_kind, "{:.1f}", more_is_better=False))
        lines.append("")
    keys = [key for key in results.samples if key[0] == "connections"]
    if keys:
        lines += ["### Whole connections (connect, request, response, close) per second", "", *head("")]
        for key in sorted(keys):
            lines.append(row(title(key), pick(results.samples[key], "per_second", 1), "{:.0f}", more_is_better=True))
        lines.append("")
    return lines


def pick(by_kind, field, scale):
    values = {kind: [told[field] * scale for told in samples if told[field] is not None] for kind, samples in by_kind.items()}
    return {kind: samples for kind, samples in values.items() if samples}


def start_up(results):
    by_way = results.samples.get(("start-up",))
    if not by_way:
        return []
    lines = ["### Start-up and end of `true`, ms", "", "| | ms |", "|---|---|"]
    names = {"true": "`true` by itself", "unshare": "`unshare -rn true`", "pasta": "`pasta true`",
             "wharf, same space": "`wharf run true`, space runs", "wharf, new space": "`wharf run true`, daemon runs",
             "wharf, cold": "`wharf run true`, nothing runs"}
    lines += [f"| {name} | {cell(by_way[way], '{:.1f}')} |" for way, name in names.items() if way in by_way]
    return [*lines, ""]


def memory(results):
    if not results.memory:
        return []
    lines = ["### Memory for one space, MiB: PSS / RSS", "", "| | when | in all | each |", "|---|---|---|---|"]
    for (when, kind), parts in sorted(results.memory.items(), key=lambda item: (item[0][0] != "idle", KINDS.index(item[0][1]))):
        each = ", ".join(f"{part.split()[0]} {both(sizes)}" for part, sizes in parts.items())
        known = [sizes["pss"] for sizes in parts.values()]
        total = {"pss": None if None in known else sum(known), "rss": sum(sizes["rss"] for sizes in parts.values())}
        lines.append(f"| {kind} | {when} | {both(total)} | {each} |")
    return [*lines, ""]


def both(sizes):
    pss = "?" if sizes["pss"] is None else f"{sizes['pss']:.1f}"
    return f"{pss} / {sizes['rss']:.1f}"


def head(first):
    return [f"| {first} | " + " | ".join([*KINDS, *(f"wharf : {other}" for other in OTHERS)]) + " |",
            "|---" * (1 + len(KINDS) + len(OTHERS)) + "|"]


def row(name, by_kind, form, more_is_better):
    cells = [cell(by_kind.get(kind), form) for kind in KINDS]
    ratios = [ratio(by_kind.get("wharf"), by_kind.get(other), more_is_better) for other in OTHERS]
    return f"| {name} | " + " | ".join(cells + ratios) + " |"


def cell(samples, form):
    if not samples:
        return "–"
    median = form.format(statistics.median(samples))
    return median if len(samples) == 1 else f"{median} ({form.format(min(samples))}–{form.format(max(samples))})"


def ratio(ours, others, more_is_better):
    if not ours or not others:
        return "–"
    ours, others = statistics.median(ours), statistics.median(others)
    above, below = (ours, others) if more_is_better else (others, ours)
    if not below:
        return "–"
    times = above / below
    return f"{times:.0f}" if times >= 10 else f"{times:.2f}" if times >= 0.1 else f"{times:.3f}"


def as_json(results):
    return {
        "schema": 1,
        "kernel": platform.release(),
        "processors": len(os.sched_getaffinity(0)),
        "processors_of_others": results.others,
        "rounds": results.options.rounds,
        "seconds": results.options.seconds,
        "versions": dict(versions()),
        "samples": [{"measure": list(key), "of": by_kind} for key, by_kind in results.samples.items()],
        "memory": [{"when": when, "of": kind, "parts": parts} for (when, kind), parts in results.memory.items()],
        "remarks": results.remarks,
    }
