"""Starts and breaks the real processes: private Postgres, control plane, nodes, simulated provider.

Everything listens on unix sockets or ephemeral loopback ports and lives below one temporary
directory. A Cluster is a context manager: leaving it stops everything that it started.
"""
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("STEELYARD_BIN", os.path.join(ROOT, "build", "release", "bin"))
SHARED = os.path.join(ROOT, "..", "shared")


class Failure(AssertionError):
    pass


def expect(condition, message):
    if not condition:
        raise Failure(message)


def wait_until(what, predicate, timeout_s=120.0):
    """Waits for a condition that some process will make true; the poll is short, the limit is an error."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = predicate()
        if value:
            return value
        time.sleep(0.02)
    raise Failure("waited %d s for %s" % (timeout_s, what))


PORTS = range(10240, 32000)  # Below what the kernel gives to outgoing connections.
_port_locks = []  # Held until this process ends.


def free_port():
    """A loopback port that no other test takes meanwhile: one lock file a port, held by this process."""
    directory = os.path.join(tempfile.gettempdir(), "steelyard-test-ports.%d" % os.getuid())
    os.makedirs(directory, exist_ok=True)
    for port in random.sample(PORTS, 1000):
        lock = os.open(os.path.join(directory, str(port)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _port_locks.append(lock)
        return port
    raise Failure("no free port between %d and %d" % (PORTS[0], PORTS[-1]))


def http(method, url, body=None, key=None, headers=None, timeout_s=30.0):
    """(status, headers, bytes). Error statuses are answers, not exceptions."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    if data is not None:
        request.add_header("content-type", "application/json")
    if key:
        request.add_header("authorization", "Bearer " + key)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), e.read()
    except (urllib.error.URLError, OSError) as e:
        return 0, {}, str(e).encode()


def http_json(method, url, body=None, key=None, **kw):
    status, _, raw = http(method, url, body, key, **kw)
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, {}


class Process:
    """One child with its own log file and state directory."""

    def __init__(self, name, directory, argv, env=None):
        self.name, self.directory, self.argv = name, directory, argv
        self.env = dict(os.environ, **(env or {}))
        self.log_path = os.path.join(directory, name + ".log")
        self.child = None

    def start(self):
        addresses = os.path.join(self.directory, "addresses.json")
        if os.path.exists(addresses):
            os.unlink(addresses)
        log = open(self.log_path, "ab")
        self.child = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                      env=self.env)
        log.close()
        return self

    @property
    def alive(self):
        return self.child is not None and self.child.poll() is None

    def kill(self, sig=signal.SIGKILL):
        if self.alive:
            self.child.send_signal(sig)

    def stop(self, timeout_s=60.0):
        """SIGTERM; the exit code, or a Failure when it does not end."""
        if self.child is None:
            return 0
        self.kill(signal.SIGTERM)
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self.child.wait()
            raise Failure("%s did not stop within %d s" % (self.name, timeout_s))

    def wait_dead(self):
        self.child.wait(60)

    def log_tail(self, lines=30):
        try:
            with open(self.log_path, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def addresses(self, timeout_s=120.0):
        path = os.path.join(self.directory, "addresses.json")

        def read():
            expect(self.alive, "%s ended early:\n%s" % (self.name, self.log_tail()))
            try:
                with open(path) as f:
                    return json.load(f)
            except (OSError, ValueError):
                return None

        return wait_until("%s to listen" % self.name, read, timeout_s)


class Postgres:
    """A private cluster on a unix socket, by tests/lib/postgres."""

    def __init__(self, directory):
        self.directory = directory
        self.tool = os.path.join(ROOT, "tests", "lib", "postgres")
        self.conninfo = ""

    def start(self):
        self._tool("start")  # A server that inherited a pipe would keep its reader waiting.
        out = subprocess.run([self.tool, "conninfo", self.directory], check=True, capture_output=True,
                             text=True)
        self.conninfo = out.stdout.strip()
        return self

    @property
    def pid(self):
        """Of the postmaster."""
        home = dict(word.split("=") for word in self.conninfo.split())["host"]
        with open(os.path.join(home, "data", "postmaster.pid")) as f:
            return int(f.readline())

    def stop(self):
        subprocess.run([self.tool, "stop", self.directory], check=False, capture_output=True)

    def restart_immediate(self):
        """Crash and recovery: no checkpoint, every connection cut."""
        self._tool("restart")

    def stop_server(self):
        self._tool("halt")

    def start_server(self):
        self._tool("resume")

    def _tool(self, action):
        subprocess.run([self.tool, action, self.directory], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def query(self, sql):
        """Rows as lists of strings."""
        out = subprocess.run(["psql", "-X", "-q", "-At", "-F", "\x1f", "-v", "ON_ERROR_STOP=1",
                              self.conninfo, "-f", "-"], input=sql, check=False, capture_output=True,
                             text=True)
        expect(out.returncode == 0, "psql ended with %d: %s\n%s" % (out.returncode, out.stderr, sql))
        return [line.split("\x1f") for line in out.stdout.splitlines()]

    def value(self, sql):
        return self.query(sql)[0][0]


class Etcd:
    """One member on loopback, its data below `directory`."""

    def __init__(self, directory):
        self.port, peer = free_port(), free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.process = Process("etcd", directory, [
            "etcd", "--name", "one", "--data-dir", os.path.join(directory, "data"),
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", "http://127.0.0.1:%d" % peer,
            "--initial-advertise-peer-urls", "http://127.0.0.1:%d" % peer,
            "--initial-cluster", "one=http://127.0.0.1:%d" % peer, "--unsafe-no-fsync",
            "--log-level", "error"])

    def start(self):
        self.process.start()
        wait_until("etcd to answer", lambda: http("GET", self.url + "/health", timeout_s=2)[0] == 200)
        return self

    def wipe(self):
        """All it knew is gone, as with a lost volume."""
        self.process.kill()
        self.process.wait_dead()
        shutil.rmtree(os.path.join(self.process.directory, "data"))


class Relay:
    """A TCP relay that can be cut: what is connected then hangs, as in a network that drops packets."""

    def __init__(self, port):
        self.target, self.cut = port, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                near.close()
                continue
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a, b):
        try:
            while True:
                data = a.recv(65536)
                while self.cut:  # Kept back, as by a network that loses and repeats.
                    time.sleep(0.02)
                if not data:
                    break
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.cut = False
        self.listener.close()


class Cluster:
    """Postgres, `controls` control planes, `nodes` data-plane nodes and one simulated provider.

    With etcd=True the control planes elect each other over it, each through a relay of its own
    (self.relays); without, there is one that leads everything."""

    def __init__(self, config, nodes=1, simulator_args=(), node_args=(), env=None, controls=1,
                 etcd=False, control_args=()):
        self.control_count, self.with_etcd, self.control_args = controls, etcd, list(control_args)
        self.controls, self.relays, self.etcd = [], [], None
        self.directory = tempfile.mkdtemp(prefix="sy-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        self.config_of = config
        self.node_count = nodes
        self.simulator_args, self.node_args = list(simulator_args), list(node_args)
        self.env = env or {}
        self.processes = []
        self.postgres = None

    def _dir(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _start(self):
        d = self._dir("sim")
        self.provider_ledger = os.path.join(d, "ledger.jsonl")
        self.simulator = Process("simulator", d, [
            os.path.join(BIN, "steelyard-simulator"), "--listen", "127.0.0.1:0", "--state-dir", d,
            "--ledger", self.provider_ledger] + self.simulator_args).start()
        self.processes.append(self.simulator)
        self.provider_url = "http://" + self.simulator.addresses()["http"]
        self.postgres = Postgres(self._dir("pg"))  # Known before it starts: an interrupted start stops it.
        self.postgres.start()
        if self.with_etcd:
            self.etcd = Etcd(self._dir("etcd"))
            self.processes.append(self.etcd.process)
            self.etcd.start()
        self.config_path = os.path.join(self._dir("control"), "steelyard.yaml")
        self.write_config(self.config_of(self.provider_url))
        for i in range(self.control_count):
            self._control(i)
        self.control, self.sync_port, self.admin_port = self.controls[0], self.sync_ports[0], \
            self.admin_ports[0]
        self.admin_url = "http://127.0.0.1:%d/api/v1" % self.admin_port
        self.nodes = [self._node(i).start() for i in range(self.node_count)]
        for node in self.nodes:
            self.wait_ready(node)

    def _control(self, i):
        first = self._dir("control")
        d = self._dir("control%d" % i) if i > 0 else first
        if i == 0:
            self.sync_ports = [free_port() for _ in range(self.control_count)]
            self.admin_ports = [free_port() for _ in range(self.control_count)]
        args = ["--replica-id", "control-%d" % i] if self.control_count > 1 else []
        if self.with_etcd:
            self.relays.append(Relay(self.etcd.port))
            args += ["--etcd", "http://127.0.0.1:%d" % self.relays[i].port]
        if i > 0:  # One deployment, one key of its hashes.
            args += ["--hash-key-file", os.path.join(first, "hash.key")]
            shutil.copy(os.path.join(first, "operator.key"), d)
        control = Process("control%s" % (i or ""), d, [
            os.path.join(BIN, "steelyard-controlplane"), "--config", self.config_path,
            "--database", self.postgres.conninfo, "--listen", "127.0.0.1:%d" % self.admin_ports[i],
            "--sync-listen", "127.0.0.1:%d" % self.sync_ports[i], "--metrics-listen", "127.0.0.1:0",
            "--state-dir", d] + args + self.control_args, self.env).start()
        self.processes.append(control)
        self.controls.append(control)
        control.addresses()
        with open(os.path.join(first, "operator.key")) as f:
            self.operator_key = f.read().strip()

    def _node(self, i):
        d = self._dir("node%d" % i)
        node = Process("node%d" % i, d, [
            os.path.join(BIN, "steelyard-dataplane"), "--listen", "127.0.0.1:%d" % free_port(),
            "--metrics-listen", "127.0.0.1:0", "--control",
            ",".join("127.0.0.1:%d" % port for port in self.sync_ports), "--state-dir", d, "--drain-delay", "0s"]
            + self.node_args, self.env)
        self.processes.append(node)
        return node

    def write_config(self, text):
        with open(self.config_path, "w") as f:
            f.write(text)

    def wait_ready(self, node, timeout_s=120.0):
        metrics = node.addresses()["metrics"]
        wait_until("%s to be ready" % node.name,
                   lambda: http("GET", "http://%s/readyz" % metrics)[0] == 200, timeout_s)

    def target(self, i=0):
        host, _, port = self.nodes[i].addresses()["http"].rpartition(":")
        return host, int(port)

    def node_url(self, i=0):
        return "http://%s:%d" % self.target(i)

    def metric(self, i, name):
        """Sum over the series of one family of node i; None when it is not there."""
        return self._metric(self.nodes[i], name)

    @staticmethod
    def _metric(process, name):
        _, _, text = http("GET", "http://%s/metrics" % process.addresses()["metrics"])
        values = [float(line.rsplit(" ", 1)[1]) for line in text.decode().splitlines()
                  if line.split("{")[0].split(" ")[0] == name]
        return sum(values) if values else None

    def control_metric(self, name, control=0):
        return self._metric(self.controls[control], name)

    def admin(self, method, path, body=None, control=0, **kw):
        url = "http://127.0.0.1:%d/api/v1" % self.admin_ports[control]
        return http_json(method, url + path, body, self.operator_key, **kw)

    def leaders(self):
        """role -> (index of the control plane whose claim was the last, term); by the database."""
        rows = self.postgres.query("SELECT role, holder, term FROM leader_fence WHERE term > 0")
        return {role: (int(holder.rpartition("-")[2]), int(term)) for role, holder, term in rows}

    def make_key(self, name="load"):
        status, made = self.admin("POST", "/keys", {"name": name})
        expect(status == 201, "key was not made: %s %s" % (status, made))
        key = made["key"]

        def known_everywhere():
            return all(http("GET", self.node_url(i) + "/v1/models", key=key)[0] == 200
                       for i in range(self.node_count))

        wait_until("the key to reach every node", known_everywhere)
        return key

    def wait_drained(self, timeout_s=120.0):
        """Until no live node has an unacknowledged record."""
        def drained():
            return all(self.metric(i, "steelyard_spool_records") == 0
                       for i, node in enumerate(self.nodes) if node.alive)
        wait_until("the spools to drain", drained, timeout_s)

    def provider_entries(self):
        with open(self.provider_ledger) as f:
            return [json.loads(line) for line in f if line.endswith("\n")]

    def __exit__(self, kind, *_):
        if kind is not None:
            for process in self.processes:
                sys.stderr.write("--- %s\n%s\n" % (process.name, process.log_tail()))
        for process in reversed(self.processes):
            process.kill(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.stop(10)
            except Failure:
                pass
        if self.postgres:
            self.postgres.stop()
        if not os.environ.get("STEELYARD_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)
