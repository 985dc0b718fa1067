"""The proxies one after the other, round after round: CPU a request and an event, latency."""
import statistics

from bed import CROSS_EVENTS, CROSS_PACE_MS, load, load_alone
from procfs import cpu_us
from stand import progress

SSE_EVENTS, SSE_INTERVAL_MS = 150, 20
# The node against itself: a key with nothing to charge, and one whose path has five budgets.
ACCOUNTS = "five accounts, 1 KB, 16 connections"
WITH_ACCOUNTS = ", five accounts"


# The node against itself: what passes in the caller's dialect, and what is translated.
ACROSS = "across dialects, 1 KB, 16 connections"
ACROSS_SSE = "across dialects, SSE, 200 streams, 50 events/s"
PASSED = "openai passed"
PAIRS = ((PASSED, "openai", "chat"), ("anthropic passed", "anthropic", "messages"),
         ("openai at anthropic", "openai", "messages"), ("anthropic at openai", "anthropic", "chat"),
         ("responses at openai", "responses", "chat"))


class Case:
    """One row: what is sent, over how many connections; `wait`: its own time matters, not the CPU."""

    def __init__(self, name, size, connections, tls=False, events=0, interval_ms=0, accounts=False,
                 across=False):
        self.name, self.size, self.connections, self.tls = name, size, connections, tls
        self.events, self.interval_ms, self.accounts, self.across = events, interval_ms, accounts, across

    @property
    def marked(self):
        """Whether a mark compares the node with nginx here."""
        return not self.across and (self.connections > 1 or (self.size, self.tls) == (1024, False))

    @property
    def bare(self):
        """Whether what does nothing but relay is measured too: what the kernel takes of such a case."""
        return not (self.tls or self.events or self.accounts or self.across)

    @property
    def unit(self):
        return "event" if self.events else "request"


def all_cases():
    for size, label in ((1024, "1 KB"), (20480, "20 KB"), (512000, "500 KB")):
        for connections in (1, 16, 128):
            yield Case("%s, %d connection%s" % (label, connections, "s"[:connections > 1]), size,
                       connections)
    for connections in (1, 16, 128):
        yield Case("TLS upstream, 1 KB, %d connection%s" % (connections, "s"[:connections > 1]), 1024,
                   connections, tls=True)
    for streams in (200, 600):
        yield Case("SSE, %d streams, 50 events/s" % streams, 1024, streams, events=SSE_EVENTS,
                   interval_ms=SSE_INTERVAL_MS)
    yield Case("SSE, 20 streams, 2 events/s", 1024, 20, events=8, interval_ms=500)
    yield Case(ACCOUNTS, 1024, 16, accounts=True)
    yield Case(ACROSS, 1024, 16, across=True)
    yield Case(ACROSS_SSE, 1024, 200, events=CROSS_EVENTS, interval_ms=CROSS_PACE_MS, across=True)


def sample(case, port, pids, request, seconds, settle, apart):
    before = cpu_us(pids)
    if case.events:
        ramp_ms = min(1000, case.events * case.interval_ms)
        result = load(port, case.connections, 600, request, "-n", str(case.connections), "--ramp",
                      str(ramp_ms))
    elif case.connections == 1:
        result = load_alone(port, 1, seconds, request, apart)
    else:
        result = load(port, case.connections, seconds, request)
    settle()
    used = cpu_us(pids) - before
    units = result["events"] if case.events else result["requests"]
    if case.across and case.events:  # Some dialects repeat at the end what they said: it counts once.
        units = result["requests"] * case.events
    result["cpu_us"] = used / units
    return result


FIELDS = ("cpu_us", "p50_us", "p99_us", "delay_p50_us", "delay_p99_us", "requests", "events", "late")


def summary(samples):
    """Medians, and for the CPU what the rounds lay between."""
    row = {field: statistics.median(s[field] for s in samples) for field in FIELDS}
    row["cpu_us_min"] = min(s["cpu_us"] for s in samples)
    row["cpu_us_max"] = max(s["cpu_us"] for s in samples)
    row["late"] = sum(s["late"] for s in samples)
    return row


def measure(stand, case, rounds, seconds, only_marked=False):
    request = stand.request(case.size, case.events, case.interval_ms)
    contestants = list(stand.contestants(case.tls, case.bare and case.size == 1024, only_marked, case.bare))
    requests = {}
    if case.accounts:
        contestants = [row for row in contestants if row[0] == stand.node_name(stand.node_variants[0])]
        name, *rest = contestants[0]
        contestants.append((name + WITH_ACCOUNTS, *rest))
        requests[name + WITH_ACCOUNTS] = stand.charged_request(case.size)
    if case.across:
        ours = [row for row in contestants if row[0] == stand.node_name(stand.node_variants[0])][0]
        contestants = [(name, *ours[1:]) for name, _, _ in PAIRS]
        requests = {name: stand.cross_request(caller, provider, case.events > 0)
                    for name, caller, provider in PAIRS}
    if case.connections == 1 and not case.tls:
        contestants.insert(0, ("direct", lambda: None, stand.upstream.port, []))
    samples = {name: [] for name, *_ in contestants}
    for round_number in range(rounds + 1):
        for name, ready, port, pids in contestants:
            ready()
            stand.forget_log()
            settle = stand.settle_of(pids)
            warming = round_number == 0
            if warming and case.events and not case.across:
                load(port, case.connections, 60, stand.request(case.size, 5, 20), "-n",
                     str(case.connections), "--ramp", "200")
                settle()
            else:
                taken = sample(case, port, pids, requests.get(name, request),
                               1 if warming else seconds, settle, stand.apart())
                if not warming:
                    samples[name].append(taken)
    row = {"case": case.name, "size": case.size, "connections": case.connections, "tls": case.tls,
           "unit": case.unit, "by": {name: summary(taken) for name, taken in samples.items()}}
    if "direct" in row["by"]:
        # What a proxy adds: its quantile less the median without one, so that both ends' own
        # scatter is not taken off the tail.
        direct = row["by"]["direct"]["p50_us"]
        for name, by in row["by"].items():
            by["added_p50_us"], by["added_p99_us"] = by["p50_us"] - direct, by["p99_us"] - direct
    progress("  %-32s %s" % (case.name, "  ".join(
        "%s %.1f us" % (name, by["cpu_us"]) for name, by in row["by"].items() if name != "direct")))
    return row
