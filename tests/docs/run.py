#!/usr/bin/env python3
"""Checks the documentation: generated pages are current, links lead somewhere, and the commands that the
pages show exist with the flags they show.

  tests/docs/run.py
Closes with "N passed, N failed, N skipped".
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("STEELYARD_BIN", os.path.join(ROOT, "build", "release", "bin"))
GENERATED = {"docs/reference"}


def pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.split()


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def check_generated():
    done = subprocess.run(["docs/generate", "--check"], cwd=ROOT, capture_output=True, text=True,
                          env=dict(os.environ, STEELYARD_BIN=BIN))
    return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()


def check_links():
    for path in pages():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", read(path), flags=re.S)):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(path), target)):
                yield "%s: no such file: %s" % (path, target)


def shown_commands():
    """(page, words) of each `steelyard ...` in a fenced shell block or in code."""
    for path in pages():
        if path.rpartition("/")[0] in GENERATED:
            continue
        text = read(path)
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S) + re.findall(r"`([^`\n]+)`", text):
            for words in re.findall(r"(?:^|\(|[|;&] )\s*steelyard ((?:[a-z0-9_.=@/:-]+ ?)+)", block, flags=re.M):
                yield path, words.split()


def check_commands():
    known = subprocess.run([os.path.join(BIN, "steelyard"), "docs", "cli"], check=True, capture_output=True,
                           text=True).stdout
    names = set(re.findall(r"^### (.+)$", known, flags=re.M))
    nouns = {name.split()[0] for name in names}
    for path, words in shown_commands():
        if words[0] not in nouns:
            yield "%s: no command 'steelyard %s'" % (path, words[0])
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in names else words[0]
        if name not in names:
            continue  # A noun alone, in prose.
        helped = subprocess.run([os.path.join(BIN, "steelyard"), *name.split(), "--help"], check=True,
                                capture_output=True, text=True).stdout
        for flag in (w.split("=")[0] for w in words if w.startswith("--")):
            if flag not in helped:
                yield "%s: 'steelyard %s' has no %s" % (path, name, flag)


def check_shell():
    """Every fenced shell block is at least one that a shell can read."""
    for path in pages():
        for number, block in enumerate(re.findall(r"```sh\n(.*?)```", read(path), flags=re.S), 1):
            done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
            if done.returncode != 0:
                yield "%s: block %d: %s" % (path, number, done.stderr.strip())


def main():
    passed = failed = 0
    for name, check in (("generated pages are current", check_generated), ("links lead somewhere", check_links),
                        ("shown commands exist", check_commands), ("shell blocks parse", check_shell)):
        problems = list(check())
        passed, failed = passed + (not problems), failed + bool(problems)
        print("FAIL %s: %s" % (name, problems[0]) if problems else "ok   " + name)
        for problem in problems:
            print("     " + problem)
    print("docs: %d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
