"""Rollouts on real processes: one control plane, two nodes."""
import hashlib
import json
import threading
import time

from harness import Cluster, expect, http, wait_until
from test_catalog import tool
from test_faults import config

CHAT = "/v1/chat/completions"
PLAN = {"shadow": {"dwell": "1s", "requests": 20}, "evidence": [], "bucket": "1s",
        "stages": [{"percent": 50, "dwell": "3s", "requests": 20, "units": 5},
                   {"percent": 100, "dwell": "3s", "requests": 10, "units": 0}]}


class Traffic:
    """Requests of many users to all nodes until it is stopped. `policies` says of each version when the last request
    that it served began: how long an answer takes on a busy machine is no matter of the version's."""

    def __init__(self, cluster, key, nodes=(0, 1)):
        self.cluster, self.key = cluster, key
        self.sent, self.failed, self.policies, self.ending = 0, [], {}, False
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in nodes]

    def _run(self, node):
        n = 0
        while not self.ending:
            n += 1
            began = time.monotonic()
            status, headers, raw = http("POST", self.cluster.node_url(node) + CHAT, {
                "model": "auto", "user": "user-%d-%d" % (node, n % 200),
                "messages": [{"role": "user", "content": "sum %d" % n}]}, self.key)
            self.sent += 1
            if status != 200:
                self.failed.append((status, raw[:100]))
            names = {k.lower(): v for k, v in headers.items()}
            name = names.get("x-steelyard-policy", "")
            self.policies[name] = max(began, self.policies.get(name, 0))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        for thread in self.threads:
            thread.join()


def add_version(cluster, extra=b""):
    """A candidate with the content of the version in service under the next number, and `extra` parameters."""
    db = cluster.postgres
    params = bytes.fromhex(db.value("SELECT encode(q.body, 'hex') FROM policy_version v JOIN policy_params q ON "
                                    "q.sha256 = v.params WHERE v.name = 'default' AND v.state = 'current'"))
    at = params.index(b"\x10", params.index(b"default"))  # Field 2: the version.
    params = params[:at + 1] + bytes([params[at + 1] + 1]) + params[at + 2:] + extra
    version = params[at + 1]
    sha = hashlib.sha256(params).hexdigest()
    db.query("INSERT INTO policy_params (sha256, body) VALUES (decode('%s', 'hex'), decode('%s', 'hex'))" % (
        sha, params.hex()))
    db.query("INSERT INTO policy_version (name, version, state, artifact, params, created_by) SELECT name, %d, "
             "'candidate', artifact, decode('%s', 'hex'), 'test' FROM policy_version WHERE name = 'default' AND "
             "state = 'current'" % (version, sha))
    return version


def start(cluster, version, plan):
    status, made = cluster.admin("POST", "/policies/default/rollouts", dict(plan, version=version, reason="test"))
    expect(status == 200, "the rollout was refused: %s" % made)
    return made["id"]


def state_of(cluster, rollout):
    return cluster.admin("GET", "/rollouts/%d" % rollout)[1]


def test_what_the_candidate_would_choose_is_recomputed_before_it_serves_anybody():
    plan = dict(PLAN, shadow={"dwell": "10m", "requests": 20})
    with Cluster(config, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        with Traffic(cluster, key, (0,)) as traffic:
            rollout = start(cluster, version, plan)
            replayed = wait_until("shadows to be recomputed", lambda: int(
                cluster.control_metric("steelyard_rollout_replayed") or 0))
            state = state_of(cluster, rollout)["state"]
        expect(not traffic.failed, "requests failed: %s" % traffic.failed[:3])
        expect(state == "shadow", "it is %s" % state)
        expect(cluster.control_metric("steelyard_rollout_replay_differs") == 0, "they did not come out again")
        return "%d recomputed" % replayed


def test_a_version_goes_from_the_shadow_to_everyone_by_itself():
    with Cluster(config, nodes=2, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        with Traffic(cluster, key) as traffic:
            rollout = start(cluster, version, PLAN)
            again = cluster.admin("POST", "/policies/default/rollouts", {"version": version})
            expect(again[0] == 409, "a second rollout was taken: %s" % (again,))
            done = wait_until("the rollout to end", lambda: [
                s for s in [state_of(cluster, rollout)] if s["state"] in ("promoted", "rolled_back", "halted", "hold")]
                )[0]
            expect(done["state"] == "promoted", "it is %s: %s" % (done["state"], done))
            wait_until("everyone to have it", lambda: max(traffic.policies, key=traffic.policies.get) ==
                       "default@%d" % version)
        expect(not traffic.failed, "requests failed: %s" % traffic.failed[:3])
        cluster.wait_drained()
        db = cluster.postgres
        arms = dict((int(a), int(n)) for a, n in db.query(
            "SELECT arm, count(*) FROM canary_obs WHERE rollout_id = %d GROUP BY 1" % rollout))
        expect(arms.get(1, 0) > 20 and arms.get(2, 0) > 20 and set(arms) <= {1, 2, 3}, "arms: %s" % arms)
        # A user keeps its arm within a stage: its slot decides, and nothing else.
        mixed = db.value("SELECT count(*) FROM (SELECT unit_hash FROM canary_obs WHERE rollout_id = %d AND stage = 0 "
                         "AND arm IN (1, 2) GROUP BY 1 HAVING count(DISTINCT arm) > 1) m" % rollout)
        expect(int(mixed) == 0, "%s users changed their arm within a stage" % mixed)
        expect([e["to"] for e in done["events"]] == ["shadow", "canary", "canary", "promoted"],
               "edges: %s" % [(e["to"], e["reason"]) for e in done["events"]])
        expect(int(db.value("SELECT count(*) FROM resource WHERE key LIKE 'rollout/%%' OR key LIKE "
                            "'%%/candidate'" % ())) == 0, "something of it is still published")
        replayed = cluster.control_metric("steelyard_rollout_replayed")
        expect(replayed > 0 and cluster.control_metric("steelyard_rollout_replay_differs") == 0,
               "its decisions were not recomputed")
        return "%d requests, arms %s, %d recomputed" % (traffic.sent, arms, replayed)


def test_an_abort_works_at_once_while_the_database_is_away():
    with Cluster(config, nodes=2, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        plan = dict(PLAN, stages=[{"percent": 50, "dwell": "1h", "requests": 20, "units": 5}, {"percent": 100}])
        with Traffic(cluster, key) as traffic:
            rollout = start(cluster, version, plan)
            name = "default@%d" % version
            wait_until("the candidate to serve", lambda: name in traffic.policies)
            cluster.postgres.stop_server()
            asked = time.monotonic()
            status, reply = cluster.admin("POST", "/rollouts/default/abort", {"reason": "the news"})
            expect(status == 202 and reply == {"id": rollout, "state": "rolling_back", "written": False},
                   "abort answered %d %s" % (status, reply))
            time_of_last = wait_until("the candidate to serve nobody", lambda: (
                time.monotonic() - traffic.policies[name] > 2 and traffic.policies[name]))
            took = time_of_last - asked
            expect(took < 15,  # The plan's own ttl would end it after ninety.
                   "the candidate served for %.1f s more" % took)
            cluster.postgres.start_server()
            wait_until("it to be written", lambda: cluster.postgres.value(
                "SELECT state FROM rollout WHERE id = %d" % rollout) == "rolled_back")
        expect(not traffic.failed, "requests failed: %s" % traffic.failed[:3])
        row = cluster.postgres.query("SELECT actor, reason, to_state FROM rollout_event WHERE rollout_id = %d "
                                     "ORDER BY id DESC LIMIT 1" % rollout)[0]
        expect(list(row) == ["operator", "operator", "rolled_back"], "the event: %s" % (row,))
        expect(traffic.policies[name] < time.monotonic() - 2, "the candidate came back")
        return "the last answer of the candidate %.2f s after the abort" % took


def test_a_version_whose_decisions_do_not_come_out_again_is_halted():
    """A node that computes wrongly, played by the database: records of the candidate get another draw."""
    with Cluster(config, nodes=2, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        plan = dict(PLAN, stages=[{"percent": 50, "dwell": "1h", "requests": 20, "units": 5}, {"percent": 100}])
        name = "default@%d" % version
        db = cluster.postgres
        with Traffic(cluster, key) as traffic:
            rollout = start(cluster, version, plan)
            wait_until("some of its decisions to come out again", lambda: cluster.control_metric(
                "steelyard_rollout_replayed") or 0)
            db.query("CREATE FUNCTION other_draw() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.detail := "
                     "NEW.detail || '\\x8502c0ffee00'; RETURN NEW; END $$; CREATE TRIGGER other_draw BEFORE INSERT ON "
                     "decision FOR EACH ROW WHEN (NEW.params_sha = '\\x%s') EXECUTE FUNCTION other_draw()" % db.value(
                         "SELECT candidate_params FROM rollout WHERE id = %d" % rollout))
            end = wait_until("the trip wire", lambda: [s for s in [state_of(cluster, rollout)]
                                                       if s["state"] not in ("shadow", "canary")])[0]
            wait_until("the candidate to serve nobody", lambda: time.monotonic() - traffic.policies[name] > 2)
        expect((end["state"], end["why"]) == ("halted", "replay"), "it is %s: %s" % (end["state"], end["why"]))
        evidence = end["events"][-1]["evidence"]["replay"]
        expect(evidence["mismatch"] is True and evidence["decisions"] > 0, "evidence: %s" % evidence)
        expect(cluster.control_metric("steelyard_rollout_replay_differs") > 0, "it is not counted")
        expect(not traffic.failed, "requests failed: %s" % traffic.failed[:3])
        return "halted; %d recomputed" % evidence["decisions"]


def test_a_version_that_served_before_is_rolled_out_again_within_seconds():
    with Cluster(config, nodes=2, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        db = cluster.postgres
        status, said = cluster.admin("POST", "/policies/default/revert", {"to": version, "reason": "test"})
        expect(status == 409, "a version that never served was taken: %d %s" % (status, said))
        with Traffic(cluster, key) as traffic:
            status, said = cluster.admin("POST", "/policies/default/%d/promote" % version, {"reason": "test"})
            expect(status == 200, "promote: %s" % said)
            wait_until("it to serve", lambda: "default@%d" % version in traffic.policies)
            expect(cluster.admin("POST", "/policies/default/freeze", {"reason": "test"})[0] == 200, "no freeze")
            status, said = cluster.admin("POST", "/policies/default/revert", {"reason": "test"})
            expect(status == 409 and "freeze" in said["detail"], "a freeze did not block: %d %s" % (status, said))
            expect(cluster.admin("POST", "/policies/default/unfreeze", {"reason": "test"})[0] == 200, "no unfreeze")
            began = time.monotonic()
            out, _ = tool(cluster, "policies", "revert", "default", "--reason", "the news", "-o", "json")
            rollout = json.loads(out)["id"]
            back = version + 1
            done = wait_until("the rollout to end", lambda: [
                s for s in [state_of(cluster, rollout)] if s["state"] in ("promoted", "rolled_back", "halted")])[0]
            wait_until("everyone to have it", lambda: max(traffic.policies, key=traffic.policies.get) ==
                       "default@%d" % back)
            took = time.monotonic() - began
        expect(done["state"] == "promoted", "it is %s: %s" % (done["state"], done))
        expect([e["to"] for e in done["events"]] == ["shadow", "canary", "promoted"], "edges: %s" % done["events"])
        expect(not traffic.failed, "requests failed: %s" % traffic.failed[:3])
        row = db.query("SELECT v.copy_of, v.state, v.artifact IS NOT DISTINCT FROM o.artifact FROM policy_version v, "
                       "policy_version o WHERE v.name = 'default' AND v.version = %d AND o.name = v.name AND "
                       "o.version = %d" % (back, version - 1))[0]
        expect(list(row) == [str(version - 1), "current", "t"], "the version: %s" % row)
        audit = db.query("SELECT actor, reason, subject FROM audit_log WHERE action = 'rollout.revert'")
        expect([list(r) for r in audit] == [["operator", "the news", "default@%d" % back]], "audit: %s" % audit)
        return "back after %.1f s" % took


def test_a_canary_that_nobody_watches_goes_back_by_itself():
    """The only control plane is gone: each node's own clock ends it, by the plan's ttl."""
    with Cluster(config, nodes=2, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        plan = dict(PLAN, ttl="30s", stages=[{"percent": 50, "dwell": "1h", "requests": 20, "units": 5},
                                             {"percent": 100}])
        name = "default@%d" % version
        refused = cluster.admin("POST", "/policies/default/rollouts", dict(plan, version=version, ttl="5s"))
        expect(refused[0] == 400 and "ttl" in refused[1]["detail"], "a ttl below a heartbeat was taken: %s" % (refused,))
        with Traffic(cluster, key) as traffic:
            start(cluster, version, plan)
            wait_until("the candidate to serve", lambda: name in traffic.policies)
            cluster.control.kill()
            cluster.control.wait_dead()
            gone = time.monotonic()
            last = wait_until("the candidate to serve nobody", lambda: (
                time.monotonic() - traffic.policies[name] > 3 and traffic.policies[name]))
        expect(not traffic.failed, "requests failed: %s" % traffic.failed[:3])
        # A heartbeat may be 10 s old; the node's own clock comes round to it within a second, if it is let.
        expect(15 < last - gone < 60, "it served for %.1f s more" % (last - gone))
        return "the last answer of the candidate %.1f s after the last control plane" % (last - gone)


class OneEach(Cluster):
    """Two control planes over etcd; node i knows control plane i only."""

    def _node(self, i):
        every, self.sync_ports = self.sync_ports, [self.sync_ports[i]]
        try:
            return super()._node(i)
        finally:
            self.sync_ports = every


def test_an_abort_while_the_database_is_away_reaches_the_nodes_of_every_control_plane():
    with OneEach(config, nodes=2, controls=2, etcd=True, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        plan = dict(PLAN, stages=[{"percent": 50, "dwell": "1h", "requests": 20, "units": 5}, {"percent": 100}])
        name = "default@%d" % version
        traffics = [Traffic(cluster, key, [i]) for i in range(2)]
        with traffics[0], traffics[1]:
            rollout = start(cluster, version, plan)
            wait_until("the candidate to serve at both nodes", lambda: all(name in t.policies for t in traffics))
            cluster.postgres.stop_server()
            asked = time.monotonic()
            status, reply = cluster.admin("POST", "/rollouts/default/abort", {"reason": "the news"}, control=1)
            expect(status == 202 and reply["written"] is False, "abort answered %d %s" % (status, reply))
            last = wait_until("the candidate to serve nobody", lambda: (
                time.monotonic() - max(t.policies[name] for t in traffics) > 2 and
                [t.policies[name] - asked for t in traffics]))
            expect(max(last) < 15, "the candidate served for %.1f s more" % max(last))
            cluster.controls[1].kill()  # What was asked of it is not lost with it.
            cluster.postgres.start_server()
            wait_until("it to be written", lambda: cluster.postgres.value(
                "SELECT state FROM rollout WHERE id = %d" % rollout) == "rolled_back")
        failed = [f for t in traffics for f in t.failed]
        expect(not failed, "requests failed: %s" % failed[:3])
        rows = cluster.postgres.query("SELECT actor, term FROM rollout_event WHERE rollout_id = %d AND to_state = "
                                      "'rolled_back'" % rollout)
        expect([list(r) for r in rows] == [["operator", "0"]], "the events: %s" % rows)
        return "the last answers of the candidate %s s after the abort" % " and ".join("%.2f" % s for s in last)


def broken_config(provider_url):
    """A route whose second model nobody answers for, and a policy that never tries it."""
    return "\n".join([
        "version: 1", "providers:",
        '  sim: {type: openai, base_url: "%s/v1", private: true}' % provider_url,
        '  gone: {type: openai, base_url: "http://127.0.0.1:1/v1", private: true}', "models:",
        '  strong: {deployments: [{provider: sim, model: sim-strong}], price: {input: "2.50 USD", output: "10.00 USD"}}',
        '  broken: {deployments: [{provider: gone, model: gone}], price: {input: "2.50 USD", output: "10.00 USD"}}',
        "routes:", "  auto: {policy: default, models: [strong, broken], retries: 1}", "policies:",
        "  default: {type: learned, objective: {quality: 0.95, minimize: cost}, explore: 0}", ""])


def test_a_version_that_uses_a_broken_deployment_is_taken_back_within_a_minute():
    with Cluster(broken_config, nodes=2, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        share = (1 << 32) // 5
        varint = b"".join(bytes([share >> s & 0x7f | (0x80 if share >> s > 0x7f else 0)]) for s in range(0, 35, 7)
                          if share >> s)
        version = add_version(cluster, b"\x40" + varint)  # Field 8, eps_cap: tries others for a fifth.
        plan = dict(PLAN, stages=[{"percent": 25, "dwell": "1h", "requests": 20, "units": 5}, {"percent": 100}])
        with Traffic(cluster, key) as traffic:
            rollout = start(cluster, version, plan)
            wait_until("the canary", lambda: state_of(cluster, rollout)["state"] != "shadow")
            began = time.monotonic()
            end = wait_until("the guard", lambda: [s for s in [state_of(cluster, rollout)]
                                                   if s["state"] != "canary"], 60)[0]
            took = time.monotonic() - began
        expect(end["state"] == "rolled_back" and end["metric"] == "error", "it is %s by %s: %s" % (
            end["state"], end["metric"], end["report"]["guards"]["error"]))
        expect(len(traffic.failed) * 100 <= traffic.sent, "%d of %d requests failed" % (len(traffic.failed),
                                                                                     traffic.sent))
        status = cluster.admin("GET", "/rollouts/default")[1]
        expect(status["breached"], "it does not say that a guard was breached")
        return "rolled back after %.1f s; %d of %d requests failed" % (took, len(traffic.failed), traffic.sent)
