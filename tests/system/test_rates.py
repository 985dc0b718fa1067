"""Rates of a key on three real nodes: one limit for all of them, through a restart of the control plane;
and all of it for the one node that gets the requests. What went through is counted here and in the
provider's ledger, against the time that has passed by the same clock."""
import signal
import threading
import time

from harness import Cluster, expect, http, wait_until
from test_faults import config

BODY = {"model": "weak", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
NODES = 3


def make_key(cluster, name, **rates):
    status, made = cluster.admin("POST", "/keys", dict(rates, name=name))
    expect(status == 201, "key was not made: %s %s" % (status, made))
    key = made["key"]
    wait_until("the key to reach every node", lambda: all(
        http("GET", cluster.node_url(i) + "/v1/models", key=key)[0] == 200 for i in range(NODES)))
    return key


def ask(cluster, node, key):
    status, headers, body = http("POST", cluster.node_url(node) + "/v1/chat/completions", BODY, key)
    return status, {k.lower(): v for k, v in headers.items()}, body


class Hammer:
    """Requests to all nodes in turn until stopped."""

    def __init__(self, cluster, key):
        self.cluster, self.key = cluster, key
        self.through, self.refused, self.other = 0, 0, []
        self.stop = threading.Event()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        turn = 0
        while not self.stop.is_set():
            turn += 1
            status, headers, body = ask(self.cluster, turn % NODES, self.key)
            self.through += status == 200
            self.refused += status == 429
            if status == 429 and "retry-after-ms" not in headers or status not in (200, 429):
                self.other.append((status, headers, body))
            time.sleep(0.01)

    def most(self, rpm):  # The burst, what came in since, and the one of each node that always fits.
        return rpm + rpm * (time.monotonic() - self.began) / 60 + NODES


def test_a_keys_rate_is_one_limit_on_all_nodes_also_when_the_plane_restarts():
    with Cluster(config, nodes=NODES) as cluster:
        rpm = 60
        key = make_key(cluster, "limited", rpm=rpm)
        hammer = Hammer(cluster, key)
        try:
            wait_until("some requests and refusals", lambda: hammer.through >= 9 and hammer.refused > 0)
            cluster.control.kill(signal.SIGKILL)
            cluster.control.wait_dead()
            before = hammer.through
            wait_until("requests without a plane", lambda: hammer.through > before)
            cluster.control.start()
            cluster.control.addresses()
            before = hammer.through
            wait_until("requests after its return", lambda: hammer.through > before + 5)
        finally:
            hammer.stop.set()
            hammer.thread.join()
        most = hammer.most(rpm)
        expect(not hammer.other, "other answers: %s" % hammer.other[:3])
        expect(hammer.through <= most, "%d went through, at most %.1f may" % (hammer.through, most))
        expect(hammer.refused > 0, "nothing was refused")
        served = len(cluster.provider_entries())
        expect(served <= most, "the provider served %d, at most %.1f may go through" % (served, most))
        expect(sum(cluster.metric(i, "steelyard_rejected_total") for i in range(NODES)) >= hammer.refused,
               "refusals are not in the metrics")
        return "%d of at most %.1f went through" % (hammer.through, most)


def test_the_node_that_gets_all_requests_gets_the_limit():
    born = time.monotonic()
    with Cluster(config, nodes=NODES) as cluster:
        rpm = 600
        key = make_key(cluster, "hot", rpm=rpm, tpm=1000000, concurrency=50)
        began, through = time.monotonic(), 0

        def more_than_a_third():
            nonlocal through
            for _ in range(20):
                status, headers, _ = ask(cluster, 0, key)
                expect(status in (200, 429), "status %d" % status)
                expect(headers["x-ratelimit-limit-requests"] == str(rpm), "no headers: %s" % headers)
                expect(headers["x-ratelimit-limit-tokens"] == "1000000", "no headers: %s" % headers)
                through += status == 200
            elapsed = time.monotonic() - began
            most = rpm + rpm * elapsed / 60 + NODES
            expect(through <= most, "%d went through, at most %.1f may" % (through, most))
            # Nodes begin with empty buckets: a third is what a third of the rate brought in since.
            return through > rpm / 3 * (time.monotonic() - born) / 60 + 20

        wait_until("one node to get more than its third", more_than_a_third)
        return "%d in %.1f s" % (through, time.monotonic() - began)
