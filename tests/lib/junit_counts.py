#!/usr/bin/env python3
"""Prints "PASSED FAILED SKIPPED" of a JUnit file that ctest wrote, then the name of each program that
failed, a line each, with the tests in it that did. Exits 1 without a test in the file."""
import re
import sys
import xml.etree.ElementTree as tree

cases = list(tree.parse(sys.argv[1]).getroot().iter("testcase"))
status = [case.get("status") for case in cases]
skipped = sum(s in ("notrun", "disabled", "skipped") for s in status)
failed = [case for case in cases if case.get("status") == "fail"]
print(len(status) - len(failed) - skipped, len(failed), skipped)
for case in failed:
    inside = dict.fromkeys(re.findall(r"^\[  FAILED  \] (\w+)$", case.findtext("system-out") or "", re.M))
    print(case.get("name") + (": " + " ".join(inside) if inside else ""))
sys.exit(0 if cases else 1)
