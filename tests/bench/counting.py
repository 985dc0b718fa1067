"""User instructions: by perf stat where the machine has counters, else by callgrind.

Each figure is the difference of two runs, N and 2 N requests, divided by N: what a run costs by
itself, connecting and background work that does not depend on the load, cancels out."""
import os
import re
import shutil
import signal
import subprocess
import time

from bed import Failure, expect, load, restart_node, tool, wait_until
from proxies import need

SSE_STREAMS, SSE_INTERVAL_MS = 8, 10


def has_counters():
    if shutil.which("perf") is None:
        return False
    done = subprocess.run(["perf", "stat", "-x", ",", "-e", "instructions:u", "true"],
                          capture_output=True, text=True)
    return done.returncode == 0 and re.search(r"^\d+,", done.stderr, flags=re.M) is not None


class Perf:
    name, prefix = "perf stat", ()
    requests, events, rounds = 5000, 400, 2000

    def __init__(self, directory):
        pass

    def of_processes(self, pids, run):
        """Of all threads of the processes, while run() runs."""
        perf = subprocess.Popen(["perf", "stat", "-x", ",", "-e", "instructions:u", "-p",
                                 ",".join(map(str, pids))], stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)  # perf does not say when it is attached.
        try:
            run()
        finally:
            perf.send_signal(signal.SIGINT)
            text = perf.communicate(timeout=30)[1]
        return self._read(text)

    def of_command(self, argv):
        done = subprocess.run(["perf", "stat", "-x", ",", "-e", "instructions:u", *argv],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=300)
        return self._read(done.stderr)

    @staticmethod
    def _read(text):
        found = re.search(r"^(\d+),", text, flags=re.M)
        expect(found is not None, "perf stat counted nothing: %s" % text.strip())
        return int(found[1])


class Callgrind:
    """Counts what runs on valgrind's processor, which has AVX2 but no SHA or AVX-512 instructions:
    code that picks those on a real one is counted by its fallback."""
    name = "callgrind"
    requests, events, rounds = 400, 60, 100

    def __init__(self, directory):
        need("valgrind", "callgrind_control")
        self.out = os.path.join(directory, "callgrind")
        self.dumps = 0
        self.prefix = ("valgrind", "--tool=callgrind", "-q", "--callgrind-out-file=%s.%%p" % self.out)

    def of_processes(self, pids, run):
        pid = pids[0]
        self._control("--zero", pid)
        run()
        known = set(self._dumps(pid))
        self._control("--dump", pid)
        new = wait_until("callgrind to write its counts", lambda: set(self._dumps(pid)) - known)
        path = new.pop()
        wait_until("callgrind to end its file", lambda: self._read(path) is not None)
        return self._read(path)

    def _dumps(self, pid):
        stem = "%s.%d." % (self.out, pid)
        names = os.listdir(os.path.dirname(self.out))
        return [os.path.join(os.path.dirname(self.out), n) for n in names
                if n.startswith(os.path.basename(stem))]

    @staticmethod
    def _control(what, pid):
        done = subprocess.run(["callgrind_control", what, str(pid)], capture_output=True, text=True,
                              timeout=60)
        expect(done.returncode == 0, "callgrind_control: %s" % (done.stdout + done.stderr).strip())

    def of_command(self, argv):
        path = self.out + ".command"
        subprocess.run(["valgrind", "--tool=callgrind", "-q", "--callgrind-out-file=" + path, *argv],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=300)
        return self._read(path)

    @staticmethod
    def _read(path):
        if os.path.exists(path):
            with open(path, errors="replace") as f:
                for line in f:
                    if line.startswith("totals:"):
                        return int(line.split()[1])
        return None


def method(directory, callgrind=False):
    return Callgrind(directory) if callgrind or not has_counters() else Perf(directory)


def each(counter, pids, run, count):
    """Instructions of one of what run(count) does `count` times."""
    run(count)  # Pools fill, connections open.
    once = counter.of_processes(pids, lambda: run(count))
    twice = counter.of_processes(pids, lambda: run(2 * count))
    return (twice - once) / count


def a_request(counter, stand, port, pids, size, settle):
    def run(count):
        load(port, 1, 600, stand.request(size), "-n", str(count))
        settle()
    return each(counter, pids, run, counter.requests)


def an_event(counter, stand, port, pids, settle):
    def run(count):
        load(port, SSE_STREAMS, 600, stand.request(1024, count, SSE_INTERVAL_MS), "-n",
             str(SSE_STREAMS))
        settle()
    return each(counter, pids, run, counter.events) / SSE_STREAMS


def settled(stand):
    """Until all records are stored. The database is asked and not the node, whose answers would be
    counted with the load."""
    def check():
        before = stand.stored()
        time.sleep(1)
        return stand.stored() == before

    return lambda: wait_until("the records to be stored", check, 120)


def of_node(counter, stand, wanted):
    """{name: instructions} of the node for each (name, transport, tls, size or None for events)."""
    found = {}
    restart_node(stand.cluster, counter.prefix, timeout_s=180)
    for name, transport, tls, size in wanted:
        stand.use(tls, transport)
        where = (counter, stand, stand.node_port, [stand.node_pid])
        if size is None:
            found[name] = an_event(*where, settled(stand))
        else:
            found[name] = a_request(*where, size, settled(stand))
    restart_node(stand.cluster)
    return found


def of_proxy(counter, stand, proxy):
    """{name: instructions} of nginx or haproxy, a process of its own."""
    twin = type(proxy)(os.path.join(stand.directory, "counted"), stand.upstream, stand.tls)
    try:
        twin.start(counter.prefix)
        where = (counter, stand, twin.port, twin.pids)
        found = {"request 1 KB": a_request(*where, 1024, lambda: None),
                 "SSE event": an_event(*where, lambda: None)}
        where = (counter, stand, twin.tls_port, twin.pids)
        found["request 1 KB, TLS upstream"] = a_request(*where, 1024, lambda: None)
        return found
    finally:
        twin.stop()


def of_tool(counter, name, count, *words):
    """Instructions of one round of a tool that takes -n ROUNDS."""
    argv = [tool(name), "-n"]
    try:
        once = counter.of_command(argv + [str(count), *words])
        twice = counter.of_command(argv + [str(2 * count), *words])
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
        raise Failure("%s did not run: %s" % (name, e))
    return (twice - once) / count
