#!/usr/bin/env python3
"""Looks into the release programs for the hardening that the build asks for.

  tests/lint/hardening.py PROGRAM...
Position-independent, full RELRO, no executable stack, separate code, stack protector, FORTIFY, CET.
Prints one finding a line and closes with "N passed, N failed".
"""
import re
import subprocess
import sys


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True,
                          text=True).stdout


def findings(path):
    head, segments = readelf("-h", path), readelf("-l", path)
    dynamic, symbols = readelf("-d", path), readelf("-s", path)
    main_code = subprocess.run(["objdump", "-d", "--disassemble=main", path], check=True,
                               capture_output=True, text=True).stdout
    stack = [l for l in segments.splitlines() if "GNU_STACK" in l]
    writable_code = [l for l in segments.splitlines() if re.search(r"LOAD.*RWE", l)]
    checks = {
        "is not position-independent": "DYN" in head.split("Type:")[1].splitlines()[0],
        "has no RELRO": "GNU_RELRO" in segments,
        "binds lazily": "BIND_NOW" in dynamic or "FLAGS_1" in dynamic and "NOW" in dynamic,
        "has an executable stack": bool(stack) and "RWE" not in stack[0],
        "has writable code": not writable_code,
        "has no stack protector": "__stack_chk_fail" in symbols,
        "has no FORTIFY": re.search(r"__\w+_chk@GLIBC", symbols) is not None,
        # Debian's start files carry no CET note, so the linker drops it: look at the code itself.
        "has no landing pads": "endbr64" in main_code,
    }
    return [what for what, good in checks.items() if not good], len(checks)


def main():
    passed = failed = 0
    for path in sys.argv[1:]:
        bad, checks = findings(path)
        for what in bad:
            print("%s %s" % (path, what))
        failed += len(bad)
        passed += checks - len(bad)
    print("hardening: %d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


sys.exit(main())
