"""What clients can make a node hold: RELIABILITY B10, F23, F24, F25.

  STEELYARD_STALLED=10000 tests/system/run.py stop_reading     the whole load; the default is 300
A node takes half of its descriptors as clients: 10,000 and some need a hard limit of 24,000.
"""
import json
import os
import resource
import socket
import subprocess
import sys
import time

from harness import Cluster, ROOT, expect, http, wait_until
from skmem import held_bytes

ALONE = True  # It bounds memory and the slowest request.

STALLED = int(os.environ.get("STEELYARD_STALLED", "300"))
BYTES_PER_STALLED = 1.5 * 2**30 / 10000  # 10,000 of them: 1.5 GiB, sockets included.
FAST = ["--latency-percent", "0"]
CHAT = "/v1/chat/completions"


class Flood:
    """The provider that floods, in a process of its own."""

    def __enter__(self):
        self.child = subprocess.Popen(
            [sys.executable, os.path.join(ROOT, "tests", "system", "flood_provider.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.child.stdout.readline())
        return self

    def open(self):
        self.child.stdin.write(b"\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline().split()[1])

    def config(self, provider_url):
        """Model "flood" is this provider's; model "calm" is the simulator's."""
        return "\n".join([
            "version: 1", "providers:",
            '  flood: {type: openai, base_url: "http://127.0.0.1:%d/v1", private: true,'
            ' abort_stops_billing: true}' % self.port,
            '  sim: {type: openai, base_url: "%s/v1", private: true}' % provider_url,
            "models:",
            '  flood: {deployments: [{provider: flood, model: up}],'
            ' price: {input: "1 USD", output: "2 USD"}}',
            '  calm: {deployments: [{provider: sim, model: sim-weak}],'
            ' price: {input: "1 USD", output: "2 USD"}}',
            "routes:", "  auto: {models: [calm]}", ""])

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


def raise_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def ask(stream):
    return json.dumps({"model": "flood" if stream else "calm", "stream": stream,
                       "messages": [{"role": "user", "content": "What is 2 + 3?"}]}).encode()


def head(key, length):
    return ("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: "
            "application/json\r\nContent-Length: %d\r\n\r\n" % (CHAT, key, length)).encode()


def healthy(cluster, key, count=20):
    """Seconds the slowest of `count` requests took; all are answered."""
    slowest = 0.0
    for _ in range(count):
        started = time.monotonic()
        status, _, body = http("POST", cluster.node_url() + CHAT, ask(False), key)
        slowest = max(slowest, time.monotonic() - started)
        expect(status == 200, "a healthy request got %d: %s" % (status, body[:200]))
    return slowest


def resident(process, kind="VmRSS"):
    """RssAnon is without the programs' own pages, of which a trim leaves few at first."""
    with open("/proc/%d/status" % process.child.pid) as f:
        return sum(int(line.split()[1]) * 1024 for line in f if line.startswith(kind))


def socket_bytes(node_port, provider_port):
    """Kernel memory of the node's sockets: towards clients and towards the provider."""
    out = subprocess.run(["ss", "-tnmH", "( sport = :%d or dport = :%d )" % (node_port, provider_port)],
                         capture_output=True, text=True, check=True).stdout
    return sum(held_bytes(line) for line in out.splitlines())


def cuts(cluster):
    return cluster.metric(0, "steelyard_connections_cut_total") or 0


def stall(cluster, key):
    """A client that asks for a stream and takes next to nothing of it."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(cluster.target())
    body = ask(True)
    s.sendall(head(key, len(body)) + body)
    return s


def test_b10_f23_clients_that_stop_reading_are_held_cheaply_and_cut():
    raise_descriptors()
    stall_s = 8 if STALLED <= 1000 else 30
    with Flood() as flood, Cluster(flood.config, simulator_args=FAST, node_args=["--stall-timeout", "%ds" % stall_s]) as cluster:
        key, node = cluster.make_key(), cluster.nodes[0]
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        expect(2.2 * STALLED + 500 <= limit,
               "%d stalled clients need more descriptors than the hard limit of %d" % (STALLED, limit))
        healthy(cluster, key, 100)
        time.sleep(7)  # What the start took is given back after five quiet seconds.
        idle, idle_anon = resident(node), resident(node, "RssAnon")
        clients = []
        highest = 0

        def held():
            return resident(node, "RssAnon") - idle_anon + socket_bytes(cluster.target()[1], flood.port)

        try:
            for i in range(STALLED):
                clients.append(stall(cluster, key))
                if i % 1000 == 999:
                    highest = max(highest, held())
            slowest, level = 0.0, -1
            while cuts(cluster) == 0:
                slowest = max(slowest, healthy(cluster, key))
                level = held()
                highest = max(highest, level)
            expect(highest <= BYTES_PER_STALLED * STALLED,
                   "%d stalled clients hold %.0f KB each" % (STALLED, highest / STALLED / 1000))
            wait_until("all stalled clients to be cut", lambda: cuts(cluster) >= STALLED, 120)
            wait_until("the provider's side to be closed", lambda: flood.open() <= 20)
        finally:
            for s in clients:
                s.close()
        healthy(cluster, key)
        after = wait_until("memory to go back", lambda: resident(node) <= 1.5 * idle and resident(node))
        return "%d stalled: %.0f KB each, slowest healthy request %.0f ms; idle %.1f MB, afterwards %.1f MB" % (
            STALLED, highest / STALLED / 1000, slowest * 1000, idle / 1e6, after / 1e6)


def test_f24_memory_that_runs_short_is_answered_503_and_never_exceeded():
    most = 24 * 2**20
    with Flood() as flood, Cluster(flood.config, simulator_args=FAST, node_args=["--memory-max", str(most)]) as cluster:
        key = cluster.make_key()
        healthy(cluster, key)
        hogs, refused, highest = [], 0, 0
        try:
            for _ in range(12):  # Up to four megabytes each, of which none is a whole message.
                s = socket.create_connection(cluster.target())
                hogs.append(s)
                try:
                    s.sendall(head(key, 30000000) + b" " * 4000000)
                    s.settimeout(0.2)
                    refused += s.recv(4096).startswith(b"HTTP/1.1 503")
                except socket.timeout:
                    pass  # It is waited for the rest.
                except OSError:
                    refused += 1  # It was cut.
                highest = max(highest, cluster.metric(0, "steelyard_ledger_bytes"))
            expect(refused > 0, "nobody was refused")
            expect(highest <= most, "the ledger says %d bytes" % highest)
        finally:
            for s in hogs:
                s.close()

        def again():
            status, _, body = http("POST", cluster.node_url() + CHAT, ask(False), key)
            expect(status in (200, 503), "%d: %s" % (status, body[:200]))
            return status == 200

        # What they had sent before they left is still read, so that memory may run short once more.
        wait_until("what they sent to be let go",
                   lambda: cluster.metric(0, "steelyard_connections") == 0)
        wait_until("requests to be admitted again", again)
        healthy(cluster, key)
        return "%d of 12 refused, ledger at most %.1f MB" % (refused, highest / 1e6)


def test_f25_descriptors_are_kept_back_for_spool_and_admin():
    limit, wanted = 600, 300
    most = (limit - 256) // 2
    raise_descriptors()
    with Flood() as flood, Cluster(flood.config, simulator_args=FAST, node_args=["--workers", "1"]) as cluster:
        key, node = cluster.make_key(), cluster.nodes[0]
        node.stop()
        argv = node.argv
        node.argv = ["prlimit", "--nofile=%d:%d" % (limit, limit)] + argv
        node.start()
        cluster.wait_ready(node)
        waiting = []
        try:
            for _ in range(wanted):
                waiting.append(socket.create_connection(cluster.target()))
            wait_until("connections at their limit", lambda: cluster.metric(0, "steelyard_connections") == most)
            expect(cluster.metric(0, "steelyard_accept_paused_total") >= 1, "the pause was not counted")
            with open("/proc/%d/stat" % node.child.pid) as f:
                before = sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
            time.sleep(1)  # In which a spinning accept would take all of a processor.
            with open("/proc/%d/stat" % node.child.pid) as f:
                ticks = sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])) - before
            expect(ticks < 50, "%d ticks of CPU in a second of waiting" % ticks)
            body = ask(False)
            waiting[0].sendall(head(key, len(body)) + body)
            expect(waiting[0].recv(4096).startswith(b"HTTP/1.1 200"), "an open connection is not served")
            waiting[-1].sendall(head(key, len(body)) + body)
            for s in waiting[:wanted - most]:
                s.close()
            waiting[-1].settimeout(120)
            expect(waiting[-1].recv(4096).startswith(b"HTTP/1.1 200"), "who waited was not served")
        finally:
            for s in waiting:
                s.close()
        cluster.wait_drained()
        return "%d of %d connections taken" % (most, wanted)
