#!/usr/bin/env python3
"""Runs the system tests: every function test_* of every test_*.py beside this file, in order.

  tests/system/run.py [NAME...]             only tests whose name holds one of the words
  tests/system/run.py [NAME...] --long      those that take minutes instead: functions long_*
A test that raises Skip is counted as skipped and says why. Closes with "N passed, N failed, N skipped".
"""
import importlib
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def collect(words, prefix):
    for name in sorted(os.listdir(HERE)):
        if name.startswith("test_") and name.endswith(".py"):
            module = importlib.import_module(name[:-3])
            for attribute in sorted(vars(module)):
                full = "%s.%s" % (name[5:-3], attribute[5:])
                if attribute.startswith(prefix) and (not words or any(w in full for w in words)):
                    yield full, getattr(module, attribute)


def main():
    from skip import Skip
    passed = failed = skipped = 0
    words = [w for w in sys.argv[1:] if w != "--long"]
    for name, test in collect(words, "long_" if "--long" in sys.argv else "test_"):
        started = time.monotonic()
        try:
            note = test() or ""
            verdict = "ok"
            passed += 1
        except Skip as e:
            verdict, note = "SKIP", str(e)
            skipped += 1
        except Exception:
            verdict, note = "FAIL", "\n" + traceback.format_exc()
            failed += 1
        print("%-4s %-60s %5.1f s  %s" % (verdict, name, time.monotonic() - started, note), flush=True)
    print("system: %d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed or not passed else 0


sys.exit(main())
