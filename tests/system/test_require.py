"""What routes, keys and requests require of deployments holds across retries and fallbacks, and the records
in Postgres say what was lacking, how each attempt's deployment was picked and what was changed for it.
"""
import os
import subprocess

from harness import BIN, Cluster, expect, http, wait_until
from test_dialects import HELLO, Handler, Vendor

CHAT = "/v1/chat/completions"
REGION, PRIVACY = 1 << 2, 1 << 13
SESSION, TRIED, IN_REGION = 7, 1, 16  # PickedBy, PassedOver


class Broken(Handler):
    """Answers nothing but errors while it is told to."""
    def do_POST(self):
        if not self.server.broken:
            super().do_POST()
            return
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.path, dict(self.headers), None))
        self.send_response(500)
        self.send_header("content-length", "0")
        self.end_headers()


def breakable():
    vendor = Vendor()
    vendor.broken = False
    vendor.RequestHandlerClass = Broken
    return vendor


NAMES = ["states", "union", "union2", "secret"]


def config_of(vendors):
    def provider(name, more=""):
        return '  %s: {type: openai, base_url: "%s/v1", private: true%s}' % (name, vendors[name].url, more)

    price = 'price: {input: "1 USD", output: "2 USD"}'
    claude = '  vendor: {type: anthropic, base_url: "%s", private: true, region: eu}' % vendors["union2"].url
    return lambda url: "\n".join([
        "version: 1", "providers:", provider("states", ", region: us-east-1"),
        provider("union", ", region: EU-Central-1, data_collection: deny"), provider("union2", ", region: eu"),
        provider("secret", ", region: eu, zdr: true"), claude, "models:",
        "  both: {deployments: [{provider: states, model: a}, {provider: union, model: b}], %s}" % price,
        "  home: {deployments: [{provider: union2, model: c}], %s}" % price,
        "  away: {deployments: [{provider: states, model: d}], %s}" % price,
        "  pair: {deployments: [{provider: union2, model: e}, {provider: secret, model: f}], %s}" % price,
        "  claude: {deployments: [{provider: vendor, model: g}], %s}" % price,
        "routes:",
        "  hr: {strategy: priority, models: [both, home], fallbacks: [away], require: {region: [eu]}, retries: 2}",
        "  open: {strategy: round-robin, models: [pair], affinity: true}",
        "  abroad: {models: [away], require: {region: [eu], zdr: true}}", ""])


class Bench:
    def __enter__(self):
        self.vendors = {name: breakable() for name in NAMES}
        self.cluster = Cluster(config_of(self.vendors), node_args=["--workers", "1"]).__enter__()
        self.key = self.cluster.make_key()
        return self

    def __exit__(self, *kind):
        return self.cluster.__exit__(*kind)

    def ask(self, model, key=None, headers=None, **body):
        body = {"model": model, "messages": HELLO, **body}
        status, head, raw = http("POST", self.cluster.node_url() + CHAT, body, key or self.key, headers=headers)
        return status, head, raw.decode()

    def asked(self, name):
        return len(self.vendors[name].asked)

    def rows(self, decision):
        """(place, usable, picked_by, passed, notes) of its attempts."""
        self.cluster.wait_drained()
        return [tuple(int(v) for v in row) for row in self.cluster.postgres.query(
            "SELECT place, usable, picked_by, passed, notes FROM attempt WHERE request_id = '%s' ORDER BY n"
            % decision)]

    def excluded(self, decision):
        """(exclusion bits of all candidates, the decision as the admin API tells it)."""
        self.cluster.wait_drained()
        bits = self.cluster.postgres.value("SELECT excl_any FROM decision WHERE request_id = '%s'" % decision)
        status, told = self.cluster.admin("GET", "/decisions/" + decision)
        expect(status == 200, "decision: %d %s" % (status, told))
        return int(bits), told

    def cli(self, *words):
        out = subprocess.run([os.path.join(BIN, "steelyard"), *words, "--server",
                              self.cluster.admin_url.replace("/api/v1", "")], capture_output=True, text=True,
                             env=dict(os.environ, STEELYARD_OPERATOR_KEY=self.cluster.operator_key))
        expect(out.returncode == 0, out.stdout + out.stderr)
        return out.stdout


def test_a_routes_region_holds_across_retries_and_fallbacks():
    with Bench() as b:
        status, head, _ = b.ask("hr")
        expect(status == 200 and head["x-steelyard-served"] == "union/both", "%d %s" % (status, head))
        (place, usable, _, passed, _), = b.rows(head["x-steelyard-decision-id"])
        expect((place, usable, passed) == (2, 2, IN_REGION), "%d %d %d" % (place, usable, passed))
        bits, told = b.excluded(head["x-steelyard-decision-id"])
        expect(bits & REGION, "excl_any: %d" % bits)  # The fallback is in the record, out by its region.
        expect(told["attempts"][0]["picked"]["passed"] == ["region"], str(told["attempts"]))
        b.vendors["union"].broken = True
        status, head, _ = b.ask("hr")
        expect(status == 200 and head["x-steelyard-served"] == "union2/home", "%d %s" % (status, head))
        rows = b.rows(head["x-steelyard-decision-id"])
        expect(len(rows) > 1 and rows[-1][0] == 1, str(rows))
        b.vendors["union2"].broken = True
        for _ in range(4):
            status, _, raw = b.ask("hr")
            expect(status >= 500, "%d %s" % (status, raw))
        expect(b.asked("states") == 0, "somebody in the US was asked %d times" % b.asked("states"))
        why = b.cli("decisions", "why", head["x-steelyard-decision-id"])
        expect("REGION" in why and "region" in why, why)
        b.cli("decisions", "replay")


def test_who_states_nothing_serves_nobody_who_requires_it():
    with Bench() as b:
        status, head, raw = b.ask("abroad")
        expect(status == 403 and "region_required" in raw, "%d %s" % (status, raw))
        bits, told = b.excluded(head["x-steelyard-decision-id"])
        expect(bits == REGION | PRIVACY, "excl_any: %d" % bits)
        expect(told["candidates"][0]["excluded"] == ["REGION", "PRIVACY_CLASS"], str(told["candidates"]))
        status, _, raw = b.ask("both", provider={"zdr": True})
        expect(status == 404 and "zdr: true" in raw, "%d %s" % (status, raw))
        status, head, _ = b.ask("both", provider={"data_collection": "deny"})
        expect(status == 200 and head["x-steelyard-served"] == "union/both", "%d %s" % (status, head))
        rejected = b.cluster.metric(0, "steelyard_rejected_total")
        expect(rejected is not None and rejected >= 2, "rejected: %s" % rejected)


def test_a_key_narrows_its_routes_and_what_it_makes_cannot_widen():
    with Bench() as b:
        status, made = b.cluster.admin("POST", "/keys", {
            "name": "clinic", "zdr": True, "require_regions": ["EU"], "data_collection": "deny"})
        expect(status == 201, "%d %s" % (status, made))
        key = made["key"]
        wait_until("the key to reach the node", lambda: http(
            "GET", b.cluster.node_url() + "/v1/models", key=key)[0] == 200)
        for _ in range(4):
            status, head, _ = b.ask("pair", key)
            expect(status == 200 and head["x-steelyard-served"] == "secret/pair", "%d %s" % (status, head))
        status, _, raw = b.ask("home", key)
        expect(status == 403 and "data_policy_required" in raw and "the key requires zdr" in raw,
               "%d %s" % (status, raw))
        status, shown = b.cluster.admin("GET", "/keys/" + made["id"])
        expect(shown["require_regions"] == ["eu"] and shown["zdr"] is True, str(shown))
        status, _ = b.cluster.admin("POST", "/keys/%s/update" % made["id"], {
            "zdr": False, "data_collection": None, "require_regions": None})
        expect(status == 200, "update: %d" % status)
        wait_until("the key to be free", lambda: b.ask("home", key)[0] == 200)
        status, told = b.cluster.admin("POST", "/keys", {"name": "x", "require_regions": ["e u"]})
        expect(status == 400, "%d %s" % (status, told))


def test_a_session_stays_and_the_record_says_so():
    with Bench() as b:
        session = {"x-steelyard-session": "talk"}
        first = b.ask("open", headers=session)[1]["x-steelyard-served"]
        for _ in range(5):
            b.ask("open")
            status, head, _ = b.ask("open", headers=session)
            expect(status == 200 and head["x-steelyard-served"] == first, "%s, not %s" % (head, first))
        (_, usable, by, _, _), = b.rows(head["x-steelyard-decision-id"])
        expect((usable, by) == (3, SESSION), "%d %d" % (usable, by))
        own = b.vendors[first.partition("/")[0]]
        own.broken = True
        status, head, _ = b.ask("open", headers=session)
        expect(status == 200 and head["x-steelyard-served"] != first, "%d %s" % (status, head))
        rows = b.rows(head["x-steelyard-decision-id"])
        expect(rows[0][2] == SESSION and rows[-1][3] & TRIED, str(rows))
        own.broken = False
        moved = head["x-steelyard-served"]
        for _ in range(3):
            expect(b.ask("open", headers=session)[1]["x-steelyard-served"] == moved, "it did not stay")


def test_what_was_dropped_for_a_provider_is_in_the_row():
    with Bench() as b:
        status, head, raw = b.ask("claude", seed=7)
        expect(status == 200 and "dropped_seed" in head["x-steelyard-warnings"], "%d %s %s" % (status, head, raw))
        decision = head["x-steelyard-decision-id"]
        (_, _, _, _, notes), = b.rows(decision)
        expect(notes == 1 << 34, "notes: %d" % notes)
        expect(b.excluded(decision)[1]["attempts"][0]["notes"] == ["dropped_seed"], "told otherwise")
        expect("dropped_seed" in b.cli("decisions", "why", decision), "why says nothing of it")
