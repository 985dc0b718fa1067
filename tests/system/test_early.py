"""Bodies that go up while they still come (docs/decisions/0119), on a whole node: three ledgers agree
whatever becomes of the rest of the body, and the provider has served whole requests only.
"""
import json
import random
import socket

import ledgers
from harness import Cluster, expect, wait_until
from loadclient import Entry, stream_text

REQUESTS, AT_ONCE = 120, 12
BODY_BYTES = 200_000
ENDS = ["whole", "stream", "repeated", "utf8", "cut", "half"]


def config(url):
    return "\n".join([
        "version: 1", "providers:",
        '  sim: {type: openai, base_url: "%s/v1", private: true}' % url,
        "models:",
        '  one: {deployments: [{provider: sim, model: sim-weak}], price: {input: "1 USD", output: "2 USD"}}',
        "routes:", "  auto: {models: [one]}", ""])


def body_of(nonce, end):
    """The nonce stands first, where the provider looks for it."""
    text = "Nonce %s. What is 1 + 2? " % nonce + "word " * (BODY_BYTES // 5)
    shell = {"model": "one", "messages": [{"role": "user", "content": text}], "max_tokens": 20}
    if end == "stream":
        shell["stream"] = True
    raw = json.dumps(shell).encode()
    if end == "repeated":
        raw = raw[:-1] + b', "model": "auto"}'
    if end == "utf8":
        raw = raw[:-1] + b', "user": "\xc3"}'
    return raw


def read_reply(sock):
    with sock.makefile("rb") as f:
        status = int(f.readline().split()[1])
        headers = {}
        for line in iter(f.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding") != "chunked":
            return status, headers, f.read(int(headers.get("content-length", "0")))
        raw = b""
        while True:
            size = int(f.readline().split(b";")[0], 16)
            raw += f.read(size)
            f.readline()
            if size == 0:
                return status, headers, raw


class Call:
    """One request, sent in two halves."""

    def __init__(self, number):
        self.end = ENDS[number % len(ENDS)]
        self.entry = Entry("early-%04d" % number, self.end == "stream")

    def begin(self, target, key):
        self.raw = body_of(self.entry.nonce, self.end)
        head = ("POST /v1/chat/completions HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\n"
                "authorization: Bearer %s\r\nx-request-id: %s\r\ncontent-length: %d\r\n\r\n"
                % (key, self.entry.nonce, len(self.raw)))
        self.sock = socket.create_connection(target, timeout=60)
        self.sock.sendall(head.encode() + self.raw[:len(self.raw) // 2])

    def finish(self):
        with self.sock as sock:
            if self.end == "half":
                return
            sock.sendall(self.raw[len(self.raw) // 2:-1])
            if self.end == "cut":
                return
            sock.sendall(self.raw[-1:])
            self._take(*read_reply(sock))

    def _take(self, status, headers, reply):
        entry = self.entry
        entry.status = status
        entry.decision_id = headers.get("x-steelyard-decision-id", "")
        entry.cost_usd = headers.get("x-steelyard-cost-usd", "")
        if status != 200:
            entry.error = "status %d %s" % (status, reply[:200])
            return
        if entry.stream:
            stream_text(reply, entry)
        else:
            entry.text = json.loads(reply)["choices"][0]["message"]["content"] or ""
        entry.complete = True


def run(cluster, key):
    """Every end as often as any other, several at once; all are decided while half of their body is there."""
    calls = [Call(i) for i in range(REQUESTS)]
    random.Random(5).shuffle(calls)
    for at in range(0, REQUESTS, AT_ONCE):
        some = calls[at:at + AT_ONCE]
        for call in some:
            call.begin(cluster.target(), key)
        wait_until("half a body to be decided by", lambda: (
            cluster.metric(0, "steelyard_decisions_total") or 0) >= at + AT_ONCE)
        for call in some:
            call.finish()
    return calls


def test_p1_a_body_on_its_way_up_is_answered_served_and_written_down_alike():
    with Cluster(config, simulator_args=["--latency-percent", "0"],
                 node_args=["--workers", "1"]) as cluster:
        calls = run(cluster, cluster.make_key())
        cluster.wait_drained()
        served, rows = cluster.provider_entries(), ledgers.read_rows(cluster.postgres)
        summary = ledgers.compare([call.entry for call in calls], served, rows)
        by_nonce, reached = {row.nonce: row for row in rows}, {s["nonce"] for s in served}
        for call in calls:
            entry, end, row = call.entry, call.end, by_nonce.get(call.entry.nonce)
            expect(row is not None, "%s (%s) has no row" % (entry.nonce, end))
            if end in ("whole", "stream"):
                expect(entry.complete, "%s: %s" % (entry.nonce, entry.error))
                continue
            expect(entry.nonce not in reached, "%s (%s) was served" % (entry.nonce, end))
            expect(entry.status == (400 if end in ("repeated", "utf8") else 0),
                   "%s (%s): status %d" % (entry.nonce, end, entry.status))
            expect(row.cost == 0 and all(a.cost == 0 for a in row.attempts), "%s has a cost" % entry.nonce)
            expect(len(row.attempts) == 1 and row.attempts[0].reason == 9,
                   "%s (%s): attempts %s" % (entry.nonce, end, [a.reason for a in row.attempts]))
            expect(row.http_status == (400 if entry.status else row.http_status), "%s: row says %d" % (
                entry.nonce, row.http_status))
        return summary
