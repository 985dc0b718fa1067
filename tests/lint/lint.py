#!/usr/bin/env python3
"""Checks of the source that no compiler makes: include edges, banned calls, layout of files.

  tests/lint/lint.py [--root DIR]
Prints one finding a line and closes with "N passed, N failed"; exits 1 when anything was found.
"""
import argparse
import os
import re
import subprocess
import sys

BANNED = {
    r"\b(sprintf|vsprintf|strcpy|strcat|gets|strtok)\s*\(": "use common/base/buf or snprintf with a size",
    r"\b(atoi|atol|atoll|atof|sscanf)\s*\(": "use str_parse_*",
    r"\balloca\s*\(": "use an arena",
    r"(?<![\w>.])(malloc|calloc|realloc|free|strdup|strndup)\s*\(": "use common/base/mem.h",
    r"\bsystem\s*\(|\bpopen\s*\(": "nothing runs a shell",
}
# The one caller of malloc, and programs that stand apart from the library.
BANNED_EXCEPT = {"common/base/mem.c", "tests/fuzz/corpus_main.c"}
SOURCE = re.compile(r"^(common|dataplane|controlplane|deploy|tests)/.*\.[ch]$")
FILE_LINES_MAX = 700


def tracked(root):
    out = subprocess.run(["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True)
    return [p for p in out.stdout.splitlines() if os.path.isfile(os.path.join(root, p))]


def read_layers(path):
    layers = {}
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        if line:
            folder, _, allowed = line.partition(":")
            layers[folder.strip()] = set(allowed.split())
    return layers


def strip_comments(text):
    """Blanks comments and string contents, keeping line numbers."""
    keep = lambda m: re.sub(r"[^\n]", " ", m.group(0))
    text = re.sub(r"/\*.*?\*/", keep, text, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', lambda m: '"' + " " * (len(m.group(0)) - 2) + '"', text)
    return re.sub(r"//[^\n]*", keep, text)


def check_includes(path, text, layers, report):
    folder = os.path.dirname(path)
    if folder.split("/")[0] in ("tests", "deploy"):
        return
    allowed = layers.get(folder, set()) | {folder}
    for number, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m or m.group(1).endswith(".pb-c.h"):
            continue
        target = os.path.dirname(m.group(1))
        if target == "":
            report(path, number, "include from the repository root: %s" % m.group(1))
        elif target not in allowed:
            report(path, number, "%s may not include %s (tests/lint/layers.txt)" % (folder, target))


def check_banned(path, text, report):
    if path in BANNED_EXCEPT:
        return
    for number, line in enumerate(strip_comments(text).splitlines(), 1):
        for pattern, advice in BANNED.items():
            if re.search(pattern, line):
                report(path, number, "banned call: %s" % advice)


def check_layout(path, text, report):
    lines = text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        report(path, len(lines), "file has %d lines; split it by idea" % len(lines))
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            report(path, number, "tab")
        if len(line) > 110:
            report(path, number, "line of %d characters" % len(line))
    if re.search(r"\b(TODO|FIXME|XXX)\b", text):
        report(path, 1, "unfinished work is an issue, not a comment")


def check_machine_paths(path, text, report):
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"(?<![\w.])/(work|farm)/", line):
            report(path, number, "path of one machine")


ORDER = "dataplane/request.order"


def check_order(text, sources, report):
    """The linker passes over the name of a function that is gone."""
    known, seen = set(re.findall(r"\b[a-z]\w*(?=\()", sources)), set()
    for number, name in enumerate(text.splitlines(), 1):
        if name.startswith("#"):
            continue
        if name not in known:
            report(ORDER, number, "no function has the name: %s" % name)
        if name in seen:
            report(ORDER, number, "twice: %s" % name)
        seen.add(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    root = os.path.abspath(parser.parse_args().root)
    layers = read_layers(os.path.join(root, "tests/lint/layers.txt"))
    findings, files, order, sources = [], 0, "", []

    def report(path, line, what):
        findings.append("%s:%d: %s" % (path, line, what))

    for path in tracked(root):
        try:
            text = open(os.path.join(root, path), encoding="utf-8").read()
        except UnicodeDecodeError:
            continue
        files += 1
        if path != "tests/lint/lint.py":
            check_machine_paths(path, text, report)
        if SOURCE.match(path):
            check_includes(path, text, layers, report)
            check_banned(path, text, report)
            check_layout(path, text, report)
            if path.startswith(("common/", "dataplane/")):
                sources.append(strip_comments(text))
        order = text if path == ORDER else order
    check_order(order, "\n".join(sources), report)
    for finding in findings:
        print(finding)
    print("lint: %d passed, %d failed" % (files - len({f.split(":")[0] for f in findings}),
                                          len({f.split(":")[0] for f in findings})))
    return 1 if findings else 0


sys.exit(main())
