"""Rollouts on real processes: one control plane, two nodes."""
import hashlib
import threading
import time

from harness import Cluster, expect, http, wait_until
from test_faults import config

CHAT = "/v1/chat/completions"
PLAN = {"shadow": {"dwell": "1s", "requests": 20}, "evidence": [], "bucket": "1s",
        "stages": [{"percent": 50, "dwell": "3s", "requests": 20, "units": 5},
                   {"percent": 100, "dwell": "3s", "requests": 10, "units": 0}]}


class Traffic:
    """Requests of many users to all nodes until it is stopped."""

    def __init__(self, cluster, key):
        self.cluster, self.key = cluster, key
        self.sent, self.failed, self.policies, self.ending = 0, [], {}, False
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(2)]

    def _run(self, node):
        n = 0
        while not self.ending:
            n += 1
            status, headers, raw = http("POST", self.cluster.node_url(node) + CHAT, {
                "model": "auto", "user": "user-%d-%d" % (node, n % 200),
                "messages": [{"role": "user", "content": "sum %d" % n}]}, self.key)
            self.sent += 1
            if status != 200:
                self.failed.append((status, raw[:100]))
            names = {k.lower(): v for k, v in headers.items()}
            name = names.get("x-steelyard-policy", "")
            self.policies[name] = time.monotonic()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        for thread in self.threads:
            thread.join()


def add_version(cluster):
    """A candidate with the content of the version in service under the next number."""
    db = cluster.postgres
    params = bytes.fromhex(db.value("SELECT encode(q.body, 'hex') FROM policy_version v JOIN policy_params q ON "
                                    "q.sha256 = v.params WHERE v.name = 'default' AND v.state = 'current'"))
    at = params.index(b"\x10", params.index(b"default"))  # Field 2: the version.
    params = params[:at + 1] + bytes([params[at + 1] + 1]) + params[at + 2:]
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


def test_a_version_goes_from_the_shadow_to_everyone_by_itself():
    with Cluster(config, nodes=2, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        version = add_version(cluster)
        with Traffic(cluster, key) as traffic:
            rollout = start(cluster, version, PLAN)
            again = cluster.admin("POST", "/policies/default/rollouts", {"version": version})
            expect(again[0] == 409, "a second rollout was taken: %s" % (again,))
            done = wait_until("the rollout to end", lambda: [
                s for s in [state_of(cluster, rollout)] if s["state"] in ("promoted", "rolled_back", "halted", "hold")],
                60)[0]
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
        return "%d requests, arms %s" % (traffic.sent, arms)


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
                time.monotonic() - traffic.policies[name] > 2 and traffic.policies[name]), 30)
            took = time_of_last - asked
            expect(took < 3, "the candidate served for %.1f s more" % took)
            cluster.postgres.start_server()
            wait_until("it to be written", lambda: cluster.postgres.value(
                "SELECT state FROM rollout WHERE id = %d" % rollout) == "rolled_back", 60)
        expect(not traffic.failed, "requests failed: %s" % traffic.failed[:3])
        row = cluster.postgres.query("SELECT actor, reason, to_state FROM rollout_event WHERE rollout_id = %d "
                                     "ORDER BY id DESC LIMIT 1" % rollout)[0]
        expect(list(row) == ["operator", "operator", "rolled_back"], "the event: %s" % (row,))
        expect(traffic.policies[name] < time.monotonic() - 2, "the candidate came back")
        return "the last answer of the candidate %.2f s after the abort" % took
