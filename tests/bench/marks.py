"""What the figures are held against. A mark says what is asked; nothing here changes what is
measured, and a mark that is not met is printed as such."""

from cases import ACCOUNTS, ACROSS, ACROSS_SSE, PAIRS, PASSED, WITH_ACCOUNTS


class Mark:
    def __init__(self, what, limit, stretch, unit, value):
        self.what, self.limit, self.stretch, self.unit, self.value = what, limit, stretch, unit, value


def _row(result, case):
    return next((row["by"] for row in result.get("proxy", []) if row["case"] == case), None)


def ratio(case, field="cpu_us"):
    """The node (its first transport) over nginx."""
    def value(result):
        by = _row(result, case)
        if by is None or result["node"] not in by or "nginx" not in by or not by["nginx"].get(field):
            return None
        return by[result["node"]][field] / by["nginx"][field]
    return value


def instructions(name):
    def value(result):
        return result.get("instructions", {}).get("by", {}).get(result["node"], {}).get(name)
    return value


def capacity(case, field, scale=1.0):
    def value(result):
        found = result.get("capacity", {}).get(case, {}).get(field)
        return None if found is None else found * scale
    return value


def charged(result):
    by = _row(result, ACCOUNTS)
    if by is None or result["node"] + WITH_ACCOUNTS not in by:
        return None
    return by[result["node"] + WITH_ACCOUNTS]["cpu_us"] / by[result["node"]]["cpu_us"]


def translated(case):
    """The dearest of the pairs that are translated, over what passes from a provider of chat
    completions."""
    def value(result):
        by = _row(result, case)
        if by is None:
            return None
        return max(by[name]["cpu_us"] for name, _, _ in PAIRS if " at " in name) / by[PASSED]["cpu_us"]
    return value


def late(result):
    by = _row(result, "SSE, 20 streams, 2 events/s")
    return None if by is None else by[result["node"]]["late"]


def drained(result):
    found = [result.get("capacity", {}).get(name, {}).get("drained_ratio")
             for name in ("memory: live streams", "memory: burst")]
    return max((f for f in found if f is not None), default=None)


def cut(result):
    stalled = result.get("capacity", {}).get("stalled clients")
    if stalled is None:
        return None
    return stalled["cut_s"] if stalled["cut_s"] is not None else float("inf")


def decision(text):
    """The slowest of the shapes (models, tasks) that bench_decide takes."""
    def value(result):
        found = [r["p99_ns"] / 1000 for r in result.get("decision", {}).get("results", [])
                 if r["text"] == text]
        return max(found, default=None)
    return value


def telemetry(field, scale=1.0):
    def value(result):
        found = result.get("telemetry", {}).get(field)
        return None if found is None else found * scale
    return value


MARKS = [
    Mark("CPU with five accounts, 1 KB, 16 connections", 1.15, None, "x without", charged),
    Mark("CPU, 1 KB, 16 connections", 1.0, 0.85, "x nginx", ratio("1 KB, 16 connections")),
    Mark("CPU, 1 KB, 128 connections", 1.0, 0.85, "x nginx", ratio("1 KB, 128 connections")),
    Mark("CPU, 20 KB, 16 connections", 1.25, 1.0, "x nginx", ratio("20 KB, 16 connections")),
    Mark("CPU, 20 KB, 128 connections", 1.25, 1.0, "x nginx", ratio("20 KB, 128 connections")),
    Mark("CPU, 500 KB, 16 connections", 2.0, 1.4, "x nginx", ratio("500 KB, 16 connections")),
    Mark("CPU, 500 KB, 128 connections", 2.0, 1.4, "x nginx", ratio("500 KB, 128 connections")),
    Mark("CPU, TLS upstream, 1 KB, 16 connections", 1.3, None, "x nginx",
         ratio("TLS upstream, 1 KB, 16 connections")),
    Mark("CPU, TLS upstream, 1 KB, 128 connections", 1.3, None, "x nginx",
         ratio("TLS upstream, 1 KB, 128 connections")),
    Mark("user instructions a 1 KB request", 14000, 10000, "", instructions("request 1 KB")),
    Mark("added latency p50, 1 connection", 1.0, None, "x nginx",
         ratio("1 KB, 1 connection", "added_p50_us")),
    Mark("added latency p99, 1 connection", 1.2, None, "x nginx",
         ratio("1 KB, 1 connection", "added_p99_us")),
    Mark("CPU an SSE event, 200 streams", 1.0, 0.8, "x nginx", ratio("SSE, 200 streams, 50 events/s")),
    Mark("CPU an SSE event, 600 streams", 1.0, 0.8, "x nginx", ratio("SSE, 600 streams, 50 events/s")),
    Mark("user instructions an SSE event", 2500, 1500, "", instructions("SSE event")),
    Mark("SSE delay p99, 200 streams", 1.3, None, "x nginx",
         ratio("SSE, 200 streams, 50 events/s", "delay_p99_us")),
    Mark("SSE delay p99, 600 streams", 1.3, None, "x nginx",
         ratio("SSE, 600 streams, 50 events/s", "delay_p99_us")),
    Mark("CPU an SSE event, translated", 2.0, None, "x passed", translated(ACROSS_SSE)),
    Mark("CPU a request, translated", 2.0, None, "x passed", translated(ACROSS)),
    Mark("events held back, 2 a second", 0, None, "", late),
    Mark("live streams refused", 0, None, "", capacity("memory: live streams", "refused")),
    Mark("resident a live stream", 4096, 2048, "bytes", capacity("memory: live streams",
                                                                 "bytes_per_stream")),
    Mark("resident idle", 20, None, "MB", capacity("memory: idle", "resident_kb", 1 / 1024)),
    Mark("resident 10 s after a burst", 1.5, None, "x idle", drained),
    Mark("clients that stop reading: node and sockets", 1536, None, "MB",
         capacity("stalled clients", "memory_kb", 1 / 1024)),
    Mark("clients that stop reading: healthy p99", 2.0, None, "x alone",
         capacity("stalled clients", "p99_ratio")),
    Mark("clients that stop reading: cut after", 30, None, "s", cut),
    Mark("overload answered, p99", 10, None, "ms", capacity("overload", "p99_us", 1 / 1000)),
    Mark("decision p99, 1 KB", 10, None, "us", decision("prose 1 KiB")),
    Mark("decision p99, feature cap", 20, None, "us", decision("prose at cap")),
    Mark("telemetry a record, on the path", 0.3, None, "us", telemetry("path_ns", 1 / 1000)),
    Mark("telemetry a record, in all", 1.5, None, "us", telemetry("cpu_ns", 1 / 1000)),
    Mark("telemetry records lost at 100,000 a second", 0, None, "", telemetry("lost")),
]


def judge(result):
    """[{mark, limit, stretch, unit, measured, met}]; met is None where nothing was measured."""
    rows = []
    for mark in MARKS:
        measured = mark.value(result)
        met = None if measured is None else measured <= mark.limit
        what = mark.what
        if what.startswith("user instructions") and "instructions" in result:
            what += ", " + result["instructions"].get("threads", "all threads")
        rows.append({"mark": what, "limit": mark.limit, "stretch": mark.stretch, "unit": mark.unit,
                     "measured": measured, "met": met,
                     "stretch_met": None if None in (measured, mark.stretch) else measured <= mark.stretch})
    return rows
