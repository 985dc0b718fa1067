"""Real questions through a real node: replayed providers, feedback, a policy trained from Postgres.

Used by the system test (one small set) and by tests/real-input (all sets, with a table).
"""
import gzip
import json
import os
import subprocess

from harness import BIN, SHARED, Cluster, Process, expect, wait_until

TOOLS = os.path.join(BIN, "..", "tests")
ROUTING = os.path.join(SHARED, "routing")


def available():
    return os.path.isdir(ROUTING)


def meta(name):
    with open(os.path.join(ROUTING, name, "meta.json")) as f:
        return json.load(f)


def fit_price(rows, m):
    """USD per token in and out by least squares over the train rows, neither below zero."""
    xx = xy = yy = xc = yc = 0.0
    for row in rows:
        x, y, c = row["in_tok"], row["out_tok"][m] or 0, row["cost_usd"][m]
        xx, xy, yy, xc, yc = xx + x * x, xy + x * y, yy + y * y, xc + x * c, yc + y * c
    det = xx * yy - xy * xy
    p_in = (xc * yy - yc * xy) / det if det > 0 else xc / xx
    p_out = (yc * xx - xc * xy) / det if det > 0 else 0.0
    if p_out < 0:
        p_in, p_out = xc / xx, 0.0
    elif p_in < 0:
        p_in, p_out = 0.0, yc / yy
    return p_in, p_out


def prices(name):
    """USD per million tokens (in, out) by model: the list price, or fitted to the recorded dollars."""
    models = meta(name)["models"]
    if all("price_in" in m for m in models):
        return [(m["price_in"], m["price_out"]) for m in models]
    with gzip.open(os.path.join(ROUTING, name, "train.jsonl.gz"), "rt", encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    return [tuple(1e6 * p for p in fit_price(rows, i)) for i in range(len(models))]


def config(sets, provider_url):
    providers, models, routes, policies = [], [], [], []
    for name in sets:
        providers.append('  %s: {type: openai, base_url: "%s/%s/v1", private: true}' % (
            name, provider_url, name))
        ids = []
        for m, (p_in, p_out) in zip(meta(name)["models"], prices(name)):
            ids.append('"%s:%s"' % (name, m["name"]))
            models.append('  %s: {deployments: [{provider: %s, model: "%s"}], price: {input: "%.6f USD",'
                          ' output: "%.6f USD"}}' % (ids[-1], name, m["name"], p_in, p_out))
        for route, explore in ((name, 0), (name + "-observed", 1)):
            routes.append("  %s: {policy: %s, models: [%s], timeout: 120s}" % (
                route, route, ", ".join(ids)))
            policies.append("  %s: {type: learned, objective: {quality: 0.95, minimize: cost},"
                            " explore: %d, explore_spend: 1}" % (route, explore))
    return "\n".join(["version: 1", "providers:"] + providers + ["models:"] + models + ["routes:"]
                     + routes + ["policies:"] + policies + [""])


class Replay:
    """A cluster whose provider is tests/system/replay_provider with the given sets."""

    def __init__(self, sets):
        self.sets = sets
        self.provider = None
        self.cluster = None

    def __enter__(self):
        def start_provider_and_write(_):
            d = os.path.join(self.cluster.directory, "replay")
            os.makedirs(d)
            self.provider = Process("replay", d, [os.path.join(TOOLS, "replay_provider"), d] + [
                os.path.join(ROUTING, s) for s in self.sets]).start()
            self.cluster.processes.append(self.provider)
            return config(self.sets, "http://" + self.provider.addresses()["http"])

        self.cluster = Cluster(start_provider_and_write, node_args=["--workers", "1", "--feedback-rate",
                                                              "1000000"])
        self.cluster.__enter__()
        self.key = self.cluster.make_key("replay")
        return self

    def __exit__(self, *reason):
        self.cluster.__exit__(*reason)

    def drive(self, name, mode, route, part=None):
        part = [] if part is None else ["1000000", str(part[0]), str(part[1])]
        out = subprocess.run([os.path.join(TOOLS, "replay_driver"), self.cluster.node_url(), self.key,
                              os.path.join(ROUTING, name), mode, route] + part,
                             stdout=subprocess.PIPE, text=True, check=False)
        expect(out.returncode == 0, "replay_driver %s %s failed: %s" % (name, mode, out.stdout))
        return json.loads(out.stdout)

    def train(self, policy, mode, promote=True, quality=0.95):
        """{"version", "promoted"}; a version that its gates reject is stored and not promoted."""
        self.cluster.wait_drained()
        status, job = self.cluster.admin("POST", "/policies/%s/train" % policy, {
            "target": {"quality": quality}, "data": {"mode": mode}, "promote": promote})
        expect(status == 202, "training was refused: %s %s" % (status, job))

        def ended():
            state = self.cluster.admin("GET", "/jobs/%s" % job["job"])[1]
            expect(state.get("state") != "failed", "training failed: %s" % state)
            return state if state.get("state") == "done" else None

        result = wait_until("the policy to be trained", ended, 1200)["result"]
        if result["promoted"]:
            wait_until("the nodes to run it", lambda: self.promoted(policy, result["version"]), 60)
        return result

    def explain(self, policy, number, decisions):
        self.cluster.wait_drained()
        status, reply = self.cluster.admin(
            "GET", "/policies/%s/%d/explain?decisions=%d" % (policy, number, decisions))
        expect(status == 200, "explain was refused: %s %s" % (status, reply))
        return reply

    def promote(self, policy, number):
        status, reply = self.cluster.admin("POST", "/policies/%s/%d/promote" % (policy, number),
                                           {"reason": "its cost was predicted"})
        expect(status == 200, "promotion was refused: %s %s" % (status, reply))
        wait_until("the nodes to run it", lambda: self.promoted(policy, number), 60)

    def mean_cost(self, route, last):
        """USD a request over the last so many decisions of a route, as they were charged."""
        self.cluster.wait_drained()
        return self._of_costs("avg(cost) / 1e9", route, last)

    def cost_luck(self, route, last):
        """One standard error of that mean, as a share of it: what no prediction can do better than."""
        return self._of_costs("stddev_samp(cost) / sqrt(count(*)) / avg(cost)", route, last)

    def _of_costs(self, what, route, last):
        return float(self.cluster.postgres.value(
            "SELECT %s FROM (SELECT cost FROM decision WHERE route = '%s' "
            "ORDER BY request_id DESC LIMIT %d) d" % (what, route, last)))

    def version(self, policy, number):
        return self.cluster.admin("GET", "/policies/%s/%d" % (policy, number))[1]

    def promoted(self, policy, number):
        """The version is in force and every connected node has the generation that brought it."""
        detail = self.version(policy, number)
        push = detail.get("push", {})
        return (detail.get("state") == "current" and push.get("connected", 0) > 0
                and push.get("acked") == push.get("connected"))


def percent(result):
    """(quality, cost) of the routed answers in percent of the best single model."""
    return (100 * result["quality"] / result["best_quality"],
            100 * result["cost_usd"] / result["best_cost_usd"])
