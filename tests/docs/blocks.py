#!/usr/bin/env python3
"""Runs the shell blocks of the documentation, in order, as a reader would.

  tests/docs/blocks.py
They run in a network namespace of their own (so the documented ports are free) against a state
directory of their own; paths of an installed system are replaced by those of this run. Needs root.
Closes with "N passed, N failed, N skipped".
"""
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PAGES = ["README.md", "docs/prices.md", "docs/request.md", "docs/control.md", "docs/release.md", "docs/rollouts.md", "docs/evidence.md", "docs/operations.md", "docs/budgets.md", "docs/spend.md", "docs/audit.md",
         "docs/performance.md"]


def raise_loopback():
    with socket.socket() as s:
        name = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(s, 0x8913, name))[1]  # SIOCGIFFLAGS
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", flags | 1))   # SIOCSIFFLAGS, IFF_UP


def blocks():
    for page in PAGES:
        with open(os.path.join(ROOT, page), encoding="utf-8") as f:
            for number, text in enumerate(re.findall(r"```sh\n(.*?)```", f.read(), flags=re.S), 1):
                yield "%s block %d" % (page, number), text


def run(text, env):
    """Its last line says which command failed."""
    told = "trap 'echo \"$? from: $(head -n 1 <<<\"$BASH_COMMAND\")\" >&2' ERR\n"
    return subprocess.run(["bash", "-Eeuo", "pipefail", "-c", told + text], cwd=ROOT, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)


def say(name, done):
    if done.returncode == 0:
        print("ok   " + name, flush=True)
        return
    lines = [line for line in done.stdout.splitlines() if line.strip()] or ["said nothing"]
    print("FAIL %s: %s" % (name, " / ".join(lines[-2:])))
    print("\n".join("     " + line for line in lines[-30:]), flush=True)


def inside():
    raise_loopback()
    state = tempfile.mkdtemp(prefix="sy-docs-", dir="/tmp")
    os.chmod(state, 0o755)
    env = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    env.update(STEELYARD_STATE_DIR=state,
               PATH=os.path.join(ROOT, "build", "release", "bin") + ":" + env["PATH"])
    passed = failed = 0
    try:
        for name, text in blocks():
            text = text.replace("/etc/steelyard/steelyard.yaml", "deploy/steelyard.yaml")
            text = text.replace("/var/lib/steelyard", state).replace("steelyard.dump", state + "/copy")
            done = run(text, env)
            passed, failed = passed + (done.returncode == 0), failed + (done.returncode != 0)
            say(name, done)
        again = run("deploy/up", env)
        picked_up = again.returncode == 0
        passed, failed = passed + picked_up, failed + (not picked_up)
        say("a second deploy/up picks up where it was", again)
        down = run("deploy/down", env)
        passed, failed = passed + (down.returncode == 0), failed + (down.returncode != 0)
        say("deploy/down", down)
    finally:
        run("deploy/down || true", env)
        shutil.rmtree(state, ignore_errors=True)
    print("blocks: %d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


def main():
    if os.environ.get("STEELYARD_DOCS_INSIDE") == "1":
        return inside()
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode != 0:
        print("SKIP: network namespaces need root")
        print("blocks: 0 passed, 0 failed, 1 skipped")
        return 0
    return subprocess.run(["unshare", "-n", sys.executable, os.path.abspath(__file__)],
                          env=dict(os.environ, STEELYARD_DOCS_INSIDE="1")).returncode


sys.exit(main())
