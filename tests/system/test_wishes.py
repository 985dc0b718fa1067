"""What a request itself asks of the way it is served, from every source: OpenRouter's members and paths,
RouteLLM's model names, Portkey's headers, MCP's model preferences.
"""
import json
import os
import subprocess

from harness import BIN, Cluster, expect, http, http_json
from test_dialects import Handler, HELLO, IN, OUT, Vendor, events_of
from test_outage import budgeted_key

CHAT = "/v1/chat/completions"


class Breakable(Handler):
    def do_POST(self):
        if not getattr(self.server, "broken", False):
            super().do_POST()
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(500)
        self.send_header("content-length", "0")
        self.end_headers()


class Vendors(list):
    def __init__(self, names):
        self.names = names
        super().__init__(Vendor() for _ in names)

    def counts(self):
        return dict((name, len(vendor.asked)) for name, vendor in zip(self.names, self))


NAMES = ["cheap", "dear", "keeper", "router"]


def config_of(vendors):
    def provider(i, more=""):
        kind = "openrouter" if NAMES[i] == "router" else "openai"
        return '  %s: {type: %s, base_url: "%s/v1", private: true%s}' % (NAMES[i], kind, vendors[i].url, more)

    def model(name, deployments, price="1 USD", out="2 USD", more=""):
        rows = ", ".join("{provider: %s, model: up-%s}" % (p, name) for p in deployments)
        return '  %s: {deployments: [%s], price: {input: "%s", output: "%s"}%s}' % (
            name, rows, price, out, more)
    return lambda url: "\n".join([
        "version: 1", "providers:", provider(0), provider(1), provider(2, ", collects_nothing: true"),
        provider(3), "models:",
        model("small", ["cheap", "dear", "keeper"], more=", context_window: 8000, max_output: 500"),
        model("large", ["dear"], "10 USD", "30 USD"), model("far", ["router"]),
        "routes:", "  auto: {models: [large, small]}", "  portkey-main: {models: [small]}", ""])


class Bench:
    def __init__(self, more=lambda text: text):
        self.more = more

    def __enter__(self):
        self.vendors = Vendors(NAMES)
        config = config_of(self.vendors)
        self.cluster = Cluster(lambda url: self.more(config(url)), node_args=["--workers", "1"]).__enter__()
        self.key = self.cluster.make_key()
        return self

    def __exit__(self, *kind):
        return self.cluster.__exit__(*kind)

    def ask(self, headers=None, path=CHAT, **body):
        body = {"messages": HELLO, **body}
        return http("POST", self.cluster.node_url() + path, body, self.key, headers=headers)

    def served(self, want, headers=None, **body):
        status, head, raw = self.ask(headers, **body)
        expect(status == 200, "%s: %d %s" % (body, status, raw[:400]))
        expect(head["x-steelyard-served"] == want, "%s %s: %s" % (body, headers, head["x-steelyard-served"]))
        return head, raw

    def refused(self, status, param, headers=None, **body):
        got, _, raw = self.ask(headers, **body)
        error = json.loads(raw)["error"]
        expect((got, error["param"]) == (status, param), "%s %s: %d %s" % (body, headers, got, raw))
        return error

    def get(self, path):
        return http_json("GET", self.cluster.node_url() + path, key=self.key)

    def last(self, name):
        return self.vendors[NAMES.index(name)].asked[-1][2]


def test_b46_openrouters_members_choose_among_what_is_allowed():
    with Bench() as b:
        b.served("dear/small", model="small", provider={"order": ["dear"]})
        sent = b.last("dear")
        expect(sent == {"model": "up-small", "messages": HELLO}, "went up: %s" % sent)
        b.served("keeper/small", model="small", provider={"only": ["Keeper"]})
        b.served("keeper/small", model="small", provider={"ignore": ["cheap", "dear"]})
        b.served("keeper/small", model="small", provider={"data_collection": "deny"})
        error = b.refused(404, None, model="large", provider={"data_collection": "deny"})
        expect(error["code"] == "no_allowed_provider", str(error))
        b.refused(404, None, model="large", provider={"max_price": {"prompt": 5}})
        b.served("dear/large", model="large", provider={"max_price": {"prompt": "10", "completion": 30}})
        b.refused(400, "provider.sort", model="small", provider={"sort": "best"})
        head, _ = b.served("dear/large", model="large", provider={"quantizations": ["fp8"]})
        expect(head["x-steelyard-warnings"] == "quantizations_ignored", str(head))
        b.served("dear/large", models=["large", "small"])
        expect(b.last("dear")["model"] == "up-large", str(b.last("dear")))
        b.served("dear/large", model="large", models=["small"], route="fallback")
        b.served("keeper/small", models=["large", "small"], provider={"only": ["keeper"]})
        b.served("router/far", model="far", provider={"only": ["anthropic"]})
        sent = b.last("router")
        expect(sent["provider"] == {"only": ["anthropic"]} and "models" not in sent, str(sent))
        head, _ = b.served("dear/large", models=["nobody", "large"])
        expect(head["x-steelyard-warnings"] == "wished_model_unknown", str(head))
        b.refused(404, "model", models=["nobody"])
        b.served("dear/large", model="auto")
        head, _ = b.ask(model="auto:floor")[1:]
        expect(head["x-steelyard-served"].endswith("/small"), str(head))
        expect(b.ask(model="small:nitro")[0] == 200, "nitro")
        rows = b.cluster
        rows.wait_drained()
        out = rows.postgres.query("SELECT count(*) FROM decision WHERE http_status = 200")
        expect(int(out[0][0]) == 14, str(out))


def test_a_fallback_list_is_gone_through():
    with Bench() as b:
        for vendor in b.vendors[1:2]:
            vendor.shutdown()
            vendor.server_close()
        head, raw = b.ask(models=["large", "small"])[1:]
        expect(head["x-steelyard-served"].endswith("/small"), "%s %s" % (head, raw))
        status, _, raw = b.ask(model="large", provider={"allow_fallbacks": False})
        expect(status in (502, 503), "%d %s" % (status, raw))


def test_usage_says_the_cost_and_a_generation_is_told():
    cost = IN * 1e-6 + OUT * 2e-6
    with Bench() as b:
        head, raw = b.served("keeper/small", model="small", usage={"include": True}, provider={"only": ["keeper"]})
        whole = json.loads(raw)
        expect(abs(whole["usage"]["cost"] - cost) < 1e-12, str(whole["usage"]))
        head, raw = b.served("keeper/small", model="small", stream=True, usage={"include": True},
                             provider={"only": ["keeper"]})
        last = events_of(raw)[-1]
        expect(abs(last["usage"]["cost"] - cost) < 1e-12, str(last))
        for name in (whole["id"], head["x-steelyard-decision-id"], head["x-request-id"]):
            status, body = b.get("/v1/generation?id=" + name)
            expect(status == 200 and body["data"]["id"] == name, "%s: %s" % (name, body))
        data = body["data"]
        expect(data["model"] == "small" and data["provider_name"] == "keeper", str(data))
        expect(abs(data["total_cost"] - cost) < 1e-12, str(data))
        expect((data["tokens_prompt"], data["native_tokens_completion"]) == (IN, OUT), str(data))
        expect(data["streamed"] is True and data["cancelled"] is False, str(data))
        expect(data["finish_reason"] == "stop" and data["generation_time"] >= 0, str(data))
        other = b.cluster.make_key("other")
        status, _ = http_json("GET", b.cluster.node_url() + "/v1/generation?id=" + name, key=other)
        expect(status == 404, "another key sees it: %d" % status)
        expect(b.get("/v1/generation?id=nothing")[0] == 404, "unknown id")
        expect(b.get("/v1/generation")[0] == 400, "no id")
        status, body = b.get("/v1/key")
        expect(status == 200, str(body))
        expect(body["data"]["label"] == "load" and body["data"]["limit"] is None, str(body))
        expect(body["data"]["rate_limit"]["requests"] == -1 and body["data"]["is_free_tier"] is False, str(body))
        status, body = b.get("/v1/models")
        small = next(m for m in body["data"] if m["id"] == "small")
        expect(small["pricing"]["prompt"] == "0.000001" and small["pricing"]["completion"] == "0.000002",
               str(small))
        expect(small["context_length"] == 8000, str(small))
        expect(small["top_provider"]["max_completion_tokens"] == 500, str(small))
        expect("temperature" in small["supported_parameters"], str(small))
        expect(small["architecture"]["output_modalities"] == ["text"], str(small))


def test_portkeys_headers_name_what_is_configured_and_nothing_else():
    with Bench() as b:
        def config(value):
            return {"x-portkey-config": value if isinstance(value, str) else json.dumps(value)}
        b.served("keeper/small", config({"provider": "keeper"}), model="small")
        b.served("dear/large", config({"strategy": {"mode": "fallback"}, "targets": [
            {"provider": "@dear", "override_params": {"model": "large"}},
            {"provider": "keeper", "override_params": {"model": "small"}}]}), model="small")
        b.served("dear/small", config({"strategy": {"mode": "loadbalance"}, "targets": [
            {"provider": "keeper", "weight": 0}, {"provider": "dear", "weight": 1}]}), model="small")
        head, _ = b.ask(config("portkey-main"), model="large")[1:]
        expect(head["x-steelyard-served"].endswith("/small"), str(head))
        b.refused(400, "x-portkey-config.api_key", config({"provider": "dear", "api_key": "sk-x"}), model="small")
        b.refused(400, "x-portkey-config.targets[0].custom_host",
                  config({"targets": [{"provider": "dear", "custom_host": "http://10.0.0.1"}]}), model="small")
        b.refused(400, "x-portkey-config.targets[0]", config({"targets": [{"provider": "other"}]}), model="small")
        b.refused(400, "x-portkey-config.strategy.conditions[0].query.metadata?plan.?regex", config(
            {"strategy": {"mode": "conditional", "conditions": [{"query": {"metadata.plan": {"$regex": "("}}, "then": "a"}]},
             "targets": [{"name": "a", "provider": "dear"}]}), model="small")
        head, _ = b.served("dear/large", {"x-portkey-trace-id": "trace-1",
                                          "x-portkey-metadata": '{"env": "prod", "_user": "u1"}'}, model="large")
        expect(head["x-request-id"] == "trace-1", str(head))
        b.refused(400, "x-portkey-metadata", {"x-portkey-metadata": '{"a b": "c"}'}, model="large")
        b.cluster.wait_drained()
        status, body = b.cluster.admin("GET", "/decisions?limit=50")
        expect(status == 200, str(body)[:2000])
        status, body = b.cluster.admin("GET", "/decisions/" + body["items"][0]["id"])
        expect(status == 200 and "env=prod" in json.dumps(body), str(body)[:2000])


# Who serves is said by metadata, the body or the path; the chosen target is a fallback of two.
CONDITIONAL = {
    "strategy": {"mode": "conditional", "default": "rest", "conditions": [
        {"query": {"$or": [{"metadata.plan": {"$regex": "^pa(i|y)"}}, {"params.max_tokens": {"$gte": 400}}]}, "then": "best"},
        {"query": {"url.pathname": CHAT, "metadata.plan": {"$in": ["trial"]}}, "then": "shared"}]},
    "targets": [
        {"name": "best", "strategy": {"mode": "fallback", "on_status_codes": [500, 503]}, "targets": [
            {"provider": "dear", "override_params": {"model": "large", "temperature": 0.25}},
            {"virtual_key": "keeper", "override_params": {"model": "small", "max_tokens": 77}}]},
        {"name": "shared", "strategy": {"mode": "loadbalance"}, "targets": [
            {"provider": "cheap", "weight": 0}, {"provider": "keeper", "weight": 2.5}]},
        {"name": "rest", "provider": "cheap"}]}


def test_a_config_of_portkeys_chooses_by_conditions_and_goes_on_where_it_says():
    with Bench() as b:
        def headers(plan, config=CONDITIONAL):
            return {"x-portkey-config": json.dumps(config), "x-portkey-metadata": json.dumps({"plan": plan})}
        dear = b.vendors[NAMES.index("dear")]
        dear.RequestHandlerClass = Breakable
        b.served("cheap/small", headers("free"), model="small")
        b.served("keeper/small", headers("trial"), model="small")
        b.served("dear/large", headers("paid"), model="small")
        b.served("dear/large", headers("free"), model="small", max_tokens=400)
        asked = b.last("dear")
        expect(asked["temperature"] == 0.25 and asked["max_tokens"] == 400, str(asked))
        without = {"strategy": {"mode": "conditional", "conditions": CONDITIONAL["strategy"]["conditions"][:1]},
                   "targets": CONDITIONAL["targets"]}
        b.refused(400, "x-portkey-config.strategy", headers("free", without), model="small")
        dear.broken = True
        for codes, retries, tried in (([429], 0, 1), ([429], 1, 2), ([500, 503], 0, 1)):
            config = json.loads(json.dumps(CONDITIONAL))
            config["targets"][0]["strategy"]["on_status_codes"] = codes
            config["targets"][0]["retry"] = {"attempts": retries}
            before = len(dear.asked)
            status, head, raw = b.ask(headers("paid", config), model="small", max_tokens=12)
            expect(status == (200 if 500 in codes else 502), "%s: %d %s" % (codes, status, raw))
            expect(len(dear.asked) - before == tried, "%s %d: %d" % (codes, retries, len(dear.asked) - before))
        expect(b.last("keeper")["max_tokens"] == 77, str(b.last("keeper")))

def test_preferences_of_mcp_and_routers_of_routellm_are_taken():
    with Bench() as b:
        head, _ = b.ask(model="auto", modelPreferences={"hints": [{"name": "SMALL"}], "costPriority": 1})[1:]
        expect(head["x-steelyard-served"].endswith("/small"), str(head))
        head, _ = b.ask({"x-steelyard-preferences": '{"hints":[{"name":"nothing"},{"name":"large"}]}'},
                        model="auto")[1:]
        expect(head["x-steelyard-served"] == "dear/large", str(head))
        b.refused(400, "modelPreferences.costPriority", model="auto", modelPreferences={"costPriority": 2})
        head, _ = b.served("dear/large", model="router-mf-0.11593")
        expect(head["x-steelyard-warnings"] == "router_without_quality", str(head))
        b.refused(404, "model", model="router-mf-2")
        body = {"messages": HELLO, "model": "auto", "provider": {"only": ["keeper"]}}
        status, answer = http_json("POST", b.cluster.node_url() + "/v1/decision", body, b.key)
        expect(status == 200 and "WISHES" in json.dumps(answer), str(answer))


def with_quality(text):
    for name, quality in (("small", "0.6"), ("large", "0.9")):
        text = text.replace("  %s: {deployments" % name, "  %s: {prior_quality: %s, deployments" % (name, quality))
    return text


def calibrated(cluster, pct):
    out = subprocess.run([os.path.join(BIN, "steelyard"), "policies", "calibrate", "--strong-model-pct", pct,
                          "--server", cluster.admin_url.replace("/api/v1", ""), "-o", "json"],
                         capture_output=True, text=True,
                         env=dict(os.environ, STEELYARD_OPERATOR_KEY=cluster.operator_key))
    expect(out.returncode == 0, out.stdout + out.stderr)
    return json.loads(out.stdout)


def test_a_threshold_is_calibrated_on_recorded_decisions_and_holds():
    with Bench(with_quality) as b:
        b.served("dear/large", model="router-default-0.2")
        head, _ = b.ask(model="router-auto-0.4")[1:]
        expect(head["x-steelyard-served"].endswith("/small"), str(head))
        for _ in range(8):
            expect(b.ask(model="auto")[0] == 200, "auto")
        b.cluster.wait_drained()
        most, least = calibrated(b.cluster, "90"), calibrated(b.cluster, "10")
        expect(most["decisions"] == 10 and most["strong_share"] == 1 and least["strong_share"] == 0,
               "%s %s" % (most, least))
        expect(abs(most["threshold"] - 0.3) < 0.001, str(most))
        b.served("dear/large", model=most["model"])
        head, _ = b.ask(model=least["model"])[1:]
        expect(head["x-steelyard-served"].endswith("/small"), str(head))
        wish = {"intelligencePriority": 1}  # Now and then somebody else is explored.
        served = [b.ask(model="auto", modelPreferences=wish)[1]["x-steelyard-served"] for _ in range(5)]
        expect(served.count("dear/large") >= 3, str(served))
        b.cluster.wait_drained()
        out = subprocess.run([os.path.join(BIN, "steelyard"), "decisions", "replay", "--server",
                              b.cluster.admin_url.replace("/api/v1", "")], capture_output=True, text=True,
                             env=dict(os.environ, STEELYARD_OPERATOR_KEY=b.cluster.operator_key))
        expect(out.returncode == 0, out.stdout + out.stderr)


def test_a_limited_key_is_told_what_is_left():
    with Bench() as b:
        b.key = budgeted_key(b.cluster, "limited")
        status, body = b.get("/v1/key")
        expect(status == 200 and body["data"]["limit"] == 100, str(body))
        expect(body["data"]["limit_reset"] == "total", str(body))
        for _ in range(3):
            expect(b.ask(model="large", max_tokens=50)[0] == 200, "a request of a limited key")
        data = b.get("/v1/key")[1]["data"]
        expect(data["usage"] is not None and 0 <= data["usage"] < 1, str(data))
        expect(abs(data["limit_remaining"] + data["usage"] - 100) < 1e-9, str(data))
