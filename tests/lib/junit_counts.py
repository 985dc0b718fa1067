#!/usr/bin/env python3
"""Prints "PASSED FAILED SKIPPED" of a JUnit file that ctest wrote, then the name of each program that
failed, a line each, with the tests in it that did, or what a sanitizer says of it, or its last line.
Exits 1 without a test in the file."""
import re
import sys
import xml.etree.ElementTree as tree

cases = list(tree.parse(sys.argv[1]).getroot().iter("testcase"))
status = [case.get("status") for case in cases]
skipped = sum(s in ("notrun", "disabled", "skipped") for s in status)
failed = [case for case in cases if case.get("status") == "fail"]
print(len(status) - len(failed) - skipped, len(failed), skipped)
for case in failed:
    said = case.findtext("system-out") or ""
    inside = list(dict.fromkeys(re.findall(r"^\[  FAILED  \] (\w+)$", said, re.M)))
    inside += list(dict.fromkeys(re.findall(r"^SUMMARY: (.*)$", said, re.M)))
    if not inside:
        inside = said.strip().splitlines()[-1:]
    print(case.get("name") + (": " + " ".join(inside) if inside else ""))
sys.exit(0 if cases else 1)
