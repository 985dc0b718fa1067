"""Prices by the tool, with real processes: unknown, imported, in force on a node, rated anew."""
import json
import os
import subprocess

from harness import BIN, Cluster, expect, http, wait_until

CHAT = "/v1/chat/completions"


def config(provider_url):
    return """version: 1
providers: {sim: {base_url: "%s/v1", private: true, catalog: acme}}
models: {sim-small: {deployments: [{provider: sim}]}}
routes: {auto: {models: [sim-small]}}
""" % provider_url


def tool(cluster, *words, code=0):
    env = dict(os.environ, STEELYARD_OPERATOR_KEY=cluster.operator_key,
               STEELYARD_SERVER="http://127.0.0.1:%d" % cluster.admin_port)
    done = subprocess.run([os.path.join(BIN, "steelyard")] + list(words), env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    expect(done.returncode == code, "%s: exit %d\n%s%s" % (words, done.returncode, done.stdout, done.stderr))
    return done.stdout, done.stderr


def ask(cluster, key):
    status, _, raw = http("POST", cluster.node_url() + CHAT, {
        "model": "sim-small", "messages": [{"role": "user", "content": "sum 3"}]}, key)
    expect(status == 200, "answered %d: %s" % (status, raw[:200]))


def costs(cluster):
    cluster.wait_drained()
    return json.loads(cluster.postgres.value(
        "SELECT coalesce(json_agg(cost ORDER BY ts, request_id), '[]') FROM decision"))


def prices(cluster, name, rows):
    path = os.path.join(cluster.directory, name)
    with open(path, "w") as f:
        f.write("provider,model,price_in,price_out\n" + rows)
    return path


def test_an_imported_price_reaches_nodes_and_what_was_served_before_is_rated_by_it():
    with Cluster(config) as cluster:
        key = cluster.make_key()
        ask(cluster, key)
        expect(costs(cluster) == [0], "an unknown price cost something: %s" % costs(cluster))
        unpriced = cluster.postgres.value("SELECT sum(unpriced) FROM usage_hour")
        expect(int(unpriced) == 1, "the unknown cost was not marked")

        path = prices(cluster, "list.csv", "acme,sim-small,1,2\nacme,half,1,\n")
        out, said = tool(cluster, "catalog", "diff", path, "--exit-code", code=10)
        expect("skipped acme/half" in said and "sim-small" in out, out + said)
        out, said = tool(cluster, "catalog", "import", path, "--valid-from", "2020-01-01", "--source", "acme",
                         "--source-date", "2026-11-20", "--reason", "first list")
        expect("1 new" in said, said)
        tool(cluster, "catalog", "diff", path, "--exit-code")  # Nothing is left to change.
        shown = json.loads(tool(cluster, "catalog", "show", "sim-small", "-o", "json")[0])
        expect(shown["configured"][0]["source"] == "import", "another source: %s" % shown)

        def priced():
            ask(cluster, key)
            return costs(cluster)[-1] > 0
        wait_until("the price to be in force on the node", priced)
        at_new_price = costs(cluster)[-1]

        dry = json.loads(tool(cluster, "budgets", "reprice", "sim-small", "--dry-run", "-o", "json")[0])
        expect(dry["changed"] >= 1 and dry["dry_run"], "nothing would be rated anew: %s" % dry)
        done = json.loads(tool(cluster, "budgets", "reprice", "sim-small", "--reason", "late list", "-o", "json")[0])
        expect(done["changed"] == dry["changed"] and done["delta_usd"] == dry["delta_usd"], "%s, %s" % (dry, done))
        expect(round(float(done["delta_usd"]) * 1e9) == done["changed"] * at_new_price,
               "the difference is %s for %d answers of %d" % (done["delta_usd"], done["changed"], at_new_price))
        again = json.loads(tool(cluster, "budgets", "reprice", "sim-small", "-o", "json")[0])
        expect(again["changed"] == 0, "posted twice: %s" % again)
        expect(costs(cluster)[0] == 0, "a row was changed")

        # A tenfold price is held back, and the control plane's restart forgets nothing.
        path = prices(cluster, "dear.csv", "acme,sim-small,10,20\n")
        _, said = tool(cluster, "catalog", "import", path, code=10)
        expect("1 held back" in said, said)
        cluster.control.kill()
        cluster.control.start()
        cluster.control.addresses()
        shown = json.loads(tool(cluster, "catalog", "show", "sim-small", "-o", "json")[0])
        rows = shown["configured"][0]["prices"]
        expect([r["price"]["input"] for r in rows if r["holds"]] == ["1"], "after a restart: %s" % rows)
        audit = cluster.postgres.value("SELECT string_agg(action || ':' || reason, ' ' ORDER BY id) FROM audit_log "
                                       "WHERE action IN ('catalog.import', 'budgets.reprice')")
        expect(audit == "catalog.import:first list budgets.reprice:late list", "audit: %s" % audit)
