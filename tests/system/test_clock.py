"""A node's wall clock jumps by days under load (F27): nothing that waits or runs out notices, budgets stay in the
period of the control plane's clock, and every row arrives.
"""
import os
import struct

import test_faults as faults
from harness import BIN, Cluster, expect, wait_until
from loadclient import LoadClient
from test_outage import books_agree, node_knows, start_node

RATE, SECONDS = 40, 12
DAY_NS = 86400 * 10**9
SHIM = os.path.join(os.path.dirname(BIN), "tests", "clock_shift.so")


class Clock:
    """How far the node's clock is off."""

    def __init__(self, path):
        self.path = path
        self.jump(0)

    def jump(self, to_ns):
        with open(self.path, "r+b" if os.path.exists(self.path) else "wb") as f:
            f.write(struct.pack("=q", to_ns))


def daily_key(cluster, name):
    status, made = cluster.admin("POST", "/keys", {"name": name, "budgets": [
        {"limit_usd": "100", "period": "day", "mode": "strict"}]})
    expect(status == 201, "key was not made: %s %s" % (status, made))
    wait_until("the node to know the key", lambda: node_knows(cluster, made["key"]))
    return made["key"]


def test_f27_a_nodes_clock_jumps_forward_and_back():
    with Cluster(faults.config, nodes=0) as c:
        clock = Clock(os.path.join(c.directory, "clock"))
        c.env = dict(c.env, LD_PRELOAD=SHIM, STEELYARD_TEST_CLOCK=clock.path)
        node = start_node(c)
        key = daily_key(c, "daily")
        entries = []

        def known():  # Who comes before the first money does is told to come again.
            first = LoadClient([c.target()], key, 5, 1, seed=2 + len(entries)).start()
            first.join()
            entries.extend(first.entries)
            return entries[-1].complete

        wait_until("the budget to give", known)
        client = LoadClient([c.target()], key, RATE, SECONDS).start()
        sent = RATE * SECONDS // 6
        client.wait_sent(sent)
        for days in (2, -3, 0):
            clock.jump(days * DAY_NS)
            client.wait_sent(sent)
        client.join()
        expect(node.alive, "the node ended:\n%s" % node.log_tail())
        faults.expect_no_failure(client.entries)
        summary = faults.settle(c, entries + client.entries)
        wait_until("the counters to be the sum of the rows", lambda: books_agree(c, "daily"))
        days = c.postgres.query("SELECT DISTINCT ts::date - now()::date FROM decision ORDER BY 1")
        expect([int(d) for d, in days] == [-3, 0, 2], "rows are of days %s" % days)
        periods = c.postgres.query("SELECT period_start::date - now()::date FROM budget_period p JOIN api_key k ON "
                                   "k.name = 'daily' JOIN budget b ON b.id = p.budget_id AND b.account_id = k.id")
        expect([int(d) for d, in periods] == [0], "money was handed out for the days %s" % periods)
        return summary
