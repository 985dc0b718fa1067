#!/usr/bin/env python3
"""Runs docs/switching.md: its files are written, its shell blocks are run in order, each must exit 0.

  tests/docs/switching.py BIN
Closes with "switching: N passed, N failed, 0 skipped".
"""
import os
import re
import subprocess
import sys
import tempfile

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "switching.md")


def main():
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    passed = failed = 0
    env = dict(os.environ, PATH=os.path.abspath(sys.argv[1]) + os.pathsep + os.environ["PATH"])
    with tempfile.TemporaryDirectory() as there:
        files = re.findall(r"`([a-z.-]+\.(?:yaml|json))`:\n\n```(?:yaml|json)\n(.*?)```", text, flags=re.S)
        for name, body in files:
            with open(os.path.join(there, name), "w", encoding="utf-8") as f:
                f.write(body)
        blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.S)
        for block in blocks:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=there, env=env,
                                  capture_output=True, text=True)
            passed, failed = passed + (done.returncode == 0), failed + (done.returncode != 0)
            if done.returncode != 0:
                print("exit %d of:\n%s%s" % (done.returncode, block, done.stderr))
        if len(files) < 5 or len(blocks) < 7:
            print("the page has lost files or commands")
            failed += 1
    print("switching: %d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
