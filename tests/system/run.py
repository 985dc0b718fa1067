#!/usr/bin/env python3
"""Runs the system tests: every function test_* of every test_*.py beside this file.

  tests/system/run.py [NAME...]             only tests whose name holds one of the words
  tests/system/run.py [NAME...] --long      those that take minutes instead: functions long_*
  tests/system/run.py [NAME...] -j N        so many at a time (2; long ones 1)
  tests/system/run.py --beside | --alone    only those that may run beside others, or only the other ones
Each test runs in a process of its own. Those of a module that says FIRST = True take long and begin; those
with ALONE = True compare what they see with what they saw before, and run when nothing else does. A test
that raises Skip is counted as skipped and says why; the line of one that fails says where and what was wrong.
None begins shortly before midnight UTC: budgets and tables of a day begin anew then.
Closes with "N passed, N failed, N skipped".
"""
import argparse
import concurrent.futures
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
OK, FAILED, SKIPPED = 0, 1, 77
WHY = "failed at: "  # The last line of a child whose test failed begins so.
DAY_S, NIGHT_S = 86400, 120


def collect(words, prefix):
    """(full name, module, function name, alone) of the tests asked for, in order."""
    tests = []
    for name in sorted(os.listdir(HERE)):
        if name.startswith("test_") and name.endswith(".py"):
            module = importlib.import_module(name[:-3])
            for attribute in sorted(vars(module)):
                full = "%s.%s" % (name[5:-3], attribute[5:])
                if attribute.startswith(prefix) and (not words or any(w in full for w in words)):
                    tests.append((not getattr(module, "FIRST", False), full, name[:-3], attribute,
                                  getattr(module, "ALONE", False)))
    return [test[1:] for test in sorted(tests, key=lambda test: test[0])]


def why(error):
    """The innermost line of the tests, and what it said, in a line."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(HERE)]
    ours = [f for f in frames if os.path.basename(f.filename).startswith("test_")] or frames
    said = str(error).strip().splitlines()
    return "%s:%d %s" % (os.path.basename(ours[-1].filename), ours[-1].lineno,
                         said[0] if said else type(error).__name__)


def after_midnight():
    left = DAY_S - time.time() % DAY_S
    if left < NIGHT_S:
        time.sleep(left + 1)


def run_here(module, function):
    """In the child: the test itself; its note goes to standard output."""
    from skip import Skip
    try:
        print(getattr(importlib.import_module(module), function)() or "")
        return OK
    except Skip as e:
        print(e)
        return SKIPPED
    except Exception as e:
        print("\n%s\n%s%s" % (traceback.format_exc(), WHY, why(e)))
        return FAILED


class Suite:
    def __init__(self):
        self.counts = {OK: 0, FAILED: 0, SKIPPED: 0}
        self.children = set()
        self.stopping = False

    def run(self, test):
        full, module, function, _ = test
        if self.stopping:
            return
        after_midnight()
        started = time.monotonic()
        child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--child", module, function],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.children.add(child)
        note = child.communicate()[0].rstrip("\n")
        self.children.discard(child)
        code = child.returncode if child.returncode in self.counts else FAILED
        self.counts[code] += 1
        if code == FAILED:
            rest, said, reason = note.rpartition(WHY)
            note = (reason if said else "ended with %d" % child.returncode) + "\n" + (rest if said else note)
        print("%-4s %-60s %5.1f s  %s" % ({OK: "ok", FAILED: "FAIL", SKIPPED: "SKIP"}[code], full,
                                         time.monotonic() - started, note), flush=True)

    def stop(self):
        """Each child cleans up after itself, as it would at its own Ctrl-C."""
        self.stopping = True
        for child in list(self.children):
            child.send_signal(signal.SIGINT)


def main():
    parser = argparse.ArgumentParser(usage="\n".join(__doc__.splitlines()[2:]))
    parser.add_argument("words", nargs="*")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("-j", type=int, default=0)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--beside", action="store_true")
    part.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    tests = [t for t in collect(options.words, "long_" if options.long else "test_")
             if not (options.beside and t[3]) and not (options.alone and not t[3])]
    jobs = options.j or (1 if options.long else 2)
    suite = Suite()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            for done in [pool.submit(suite.run, t) for t in tests if not t[3]]:
                done.result()
            for test in tests:
                if test[3]:
                    suite.run(test)
        except KeyboardInterrupt:
            suite.stop()
    if suite.stopping:
        return 130
    print("system: %d passed, %d failed, %d skipped" % (suite.counts[OK], suite.counts[FAILED],
                                                       suite.counts[SKIPPED]))
    return 1 if suite.counts[FAILED] or not suite.counts[OK] else 0


if sys.argv[1:2] == ["--child"]:
    sys.exit(run_here(*sys.argv[2:4]))
sys.exit(main())
