"""What a node does with a policy it must not use: RELIABILITY B42, promise P8."""
import hashlib

from harness import Cluster, Failure, expect, http, wait_until
from test_faults import config

CHAT = "/v1/chat/completions"


def ask(cluster, key, model, text):
    status, headers, raw = http("POST", cluster.node_url() + CHAT, {
        "model": model, "messages": [{"role": "user", "content": text}]}, key)
    expect(status == 200, "%s answered %d: %s" % (model, status, raw[:200]))
    return {name.lower(): value for name, value in headers.items()}


def vote(cluster, key, decision, score):
    """False: too many in this second."""
    status, _, raw = http("POST", cluster.node_url() + "/v1/feedback",
                          {"decision_id": decision, "score": score, "source": "eval"}, key)
    expect(status in (200, 429), "feedback answered %d: %s" % (status, raw))
    return status == 200


def train(cluster, key):
    """A policy from 240 questions to both models; the small one fails the long ones. With fewer than
    200 labels a model the calibration gate may rightly refuse what was learned."""
    for i in range(240):
        text = "sum %d" % i if i % 2 else "derive in detail why theorem %d holds" % i
        for model in ("strong", "weak"):
            decision = ask(cluster, key, model, text)["x-steelyard-decision-id"]
            score = 1 if model == "strong" or i % 2 else 0
            wait_until("a vote to be taken", lambda: vote(cluster, key, decision, score))
    cluster.wait_drained()
    status, job = cluster.admin("POST", "/policies/default/train", {
        "target": {"quality": 0.95}, "data": {"mode": "full"}, "promote": True})
    expect(status == 202, "training was refused: %s" % job)

    def ended():
        state = cluster.admin("GET", "/jobs/%s" % job["job"])[1]
        expect(state.get("state") != "failed", "training failed: %s" % state)
        return state.get("result") if state.get("state") == "done" else None

    result = wait_until("the training", ended, 120)
    name = "default@%d" % result["version"]
    if not result["promoted"]:
        version = cluster.admin("GET", "/policies/default/%d" % result["version"])[1]
        raise Failure("%s was not promoted: %s" % (name, version.get("gates")))
    wait_until(name + " to serve", lambda: served_by(cluster, key) == name)
    return name


def served_by(cluster, key):
    return ask(cluster, key, "auto", "sum 3")["x-steelyard-policy"]


def push_artifact(cluster, spoil):
    """Puts a spoilt copy of the artifact in force, past every check of the control plane."""
    db = cluster.postgres
    body = bytes.fromhex(db.value("SELECT encode(body, 'hex') FROM resource WHERE key = 'artifact/default'"))
    params = bytes.fromhex(db.value("SELECT encode(body, 'hex') FROM resource WHERE key = 'params/default'"))
    bad = spoil(body)
    digest = hashlib.sha256(bad)
    expect(hashlib.sha256(body).digest() in params, "the parameters name another artifact")
    # A higher number, as any new policy has; field 2 of Params is the version.
    new_params = params.replace(hashlib.sha256(body).digest(), digest.digest())
    at = new_params.index(b"\x10", new_params.index(b"default"))
    new_params = new_params[:at + 1] + bytes([new_params[at + 1] + 1]) + new_params[at + 2:]
    for key, blob in (("artifact/default", bad), ("params/default", new_params)):
        db.query("UPDATE resource SET body = decode('%s', 'hex'), version = '%s', generation = "
                 "(SELECT generation + 1 FROM config_head) WHERE key = '%s'" % (
                     blob.hex(), hashlib.sha256(blob).hexdigest(), key))
    db.query("UPDATE config_head SET generation = generation + 1")
    return int(db.value("SELECT generation FROM config_head"))


def refused(cluster, generation):
    rows = cluster.postgres.query("SELECT code, detail FROM push_log WHERE generation = %d AND NOT"
                                  " accepted" % generation)
    return rows[0] if rows else None


def sections(body):
    """(start, length) of each section's payload: u32 tag, u32 0, u64 length, payload, padding to 8."""
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at + 8:at + 16], "little")
        yield at + 16, length
        at += 16 + (length + 7) // 8 * 8


def check_refusal(spoil, reason):
    with Cluster(config, simulator_args=["--latency-percent", "0"]) as cluster:
        key = cluster.make_key()
        before = train(cluster, key)
        generation = push_artifact(cluster, spoil)
        code, detail = wait_until("the node to refuse it", lambda: refused(cluster, generation))
        expect(reason in code, "refused for %s: %s" % (code, detail))
        expect(served_by(cluster, key) == before, "the old policy did not stay")
        node = cluster.nodes[0]
        node.stop()
        node.start()
        cluster.wait_ready(node)
        expect(served_by(cluster, key) == before, "the old policy did not survive a restart")
        node.stop()
        cluster.control.stop()
        node.start()
        cluster.wait_ready(node)
        expect(served_by(cluster, key) == before, "it did not survive one without a control plane")
        return "%s: %s" % (code, detail)


def test_b42_a_corrupt_artifact_is_refused_and_the_old_policy_stays():
    def flip(body):
        middle = len(body) // 2
        return body[:middle] + bytes([body[middle] ^ 0x40]) + body[middle + 1:]
    return check_refusal(flip, "CHECKSUM")


def test_b42_an_artifact_that_fails_its_self_test_is_refused_and_the_old_policy_stays():
    def reweigh(body):
        """Other weights under a right checksum: only the self-test can tell."""
        rest = bytearray(body[56:])
        start, length = max(sections(bytes(rest)), key=lambda section: section[1])
        for i in range(start, start + length):
            rest[i] ^= 1
        return body[:24] + hashlib.sha256(bytes(rest)).digest() + bytes(rest)
    return check_refusal(reweigh, "SELF")
