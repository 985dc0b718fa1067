"""What real planes say was spent: the tool, the API, the rows and what nodes settled are one sum."""
import time
from decimal import Decimal

from harness import Cluster, expect, http, wait_until
from test_budgets import Tool
from test_faults import config

REQUESTS = 40


def ask(cluster, key, n):
    body = {"model": "auto", "messages": [{"role": "user", "content": "question %d" % n}], "max_tokens": 32}
    return http("POST", cluster.node_url() + "/v1/chat/completions", body, key=key)


def ask_patiently(cluster, key, n):
    """As clients do: where the control plane was too busy to hand out more within the wait, once more."""
    for _ in range(5):
        status, headers, body = ask(cluster, key, n)
        if status != 429 or b"in time" not in body:
            break
        time.sleep(int(headers["retry-after-ms"]) / 1000)
    return status, body


def test_spend_is_the_sum_of_rows_and_of_what_was_settled():
    with Cluster(config, nodes=1) as cluster:
        tool = Tool(cluster)
        tool.run("teams", "create", "web")
        tool.run("budgets", "set", "--account", "team:web", "--limit-usd", "5", "--period", "total")
        made = tool.json("keys", "create", "--name", "app", "--team", "web")
        wait_until("the key to be taken",
                   lambda: http("GET", cluster.node_url() + "/v1/models", key=made["key"])[0] == 200)
        wait_until("the budget to be in force", lambda: ask(cluster, made["key"], 0)[0] == 200)
        for n in range(REQUESTS):
            status, body = ask_patiently(cluster, made["key"], n)
            expect(status == 200, "request %d was answered %d: %s" % (n, status, body))
        cluster.wait_drained()
        rows, cost = cluster.postgres.query("SELECT count(*), sum(cost) FROM decision")[0]
        expect(int(rows) > REQUESTS and int(cost) > 0, "%s rows, %s spent" % (rows, cost))
        for by in ("day", "key", "team", "model", "policy", "source", "account"):
            reply = tool.json("spend", "show", "--by", by)
            total = reply["total"]
            expect(int(Decimal(total["cost_usd"]) * 10**9) == int(cost) and total["decisions"] == int(rows),
                   "by %s: %s, not %s" % (by, total, cost))
            parts = [i for i in reply["items"] if by != "account" or i["account"] == "team:web"]
            expect(sum(int(Decimal(i["cost_usd"]) * 10**9) for i in parts) == int(cost),
                   "the parts by %s are not the whole: %s" % (by, parts))

        def settled():
            values = cluster.postgres.query(
                "SELECT p.settled, (SELECT sum(cost) FROM budget_ledger) FROM budget_period p WHERE settled > 0")
            return values and values[0][0] == values[0][1] == cost
        wait_until("what was settled to be what rows say", settled)
        check = tool.json("spend", "reconcile")
        expect(check["differing"] == 0 and check["alarms"] == 0 and check["budgets"] == 1, "%s" % check)
