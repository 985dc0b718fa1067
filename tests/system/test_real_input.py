"""The main job on real input: recorded answers of real models, learned from, and served better."""
import json
import os
import subprocess

import recorded
from harness import BIN, expect
from skip import Skip

FIRST = True
SET = "routerbench_sub"  # The smallest set; tests/real-input does all of them.


def replay_all(cluster):
    out = subprocess.run([os.path.join(BIN, "steelyard"), "-s", cluster.admin_url.rsplit("/api", 1)[0],
                          "-o", "json", "decisions", "replay", "--all"],
                         env=dict(os.environ, STEELYARD_OPERATOR_KEY=cluster.operator_key),
                         capture_output=True, text=True)
    expect(out.returncode == 0, "decisions replay failed: %s%s" % (out.stdout, out.stderr))
    return json.loads(out.stdout.strip().splitlines()[-1])


def explained(cluster, name, version, last):
    out = subprocess.run([os.path.join(BIN, "steelyard"), "-s", cluster.admin_url.rsplit("/api", 1)[0],
                          "policies", "explain", "%s@%d" % (name, version), "--last", str(last)],
                         env=dict(os.environ, STEELYARD_OPERATOR_KEY=cluster.operator_key),
                         capture_output=True, text=True)
    expect(out.returncode == 0, "policies explain failed: %s%s" % (out.stdout, out.stderr))
    return out.stdout


def predict_cheaper(replay, served):
    """What a version that is asked for less quality will cost, then what it costs on the same questions
    (tests/real-input --explain does it on others, on all sets)."""
    version = replay.train(SET, "full", promote=False, quality=0.90)["version"]
    detail = replay.version(SET, version)
    expect(detail["state"] == "candidate", "rejected: %s" % detail["gates"])
    expect("replay" in [g["name"] for g in detail["gates"]], "no replay gate: %s" % detail["gates"])
    said = replay.explain(SET, version, served["requests"])
    text = explained(replay.cluster, SET, version, served["requests"])
    expect("cost a request" in text and "MODEL" in text, text)
    replay.promote(SET, version)
    replay.drive(SET, "serve", SET)
    measured = replay.mean_cost(SET, served["requests"])
    error = said["cost"]["then"]["usd"] / measured - 1
    expect(abs(error) <= 0.10, "said %s, measured %s" % (said["cost"], measured))
    return 100 * error


def test_a_policy_learned_from_recorded_answers_serves_cheaper_at_equal_quality():
    if not recorded.available():
        raise Skip("../shared/routing is not here")
    with recorded.Replay([SET]) as replay:
        asked = replay.drive(SET, "full", SET)
        trained = replay.train(SET, "full")
        version = replay.version(SET, trained["version"])
        expect(trained["promoted"], "the policy did not pass its gates: %s" % version["gates"])
        served = replay.drive(SET, "serve", SET)
        replay.cluster.wait_drained()
        rows = int(replay.cluster.postgres.value("SELECT count(*) FROM decision"))
        expect(rows == asked["requests"] + served["requests"],
               "%d requests were served, %d rows stored" % (asked["requests"] + served["requests"], rows))
        learned = int(replay.cluster.postgres.value(
            "SELECT count(*) FROM decision WHERE alias = '%s' AND encode(policy_sha, 'hex') = '%s'" % (
                SET, version["artifact"])))
        expect(learned == served["requests"], "%d of %d requests were decided by the trained policy" % (
            learned, served["requests"]))
        quality, cost = recorded.percent(served)
        # Guards against a broken learner, far below what is reported: figures are for tests/real-input.
        expect(quality >= 90 and cost <= 70, "quality %.1f %%, cost %.1f %% of the best; served by %s" % (
            quality, cost, served["shares"]))
        replayed = replay_all(replay.cluster)
        expect(replayed["differ"] == 0 and replayed["equal"] == rows,
               "of %d rows %s" % (rows, replayed))
        error = predict_cheaper(replay, served)
        return ("quality %.1f %%, cost %.1f %% of the best single model; %d decisions replayed; the next "
                "version's cost predicted within %.1f %%") % (quality, cost, replayed["equal"], error)
