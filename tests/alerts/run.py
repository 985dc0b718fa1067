#!/usr/bin/env python3
"""Checks deploy/alerts.yaml: promtool reads it and its unit tests pass (each alert fires on what it is
for, none on a healthy deployment), every metric it names is in the generated reference, every alert has
a test and a runbook with commands, and the chart ships the same file.

  tests/alerts/run.py
Closes with "N passed, N failed, N skipped".
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROMETHEUS = {"up", "time"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def promtool(*words):
    done = subprocess.run(["promtool", *words], cwd=ROOT, capture_output=True, text=True)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()[:60]


def alerts():
    """(name, expression) of each rule; the file is ours, so its layout is known."""
    return re.findall(r"- alert: (\w+)\n\s+expr: \"((?:[^\"\\]|\\.)*)\"", read("deploy/alerts.yaml"))


def check_metrics():
    known = set(re.findall(r"^\| `(steelyard_\w+)`", read("docs/reference/metrics.md") +
                           read("docs/reference/control-metrics.md"), flags=re.M))
    for name, expression in alerts():
        for metric in re.findall(r"\bsteelyard_\w+", expression):
            if metric not in known and re.sub(r"_(bucket|sum|count)$", "", metric) not in known:
                yield "%s: no metric %s" % (name, metric)


def check_runbooks():
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", read("docs/runbooks.md"), flags=re.M | re.S))
    tests = read("tests/alerts/rules_test.yaml")
    names = [name for name, _ in alerts()]
    for name in names:
        if "```sh\n" not in sections.get(name, ""):
            yield "docs/runbooks.md: no section %s with commands" % name
        if 'name: "%s fires"' % name not in tests or "eval_time: 39h, alertname: %s," % name not in tests:
            yield "tests/alerts/rules_test.yaml: %s has no test of firing, or none of silence" % name
    for name in sections:
        if name not in names:
            yield "docs/runbooks.md: there is no alert %s" % name


def check_copy():
    if read("deploy/alerts.yaml") != read("helm/steelyard/files/alerts.yaml"):
        yield "helm/steelyard/files/alerts.yaml is not deploy/alerts.yaml: run tests/chart/generate"


def main():
    checks = [("metrics exist", check_metrics), ("runbooks and tests", check_runbooks), ("the chart's copy", check_copy)]
    skipped = 0
    if shutil.which("promtool"):
        checks += [("promtool check", lambda: promtool("check", "rules", "deploy/alerts.yaml")),
                   ("promtool test", lambda: promtool("test", "rules", "tests/alerts/rules_test.yaml"))]
    else:
        print("skip promtool: not installed (deploy/packages.test)")
        skipped = 2
    failed = 0
    for name, check in checks:
        found = list(check())
        print("FAIL %s: %s" % (name, found[0]) if found else "ok   " + name)
        for line in found:
            print("     " + line)
        failed += bool(found)
    print("alerts: %d passed, %d failed, %d skipped" % (len(checks) - failed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
