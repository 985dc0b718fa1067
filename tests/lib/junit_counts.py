#!/usr/bin/env python3
"""Prints "PASSED FAILED SKIPPED" of a JUnit file that ctest wrote, then a line for each program that
failed: its name, and of each test in it that did, its name, the file and line and what was wrong there;
what a sanitizer says; or how it ended (a signal, the time) and in which test. In few characters.
Exits 1 without a test in the file."""
import re
import sys
import xml.etree.ElementTree as tree


def once(lines):
    return list(dict.fromkeys(lines))


def asserted(said):
    """"TEST FILE:LINE TEXT" of each failed test: what stands between its RUN and its FAILED."""
    for name, told in re.findall(r"^\[ RUN      \] (\w+)$(.*?)^\[  FAILED  \] \1$", said, re.M | re.S):
        where = re.search(r"^\[.*LINE.*\] --- (?:\S*/)?(\S+?:\d+): error", told, re.M)
        what = re.search(r"^(?:ERROR: |\[  ERROR   \] --- (?!\[ +LINE))(.*)$", told, re.M)
        yield " ".join([name] + [found.group(1)[:110] for found in (where, what) if found])


def sanitized(said):
    for told in re.findall(r"^SUMMARY: (.*)$", said, re.M):
        yield re.sub(r"\S*/(?=\S+:\d)", "", told)


def ended(case, said):
    begun = re.findall(r"^\[ RUN      \] (\w+)$", said, re.M)
    over = re.findall(r"^\[(?:       OK |  FAILED  )\] (\w+)$", said, re.M)
    failure = case.find("failure")
    why = (failure.get("message") or "") if failure is not None else ""
    last = said.strip().splitlines()[-1:]
    return " ".join([why] + (["in " + begun[-1]] if begun and begun[-1:] != over[-1:] else last))[:160].strip()


def main():
    cases = list(tree.parse(sys.argv[1]).getroot().iter("testcase"))
    status = [case.get("status") for case in cases]
    skipped = sum(s in ("notrun", "disabled", "skipped") for s in status)
    failed = [case for case in cases if case.get("status") == "fail"]
    print(len(status) - len(failed) - skipped, len(failed), skipped)
    for case in failed:
        said = case.findtext("system-out") or ""
        inside = once(asserted(said)) + once(sanitized(said)) or [ended(case, said)]
        print("%s: %s" % (case.get("name"), "; ".join(inside)))
    return 0 if cases else 1


sys.exit(main())
