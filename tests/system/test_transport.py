"""The race for kept connections on a whole node, through each transport: RELIABILITY F20, P1, P6, P7.

The provider closes its connections at random moments. Three ledgers must agree afterwards; an answer
is its own or none; what the provider was given twice is recorded as such; and what failed had failed
as often as it may be tried, or after its first content.
"""
import collections
import json
import os

import ledgers
from harness import BIN, Cluster, Process, expect
from loadclient import LoadClient

TOOLS = os.path.join(BIN, "..", "tests")
RATE, SECONDS, KEEP_PERCENT = 400, 6, 88
RETRIES = 2


def config(transport, url):
    return "\n".join([
        "version: 1", "providers:",
        '  closing: {type: openai, base_url: "%s/v1", private: true, transport: %s}' % (url, transport),
        "models:",
        "  one: {deployments: [{provider: closing, model: up-one}], price: {input: \"1 USD\","
        " output: \"2 USD\"}}",
        "  two: {deployments: [{provider: closing, model: up-two}], price: {input: \"3 USD\","
        " output: \"4 USD\"}}",
        "routes:", "  auto: {models: [one, two], retries: %d}" % RETRIES, ""])


class ClosingCluster(Cluster):
    """A cluster whose provider is tests/system/closing_provider."""

    def __init__(self, transport, seed):
        super().__init__(lambda _: config(transport, self._start_provider(seed)))

    def _start_provider(self, seed):
        d = self._dir("closing")
        self.closing = Process("closing", d, [os.path.join(TOOLS, "closing_provider"), d, str(seed),
                                              str(KEEP_PERCENT)]).start()
        self.processes.append(self.closing)
        self.provider_ledger = os.path.join(d, "ledger.jsonl")
        return "http://" + self.closing.addresses()["http"]


def explain_failures(entries, rows, served):
    """Every failed request was cut after its first content, or its tries were used up."""
    by_nonce = {row.nonce: row for row in rows}
    ends = collections.defaultdict(list)
    for s in served:
        ends[s["nonce"]].append(s["outcome"])
    cut, used_up = 0, 0
    for entry in entries:
        if entry.complete:
            continue
        row = by_nonce.get(entry.nonce)
        expect(row is not None, "%s failed without a row: %s" % (entry.nonce, entry.error))
        expect("complete" not in ends[entry.nonce],
               "%s failed though a whole answer left the provider: %s, %s" % (
                   entry.nonce, entry.error, ends[entry.nonce]))
        if entry.status == 200:
            expect(entry.stream, "%s: a whole answer was cut: %s" % (entry.nonce, entry.error))
            cut += 1
        else:
            expect(entry.status in (502, 503), "%s: status %d" % (entry.nonce, entry.status))
            used_up += 1
    return cut, used_up


def race(transport, seed):
    with ClosingCluster(transport, seed) as cluster:
        key = cluster.make_key()
        client = LoadClient([cluster.target()], key, RATE, SECONDS, seed=seed).start()
        client.join()
        cluster.wait_drained()
        served, rows = cluster.provider_entries(), ledgers.read_rows(cluster.postgres)
        summary = ledgers.compare(client.entries, served, rows)
        cut, used_up = explain_failures(client.entries, rows, served)
        expect(used_up < len(client.entries) // 50,
               "%d of %d requests were given up" % (used_up, len(client.entries)))
        again = sum(a.sent_again for row in rows for a in row.attempts)
        # What may have been taken is not sent again: it is an attempt without an answer, and another.
        lost = sum(a.status == 0 for row in rows for a in row.attempts)
        expect(again + lost > 0, "no connection died under a request: the race was none")
        return "%s; %d streams cut and marked, %d given up, %d sent again, %d lost" % (
            summary, cut, used_up, again, lost)


def test_f20_a_closing_provider_costs_no_answer_through_libcurl():
    return race("libcurl", 11)


def test_f20_a_closing_provider_costs_no_answer_through_the_lean_transport():
    return race("lean", 12)
