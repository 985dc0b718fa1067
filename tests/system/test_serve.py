"""`steelyard serve` as a supervisor: order, restarts, adoption after its own death, stopping.

Postgres is real; both planes are stand-ins that write addresses.json and wait, so that what is seen
here is serve's own doing.
"""
import os
import shutil
import signal
import subprocess
import tempfile

from harness import BIN, expect, wait_until

PLANE = """#!/usr/bin/env python3
import json, os, signal, sys
d = sys.argv[sys.argv.index("--state-dir") + 1]
print('{"component": "%s", "msg": "up"}' % os.path.basename(sys.argv[0]), flush=True)
if os.path.exists(d + "/refuse"):
    sys.exit(78)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
path = d + "/addresses.json"
with open(path + ".new", "w") as f:
    json.dump({"http": "127.0.0.1:1", "admin": "127.0.0.1:2", "sync": "127.0.0.1:3", "metrics": "127.0.0.1:4"}, f)
os.rename(path + ".new", path)
while True:
    signal.pause()
"""
ADDRESSES = ["--listen", "127.0.0.1:1", "--admin-listen", "127.0.0.1:2", "--sync-listen", "127.0.0.1:3",
             "--metrics-listen", "127.0.0.1:4", "--control-metrics-listen", "127.0.0.1:4"]


class Serve:
    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="sy-serve-", dir="/tmp")
        os.chmod(self.root, 0o755)
        self.state = os.path.join(self.root, "state")
        shutil.copy(os.path.join(BIN, "steelyard"), self.root)
        for name in ("steelyard-controlplane", "steelyard-dataplane"):
            path = os.path.join(self.root, name)
            with open(path, "w") as f:
                f.write(PLANE)
            os.chmod(path, 0o755)
        with open(os.path.join(self.root, "steelyard.yaml"), "w") as f:
            f.write("version: 1\n")
        self.child = None
        return self

    def start(self):
        self.log = open(os.path.join(self.root, "log"), "ab")
        self.child = subprocess.Popen(
            [os.path.join(self.root, "steelyard"), "serve", "-c", os.path.join(self.root, "steelyard.yaml"),
             "--state-dir", self.state] + ADDRESSES, stdout=self.log, stderr=self.log)
        self.log.close()
        return self

    def ready(self):
        def written():
            expect(self.child.poll() is None, "serve ended early:\n" + self.text())
            return os.path.exists(os.path.join(self.state, "addresses.json"))
        wait_until("serve to be ready", written)
        return self

    def text(self):
        with open(os.path.join(self.root, "log"), errors="replace") as f:
            return f.read()

    def pids(self, word):
        """Of processes whose command line holds our root and the word."""
        found = []
        for pid in os.listdir("/proc"):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    line = f.read().decode(errors="replace")
            except (OSError, ValueError):
                continue
            if self.root in line and word in line:
                found.append(int(pid))
        return found

    def one(self, word):
        pids = self.pids(word)
        expect(len(pids) == 1, "%d processes of %s" % (len(pids), word))
        return pids[0]

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(60)

    def __exit__(self, *_):
        if self.child and self.child.poll() is None:
            self.stop()
        for pid in self.pids(""):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)


def test_serve_starts_all_in_order_and_stops_without_a_trace():
    with Serve() as serve:
        serve.start().ready()
        postgres = serve.one("bin/postgres")
        wait_until("the first run to say how to go on", lambda: "Make a key" in serve.text())
        status = os.stat("/proc/%d" % postgres).st_uid
        expect(os.getuid() != 0 or status != 0, "postgres runs as root")
        expect(serve.stop() == 0, "exit code")
        expect(not serve.pids("--state-dir") and not serve.pids("bin/postgres"), "something still runs")
        expect(not os.path.exists(os.path.join(serve.state, "addresses.json")), "addresses.json stays")
        before = os.stat(os.path.join(serve.state, "postgres", "data", "PG_VERSION")).st_ino
        serve.start().ready()
        after = os.stat(os.path.join(serve.state, "postgres", "data", "PG_VERSION")).st_ino
        expect(before == after, "the second start made a new database")


def test_serve_starts_again_what_dies():
    with Serve() as serve:
        serve.start().ready()
        for word in ("steelyard-dataplane", "steelyard-controlplane", "bin/postgres"):
            old = serve.one(word)
            os.kill(old, signal.SIGKILL)
            wait_until("%s to come back" % word, lambda: [p for p in serve.pids(word) if p != old])
        expect(serve.stop() == 0, "exit code")


def test_serve_adopts_what_outlived_its_own_kill():
    with Serve() as serve:
        serve.start().ready()
        words = ("steelyard-dataplane", "steelyard-controlplane", "bin/postgres")
        before = [serve.one(word) for word in words]
        serve.child.kill()
        serve.child.wait()
        os.unlink(os.path.join(serve.state, "addresses.json"))
        serve.start().ready()
        expect(before == [serve.one(word) for word in words], "something was started twice or anew")
        os.kill(before[0], signal.SIGKILL)
        wait_until("an adopted node to come back",
                   lambda: [p for p in serve.pids(words[0]) if p != before[0]])
        expect(serve.stop() == 0, "exit code")
        expect(not serve.pids("bin/postgres"), "adopted postgres still runs")


def test_serve_refuses_a_second_one_and_a_bad_configuration():
    with Serve() as serve:
        serve.start().ready()
        second = subprocess.run([os.path.join(serve.root, "steelyard"), "serve", "-c",
                                 os.path.join(serve.root, "steelyard.yaml"), "--state-dir", serve.state],
                                capture_output=True, text=True, timeout=30)
        expect(second.returncode == 5, "second serve exits %d" % second.returncode)
        serve.stop()
        open(os.path.join(serve.state, "control", "refuse"), "w").close()
        serve.start()
        expect(serve.child.wait(60) == 78, "a refused configuration is exit 78")
        expect(not serve.pids("bin/postgres"), "postgres still runs")
