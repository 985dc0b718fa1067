#!/usr/bin/env python3
"""Prints "PASSED FAILED SKIPPED" of a JUnit file that ctest wrote. Exits 1 without a test in it."""
import sys
import xml.etree.ElementTree as tree

cases = tree.parse(sys.argv[1]).getroot().iter("testcase")
status = [case.get("status") for case in cases]
skipped = sum(s in ("notrun", "disabled", "skipped") for s in status)
failed = sum(s == "fail" for s in status)
print(len(status) - failed - skipped, failed, skipped)
sys.exit(0 if status else 1)
