"""Eight nodes, a provider that keeps its own book, and keys with a dollar: what the money tests share.

The oracle are four books: the provider's (what it bills, from its own prices), the decision rows, the
sums that are written with the rows (budget_ledger) and the counters of the allocations (budget_alloc,
budget_period). The first must never exceed the limit; the other three must be one number.
"""
import collections
import json
import os

import ledgers
from harness import Cluster, expect, http, http_json, wait_until
from spenders import Spenders

DOLLAR = 10 ** 9
# nano-USD a token. The configuration says the same per million, so that no part is ever rounded.
PRICES = {"sim-strong": (2500, 10000), "sim-large": (4000, 16000)}


def usd_text(nano):
    return "%d.%09d" % (nano // DOLLAR, nano % DOLLAR)


def config_of(abort_stops_billing=False):
    def config(provider_url):
        lines = ["version: 1", "providers:",
                 '  sim: {type: openai, base_url: "%s/v1", private: true, abort_stops_billing: %s}' % (
                     provider_url, "true" if abort_stops_billing else "false"), "models:"]
        for name, upstream in (("strong", "sim-strong"), ("large", "sim-large")):
            lines.append('  %s: {deployments: [{provider: sim, model: %s}], context_window: 16384,'
                         ' max_output: 4096, price: {input: "%s USD", output: "%s USD"}}' % (
                             (name, upstream) + tuple(usd_text(p * 1000000) for p in PRICES[upstream])))
        lines += ["routes:", "  auto: {policy: default, models: [strong, large], retries: 2}", "policies:",
                  "  default: {type: learned, objective: {quality: 0.95, minimize: cost}, explore: 0.05}",
                  ""]
        return "\n".join(lines)
    return config


class Account:
    """A key with one strict budget, and who spent of it."""

    def __init__(self, bank, name, limit):
        self.bank, self.name, self.limit = bank, name, limit
        status, made = bank.admin("POST", "/keys", {"name": name, "budgets": [
            {"limit_usd": usd_text(limit), "period": "total", "mode": "strict"}]})
        expect(status == 201, "key was not made: %s %s" % (status, made))
        self.key, self.key_id = made["key"], made["id"]
        self.budget = int(bank.postgres.value(
            "SELECT b.id FROM budget b JOIN api_key k ON k.id = b.account_id WHERE k.name = '%s'" % name))
        self.groups = []
        wait_until("the key to reach every node", lambda: all(
            http("GET", bank.node_url(i) + "/v1/models", key=self.key)[0] == 200
            for i in range(bank.node_count)))

    def spenders(self, **kw):
        """Clients of this key; their nonces are its name, a number and theirs."""
        name = "%s-%d" % (self.name, len(self.groups))
        self.groups.append(Spenders([self.bank.target(i) for i in range(self.bank.node_count)], self.key,
                                    name, seed=len(self.groups) + 1, **kw))
        return self.groups[-1]

    def requests(self):
        return [r for g in self.groups for r in g.requests]

    def verdicts(self):
        return sum((g.verdicts() for g in self.groups), collections.Counter())

    # --- the books ---

    def entries(self):
        return [e for e in self.bank.provider_entries() if e["nonce"].startswith(self.name + "-")]

    def billed(self):
        return sum(e["billed_nano"] for e in self.entries())

    def rows(self):
        return [r for r in ledgers.read_rows(self.bank.postgres) if r.nonce.startswith(self.name + "-")]

    def counters(self):
        """(sum of the allocations' S, the period's settled, sum of the rows' costs, still reserved)"""
        return tuple(int(v) for v in self.bank.postgres.query(
            "SELECT (SELECT coalesce(sum(s + overage), 0) FROM budget_alloc WHERE budget_id = {0}),"
            " (SELECT coalesce(sum(settled), 0) FROM budget_period WHERE budget_id = {0}),"
            " (SELECT coalesce(sum(cost), 0) FROM budget_ledger WHERE budget_id = {0}),"
            " (SELECT coalesce(sum(reserved), 0) FROM budget_alloc WHERE budget_id = {0} AND state = 0)"
            .format(self.budget))[0])

    def wait_quiet(self, timeout_s=120):
        """Until nothing is open, all rows have come and the counters are their sum."""
        self.bank.wait_drained(timeout_s)

        def agree():
            s, settled, cost, reserved = self.counters()
            return reserved == 0 and s == settled == cost

        try:
            wait_until("the counters to be the sum of the rows", agree, timeout_s)
        except AssertionError as e:
            raise AssertionError("%s: allocations %d, period %d, rows %d, reserved %d; provider %d; %s" % (
                (e,) + self.counters() + (self.billed(), dict(self.verdicts()))))

    def spend_up(self, rounds=40, **kw):
        """Small rounds on all nodes until 95 % are spent: what was reserved or idle comes back."""
        for _ in range(rounds):
            self.wait_quiet()
            if self.counters()[1] >= self.limit * 95 // 100:
                return
            self.spenders(count=2 * self.bank.node_count, **kw).run()

    def check(self, allowed=("200", "429 budget_exceeded", "503 budget_unavailable"), exact=True, spent=True):
        """Every claim about this account; a line that says its figures.

        exact: no row may cost less than was billed for it. Where a provider that stops when it is left
        never tells its usage, the node's own count stands in, and only their sum is compared.
        """
        self.wait_quiet()
        s, settled, cost, _ = self.counters()
        by_nonce, billed = collections.defaultdict(int), self.billed()
        for e in self.entries():
            by_nonce[e["nonce"]] += e["billed_nano"]
        rows = self.rows()
        count = collections.Counter(r.nonce for r in rows)
        seen = [n for n in by_nonce if count[n] != 1]
        under = [(r, by_nonce[r.nonce] - r.cost) for r in rows if by_nonce[r.nonce] > r.cost]
        told = [r for r in rows if r.attempts and all(
            a.usage in (ledgers.USAGE_PROVIDER, ledgers.USAGE_NONE) for a in r.attempts)]
        wrong = [r.nonce for r in told if r.cost != by_nonce[r.nonce]]
        line = "%s: billed %.2f %%, settled %.2f %%, %d rows, %s" % (
            self.name, 100.0 * billed / self.limit, 100.0 * settled / self.limit, len(rows),
            ", ".join("%d x %s" % (n, v) for v, n in sorted(self.verdicts().items())))
        if under:
            line += "; %d rows cost less than was billed, %d nano-USD in all, e.g. %s" % (
                len(under), sum(d for _, d in under), describe(under[0][0], by_nonce))
        problems = []
        if billed > self.limit:
            problems.append("the provider billed %d of a limit of %d" % (billed, self.limit))
        if spent and settled < self.limit * 95 // 100:
            problems.append("only %d of %d could be spent" % (settled, self.limit))
        if settled > self.limit:
            problems.append("%d was settled of a limit of %d" % (settled, self.limit))
        if sum(r.cost for r in rows) != cost:
            problems.append("rows cost %d, their sum says %d" % (sum(r.cost for r in rows), cost))
        if seen:
            problems.append("%d requests were billed without exactly one row, e.g. %s with %d" % (
                len(seen), seen[0], count[seen[0]]))
        if any(n != 1 for n in count.values()):
            problems.append("requests with several rows: %s" % count.most_common(2))
        if wrong:
            problems.append("%d rows differ from the usage that the provider told, e.g. %s" % (
                len(wrong), wrong[0]))
        if exact and under or cost < billed:
            problems.append("rows cost less than was billed")
        odd = set(self.verdicts()) - set(allowed)
        if odd:
            first = next(r for r in self.requests() if self.name_of(r) in odd)
            problems.append("clients met %s, e.g. %s %s %s" % (odd, first.nonce, first.status, first.error or first.text))
        mismatch = self.bank.postgres.query("SELECT * FROM budget_mismatch")
        if mismatch:
            problems.append("committed is not the sum of its rows: %s" % mismatch)
        expect(not problems, line + "\n  " + "\n  ".join(problems))
        return line

    @staticmethod
    def name_of(r):
        return ("left" if r.left else "200" if r.complete else "broken" if r.error else
                ("%d %s" % (r.status, r.code)).strip())


def describe(row, by_nonce):
    return "%s (row %d, billed %d, status %d, attempts %s)" % (
        row.nonce, row.cost, by_nonce[row.nonce], row.status,
        [(a.status, a.reason, a.usage, a.tokens_in, a.tokens_out, a.cost) for a in row.attempts])


class Bank(Cluster):
    def __init__(self, nodes=8, token_bytes=1, abort_stops_billing=False, latency_percent=100):
        prices = ",".join("%s=%d/%d" % ((m,) + p) for m, p in sorted(PRICES.items()))
        super().__init__(config_of(abort_stops_billing), nodes=nodes, node_args=["--workers", "1"],
                         simulator_args=["--prices", prices, "--token-bytes", str(token_bytes),
                                         "--latency-percent", str(latency_percent)])

    def account(self, name, limit=DOLLAR):
        return Account(self, name, limit)

    def faults(self, **rates):
        status, _ = http_json("POST", self.provider_url + "/simulator/faults", rates)
        expect(status == 200, "the provider did not take the faults %s" % rates)

    def node_id(self, i):
        with open(os.path.join(self.nodes[i].directory, "node.id")) as f:
            return f.read().strip()

    def kill_node(self, i):
        node = self.nodes[i]
        node.kill()
        node.wait_dead()
        node.start()
        self.wait_ready(node)

    def start_control(self):
        self.control.start()
        self.control.addresses()
