"""User instructions: by perf stat where the machine has counters, else by single steps, else by
callgrind.

Each figure is the difference of two runs, N and 2 N requests, divided by N: what a run costs by
itself, connecting and background work that does not depend on the load, cancels out. Both are
counted for the same time, so that what runs by the clock does so too."""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

from bed import Failure, PROXY_CORE, TOOLS, expect, load, restart_node, tool, wait_until
from procfs import thread_cpu_ns
from proxies import need


BUSY_REQUESTS = 400


def has_counters():
    if shutil.which("perf") is None:
        return False
    done = subprocess.run(["perf", "stat", "-x", ",", "-e", "instructions:u", "true"],
                          capture_output=True, text=True)
    return done.returncode == 0 and re.search(r"^\d+,", done.stderr, flags=re.M) is not None


class Perf:
    name, prefix = "perf stat", ()
    threads = "all threads"
    requests, rounds = 5000, 2000
    streams, events, interval_ms = 8, 400, 10

    def __init__(self, directory):
        pass

    def each(self, pids, run, count, busy):
        """Instructions of one of what run(count) does `count` times; busy() is a load by which those
        who want to can tell which thread works."""
        return difference(lambda work: self.of_processes(pids, work), run, count)

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
    name, threads = "callgrind", "all threads"
    requests, rounds = 400, 100
    streams, events, interval_ms = 8, 60, 10

    def __init__(self, directory):
        need("valgrind", "callgrind_control")
        self.out = os.path.join(directory, "callgrind")
        self.dumps = 0
        self.prefix = ("valgrind", "--tool=callgrind", "-q", "--callgrind-out-file=%s.%%p" % self.out)

    def each(self, pids, run, count, busy):
        return difference(lambda work: self.of_processes(pids, work), run, count)

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


class Steps:
    """Every instruction of the real processor (bench_steps), some 50,000 a second. Only the busiest
    thread, a worker, is stepped, and reads clocks that go slower with it. What other threads do, for
    many records at once and by the clock, would be far from life at that pace."""
    name, prefix = "single steps", ()
    threads = "the worker"
    requests, rounds = 3, 0  # No rounds: a program of its own is too long on its way to the first.
    streams, events, interval_ms = 1, 30, 200
    WINDOWS = 3

    def __init__(self, directory):
        self.program = tool("bench_steps")

    def each(self, pids, run, count, busy):
        worker = self._busiest(pids, busy)
        return difference(lambda work: self._of_thread(worker, work), run, count, self.WINDOWS)

    @staticmethod
    def _busiest(pids, run):
        def used():
            return {tid: ns for pid in pids for tid, ns in thread_cpu_ns(pid).items()}
        before = used()
        run()
        after = used()
        return max(after, key=lambda tid: after[tid] - before.get(tid, 0))

    def _of_thread(self, tid, run):
        # Beside what it steps, so that neither waits for the other processor to wake up.
        steps = subprocess.Popen(["taskset", "-c", str(PROXY_CORE), self.program, "-s", "-t",
                                  str(tid)], stdout=subprocess.PIPE, text=True)
        try:
            expect(steps.stdout.readline() == "attached\n", "bench_steps did not attach")
            run()
        finally:
            steps.send_signal(signal.SIGINT)
            text = steps.communicate(timeout=30)[0]
        expect(steps.returncode == 0, "bench_steps failed")
        return json.loads(text)["instructions"]


def can_step():
    """Whether there is the program and the permission to trace."""
    path = os.path.join(TOOLS, "bench_steps")
    if not os.path.exists(path):
        return False
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            steps = subprocess.Popen([path, "-t", str(child.pid)], stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, text=True)
            attached = steps.stdout.readline() == "attached\n"
            steps.send_signal(signal.SIGINT)
            steps.communicate(timeout=30)
            return attached
        finally:
            child.kill()


METHODS = {"perf": Perf, "steps": Steps, "callgrind": Callgrind}


def choose(wanted=None):
    """A key of METHODS: the wanted one, else the best there is."""
    if wanted is not None:
        return wanted
    return "perf" if has_counters() else "steps" if can_step() else "callgrind"


def method(directory, wanted=None):
    return METHODS[choose(wanted)](directory)


def difference(count_while, run, count, windows=1):
    """Of one of `count`, both runs observed for the time that the longer one takes. Of several
    windows the median counts: now and then something comes in between, or two events come at once."""
    times = {}

    def twice():
        began = time.monotonic()
        run(2 * count)
        times["took"] = time.monotonic() - began

    def once():
        began = time.monotonic()
        run(count)
        time.sleep(max(0, began + times["took"] - time.monotonic()))

    run(count)  # Pools fill, connections open.
    more = statistics.median(count_while(twice) for _ in range(windows))
    less = statistics.median(count_while(once) for _ in range(windows))
    return (more - less) / count


def a_request(counter, stand, port, pids, size, settle):
    def run(count, of=size):
        load(port, 1, 600, stand.request(of), "-n", str(count))
        settle(count)
    return counter.each(pids, run, counter.requests, lambda: run(BUSY_REQUESTS, 1024))


def an_event(counter, stand, port, pids, settle):
    def busy():
        load(port, 1, 600, stand.request(1024), "-n", str(BUSY_REQUESTS))
        settle(BUSY_REQUESTS)

    def run(count):
        load(port, counter.streams, 600, stand.request(1024, count, counter.interval_ms), "-n",
             str(counter.streams))
        settle(counter.streams)
    return counter.each(pids, run, counter.events, busy) / counter.streams


class Settle:
    """Until all records are stored. The database is asked and not the node, whose answers would be
    counted with the load."""

    def __init__(self, stand):
        self.stand, self.wanted = stand, stand.stored()

    def __call__(self, requests):
        self.wanted += requests
        wait_until("the records to be stored", lambda: self.stand.stored() >= self.wanted, 300)


def of_node(counter, stand, wanted):
    """{name: instructions} of the node for each (name, transport, tls, size or None for events)."""
    found = {}
    restart_node(stand.cluster, counter.prefix, timeout_s=180)
    for name, transport, tls, size in wanted:
        stand.use(tls, transport)
        where = (counter, stand, stand.node_port, [stand.node_pid])
        if size is None:
            found[name] = an_event(*where, Settle(stand))
        else:
            found[name] = a_request(*where, size, Settle(stand))
    restart_node(stand.cluster)
    return found


def of_proxy(counter, stand, proxy):
    """{name: instructions} of a relay, nginx or haproxy, a process of its own."""
    twin = type(proxy)(os.path.join(stand.directory, "counted"), stand.upstream, proxy.tls)
    try:
        twin.start(counter.prefix)
        where = (counter, stand, twin.port, twin.pids)
        found = {"request 1 KB": a_request(*where, 1024, lambda _: None)}
        if proxy.tls is None:
            return found
        found["SSE event"] = an_event(*where, lambda _: None)
        where = (counter, stand, twin.tls_port, twin.pids)
        found["request 1 KB, TLS upstream"] = a_request(*where, 1024, lambda _: None)
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
