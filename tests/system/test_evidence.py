"""What goes on about policies without being asked: training by schedule, and the rollout it starts."""
import threading

from harness import Cluster, expect, http_json, wait_until
from test_faults import config
from test_policy import ask, train, vote

QUESTIONS, ROUNDS = 700, 3  # Training wants 500 labels; a round whose rows its gates refuse has a next one.


def learning(provider_url):
    return config(provider_url).replace("explore: 0.05", "explore: 1, explore_spend: 1, retrain: 1s")


def teach(cluster, key, first, threads=4):
    """Questions to the route, each answer judged: the small model fails what needs thought."""
    failed = []

    def some(start):
        try:
            for i in range(first + start, first + QUESTIONS, threads):
                text = "sum %d" % i if i % 2 else "derive in detail why theorem %d holds" % i
                head = ask(cluster, key, "auto", text)
                score = 1 if head["x-steelyard-served"].endswith("strong") or i % 2 else 0
                expect(vote(cluster, key, head["x-steelyard-decision-id"], score), "a vote was too much")
        except Exception as e:  # Of a thread: to be seen by the test.
            failed.append(e)

    workers = [threading.Thread(target=some, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]
    cluster.wait_drained()


def jobs(db):
    return db.query("SELECT state, actor, message FROM job WHERE kind = 'train' ORDER BY created")


def test_labels_alone_train_a_version_and_start_its_rollout():
    with Cluster(learning, simulator_args=["--latency-percent", "0"], node_args=["--feedback-rate", "1000000"],
                 control_args=["--evidence-interval", "300ms"]) as cluster:
        key, db = cluster.make_key(), cluster.postgres
        before = db.value("SELECT version FROM policy_version WHERE name = 'default' AND state = 'current'")
        expect(jobs(db) == [], "trained without a label: %s" % jobs(db))
        for n in range(ROUNDS):
            teach(cluster, key, n * QUESTIONS)
            wait_until("training to end", lambda: len(jobs(db)) > n and all(
                j[0] in ("done", "failed") for j in jobs(db)), 300)
            started = db.query("SELECT id, candidate, state, reason FROM rollout WHERE policy = 'default'")
            if started:
                break
        expect(len(started) == 1, "rollouts: %s, runs: %s, gates: %s" % (started, jobs(db), db.query(
            "SELECT version, report::jsonb->'gates' FROM policy_version WHERE name = 'default'")))
        rollout, candidate, state, reason = started[0]
        expect(state == "shadow", "it began in %s" % state)
        expect(reason.startswith("schedule: "), "its reason: %s" % reason)
        expect(all(j[1] == "schedule" for j in jobs(db)), "runs: %s" % jobs(db))
        version = cluster.admin("GET", "/policies/default/%s" % candidate)[1]
        expect(all(g["ok"] for g in version["gates"]), "gates: %s" % version["gates"])
        # Nothing is put in force by it: the candidate stands beside what serves, on the record.
        expect(db.value("SELECT created_by NOT IN ('schedule') FROM policy_version WHERE name = 'default' AND "
                        "state = 'current'") == "t", "what was learned serves everyone")
        expect(db.value("SELECT count(*) FROM audit_log WHERE action = 'rollout.start' AND actor = 'schedule' AND "
                        "subject = '%s'" % rollout) == "1", "its start is not on record")
        # While it is under way labels do not train again.
        runs = len(jobs(db))
        turns = cluster.control_metric("steelyard_evidence_turns")
        teach(cluster, key, ROUNDS * QUESTIONS)
        wait_until("it to be looked at again", lambda: cluster.control_metric("steelyard_evidence_turns") >= turns + 4)
        expect(len(jobs(db)) == runs, "it trained again: %s" % jobs(db))
        return "default@%s by %d runs, from default@%s" % (candidate, runs, before)


def machines(cluster, first, count):
    status, _ = http_json("POST", cluster.provider_url + "/simulator/machines", {"first": first, "count": count})
    expect(status == 200, "the provider took no machines: %s" % status)


def ask_both(cluster, key, rounds):
    """Each model by turns of two, so that machines that take turns answer for both."""
    for i in range(rounds):
        for model in ("strong", "strong", "weak", "weak"):
            ask(cluster, key, model, "sum %d" % i)


def test_another_machine_behind_a_deployment_is_drift_once_and_trains_anew():
    def slow_schedule(provider_url):
        return config(provider_url).replace("explore: 0.05", "explore: 0.05, retrain: 6h")

    with Cluster(slow_schedule, simulator_args=["--latency-percent", "0"],
                 node_args=["--feedback-rate", "1000000"], control_args=["--evidence-interval", "300ms"]) as cluster:
        key, db = cluster.make_key(), cluster.postgres
        train(cluster, key)

        def looked_at_again():
            turns = cluster.control_metric("steelyard_evidence_turns")
            wait_until("drift to be looked for", lambda: cluster.control_metric(
                "steelyard_evidence_turns") >= turns + 26)  # Every twelfth turn.

        seen = db.query("SELECT model, server, text, requests FROM fingerprint ORDER BY model")
        expect([r[:3] for r in seen] == [["strong", "sim/sim-strong", "sim-strong steelyard-simulator"],
                                         ["weak", "sim/sim-weak", "sim-weak steelyard-simulator"]], "it saw %s" % seen)
        expect(db.value("SELECT count(*) FROM attempt WHERE fingerprint IS NULL") == "0", "attempts say nothing")
        # What was learned is two hours old, and what answered then has done so for days.
        db.query("UPDATE fingerprint SET since = since - interval '3 days', first_seen = first_seen - interval '3 days'")
        db.query("UPDATE policy_version SET created = created - interval '2 hours'")
        db.query("UPDATE job SET created = created - interval '2 hours'")
        runs = len(jobs(db))
        machines(cluster, 0, 2)
        for i in range(150):
            head = ask(cluster, key, "auto", "sum %d" % i)
            expect(vote(cluster, key, head["x-steelyard-decision-id"], 1), "a vote was too much")
        cluster.wait_drained()
        looked_at_again()
        said = cluster.admin("GET", "/policies/default/drift")[1]["items"]
        expect(len(said) <= 1, "too early: %s" % said)  # The model that the route prefers may have had enough.
        ask_both(cluster, key, 120)
        cluster.wait_drained()
        wait_until("both to be noted", lambda: db.value("SELECT count(*) FROM drift_event") == "2")
        said = cluster.admin("GET", "/policies/default/drift")[1]["items"]
        expect(sorted((e["model"], e["kind"], e["server"], e["text"]) for e in said) == [
            ("strong", "fingerprint", "sim/sim-strong", "sim-strong steelyard-simulator.1"),
            ("weak", "fingerprint", "sim/sim-weak", "sim-weak steelyard-simulator.1")], "drift: %s" % said)
        wait_until("the metric to say so", lambda: cluster.control_metric("steelyard_drift_fingerprints") == 2)
        # The schedule is hours away: what trains now does so because of it.
        wait_until("training", lambda: len(jobs(db)) > runs and jobs(db)[-1][1] == "schedule")
        # They go on taking turns, and that is no news.
        ask_both(cluster, key, 60)
        cluster.wait_drained()
        looked_at_again()
        expect(db.value("SELECT count(*) FROM drift_event WHERE kind = 'fingerprint'") == "2", "noted again")
        listed = cluster.admin("GET", "/models/fingerprints?model=weak")[1]["items"]
        expect(sorted((f["text"], f["drift"] is not None) for f in listed) == [
            ("sim-weak steelyard-simulator", False), ("sim-weak steelyard-simulator.1", True)], "listed: %s" % listed)
        return "%d attempts" % int(db.value("SELECT count(*) FROM attempt"))
