"""Instruction counts against a committed baseline: more than 5 % growth fails.

Counts by perf stat, by single steps and by callgrind differ (see counting.py), so that each method
has its own figures in baseline.json."""
import json
import os
import tempfile

import counting
from bed import TOOLS
from stand import Stand, progress

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.json")
GROWTH_MAX = 0.05
DECIDE_SHAPES = 12  # bench_decide takes each round through so many pairs of policy and text.


def read_baseline():
    if not os.path.exists(BASELINE):
        return {}
    with open(BASELINE) as f:
        return json.load(f)


def count_node(counter, counts):
    with Stand(tls=False, proxies=False) as stand:
        first = stand.node_variants[0]
        wanted = [("request 1 KB", first, False, 1024), ("request 20 KB", first, False, 20480),
                  ("SSE event", first, False, None)]
        if "libcurl" in stand.transports and first != "libcurl":
            wanted.append(("request 1 KB, libcurl", "libcurl", False, 1024))
        counts.update(counting.of_node(counter, stand, wanted))


def count_tools(counter, counts):
    counts["decision"] = counting.of_tool(counter, "bench_decide", counter.rounds) / DECIDE_SHAPES
    if os.path.exists(os.path.join(TOOLS, "bench_request_path")):
        counts["router, 1 KB body"] = counting.of_tool(counter, "bench_request_path", counter.rounds)
        counts["router, 20 KB body"] = counting.of_tool(counter, "bench_request_path", counter.rounds,
                                                        "-b", "20480")
    if os.path.exists(os.path.join(TOOLS, "bench_telemetry")):
        counts["telemetry record"] = counting.of_tool(counter, "bench_telemetry", 50 * counter.rounds,
                                                      "path")


def compare(counts, known):
    passed = failed = skipped = 0
    for name, count in counts.items():
        before = known.get(name)
        if before is None:
            print("skip %-28s %10.0f  not in the baseline" % (name, count))
            skipped += 1
            continue
        grown = count / before - 1
        ok = grown <= GROWTH_MAX
        print("%-4s %-28s %10.0f  was %10.0f  %+.1f %%" % ("ok" if ok else "FAIL", name, count, before,
                                                          100 * grown))
        passed, failed = passed + ok, failed + (not ok)
    for name in sorted(set(known) - set(counts)):
        print("FAIL %-28s is in the baseline and was not counted" % name)
        failed += 1
    print("gate: %d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


def run(update, wanted):
    if wanted is None and not counting.has_counters():
        print("no instruction counters here (perf stat -e instructions:u); --gate --by callgrind, or "
              "--by steps, counts without them\ngate: 0 passed, 0 failed, 1 skipped")
        return 0
    baseline = read_baseline()
    with tempfile.TemporaryDirectory(prefix="sy-gate-") as directory:
        counter = counting.method(directory, wanted)
        if not update and counter.name not in baseline:
            print("%s has no counts by %s: --gate --update writes them\n"
                  "gate: 0 passed, 0 failed, 1 skipped" % (os.path.basename(BASELINE), counter.name))
            return 0
        progress("counting by %s" % counter.name)
        counts = {}
        if counter.rounds > 0:
            count_tools(counter, counts)
        count_node(counter, counts)
    if update:
        baseline[counter.name] = {name: round(count) for name, count in counts.items()}
        with open(BASELINE, "w") as f:
            f.write(json.dumps(baseline, indent=1, sort_keys=True) + "\n")
    return compare(counts, baseline[counter.name])
