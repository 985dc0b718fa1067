"""Rollouts on a cluster of real processes: what is good arrives, what is bad goes back, what is not known waits.

Stages are short and margins wide, so that it takes minutes; the rules are those of docs/rollouts.md. Times are the
rollout's own, as it recorded them.
"""
import contextlib
import datetime
import json

from bed import Bed
from harness import Failure, expect, http, wait_until
from visitors import Visitors, config, teach, third_spells, truth, weak_cannot_rhyme

FIRST = True
RATE = 120
# Amounts differ by a factor of 50 between the models: at this rate 5 % would take an hour to rule out.
GUARDS = {"cost": {"margin": 0.15}, "quality": {"margin": 0.05}, "tokens": {"on": False}}
SHADOW = {"dwell": "2s", "dwell_max": "10m", "requests": 200}


def stage(percent, dwell="10s", dwell_max="10m", requests=50, units=10):
    return {"percent": percent, "dwell": dwell, "dwell_max": dwell_max, "requests": requests, "units": units}


class Ground:
    """The cluster with a version in service that learned the truth, and visitors."""

    def __init__(self, bed):
        self.bed = bed
        self.key = bed.make_key()
        self.seed = 0
        self.stable = self.learn(truth, promote=True)

    def learn(self, opinion, promote=False):
        self.seed += 1
        return teach(self.bed, self.key, opinion, promote, self.seed)

    @contextlib.contextmanager
    def visited(self, vote_share=0.5):
        self.seed += 1
        visitors = Visitors(self.bed, self.key, RATE, vote_share, self.seed)
        visitors.start()
        try:
            visitors.wait_sent(RATE * 10)  # What stable is like before, for the baseline.
            yield visitors
        finally:
            visitors.finish()

    def start(self, version, stages, **more):
        body = dict({"version": version, "stages": stages, "shadow": SHADOW, "bucket": "2s", "guards": GUARDS,
                     "reason": "test"}, **more)
        status, made = self.bed.admin("POST", "/policies/default/rollouts", body)
        expect(status in (200, 201), "the rollout was refused: %s %s" % (status, made))
        return made["id"]

    def third_answers(self):
        """Whether each node sends to the slow provider: one that failed is left alone for a while."""
        return all(http("POST", self.bed.node_url(i) + "/v1/chat/completions", {
            "model": "third", "messages": [{"role": "user", "content": "sum up"}]}, self.key)[0] == 200
            for i in range(self.bed.node_count))

    def served(self):
        """The versions that nodes decide by."""
        answers = [http("POST", self.bed.node_url(i) + "/v1/chat/completions", {
            "model": "auto", "messages": [{"role": "user", "content": "sum up"}]}, self.key)
            for i in range(self.bed.node_count)]
        return {{n.lower(): v for n, v in headers.items()}.get("x-steelyard-policy") for _, headers, _ in answers}

    def show(self, rollout):
        status, shown = self.bed.admin("GET", "/rollouts/%d" % rollout)
        expect(status == 200, "no rollout: %s" % shown)
        return shown

    def wait_for(self, rollout, states, timeout_s=420):
        def there():
            shown = self.show(rollout)
            ended = shown["state"] in ("promoted", "rolled_back", "halted")
            if ended and shown["state"] not in states:
                raise Failure("the rollout went %s:\n%s" % (shown["state"], json.dumps(shown, indent=1)[:6000]))
            return shown if shown["state"] in states else None
        try:
            return wait_until("the rollout to be %s" % " or ".join(states), there, timeout_s)
        except Failure as e:
            raise Failure("%s\n%s" % (e, json.dumps(self.show(rollout), indent=1)[:6000]))

    def abort(self, rollout):
        status, said = self.bed.admin("POST", "/rollouts/%d/abort" % rollout, {"reason": "seen enough"})
        expect(status == 200, "abort: %s %s" % (status, said))


@contextlib.contextmanager
def ground():
    with Bed(config, slow_percent=100) as bed:
        yield Ground(bed)


def edges(shown):
    return ["%s@%g" % (e["to"], e["percent"]) for e in shown["events"]]


def seconds_between(shown, first, last):
    """From the first edge into one state to the last into another."""
    when = lambda e: datetime.datetime.fromisoformat(e["ts"].replace("Z", "+00:00"))
    begun = next(e for e in shown["events"] if e["to"] == first)
    ended = [e for e in shown["events"] if e["to"] == last][-1]
    return (when(ended) - when(begun)).total_seconds()


def failed_share(entries):
    return sum(not e.complete for e in entries) / len(entries)


def failing_version_goes_back(g):
    """It sends a tenth of its requests to a provider that fails, from its canary's start on."""
    version = g.learn(third_spells)
    g.bed.break_model(g.bed.simulators[1], error_rate=1.0)
    with g.visited() as visitors:
        rollout = g.start(version, [stage(5, dwell="2m"), stage(100)])
        shown = g.wait_for(rollout, ["rolled_back"])
    g.bed.break_model(g.bed.simulators[1], error_rate=0)
    took = seconds_between(shown, "canary", "rolled_back")
    failed = failed_share(visitors.entries)
    expect(shown["why"] in ("breach", "trip_wire"), "rolled back for %s" % shown["why"])
    expect(took <= 60, "it took %.0f s" % took)
    wait_until("every node to serve stable", lambda: g.served() == {"default@%d" % g.stable})
    wait_until("every node to trust the mended provider again", g.third_answers, 120)
    expect(failed < 0.01, "%.2f %% of the clients' requests failed" % (100 * failed))
    return "rolled back after %.0f s, %.2f %% of %d requests failed" % (took, 100 * failed, len(visitors.entries))


def good_version_arrives(g):
    version = g.learn(truth)
    with g.visited() as visitors:
        rollout = g.start(version, [stage(5), stage(50, requests=1000, units=100), stage(100, dwell="5s")])
        shown = g.wait_for(rollout, ["promoted"])
    expect(edges(shown)[-1].startswith("promoted"), "edges %s" % edges(shown))
    expect({"canary@5", "canary@50", "canary@100"} <= set(edges(shown)), "edges %s" % edges(shown))
    expect(all(e["actor"] == "controller" for e in shown["events"][1:]), "somebody helped")
    expect(failed_share(visitors.entries) == 0, "requests failed")
    wait_until("every node to serve it", lambda: g.served() == {"default@%d" % version})
    return " ".join(edges(shown))


def dearer_version_is_caught(g):
    version = g.learn(weak_cannot_rhyme)
    with g.visited():
        rollout = g.start(version, [stage(50, dwell="5m", requests=1000, units=100), stage(100)], guards={
            "cost": {"margin": 0.05}, "tokens": {"on": False}, "latency": {"on": False}})
        shown = g.wait_for(rollout, ["rolled_back"])
    expect((shown["why"], shown.get("metric")) == ("breach", "cost"), "rolled back for %s %s" % (
        shown["why"], shown.get("metric")))
    return "caught by cost after %.0f s" % seconds_between(shown, "canary", "rolled_back")


def version_without_labels_holds(g):
    version = g.learn(truth)
    with g.visited(vote_share=0):
        rollout = g.start(version, [stage(50, dwell_max="40s", requests=100), stage(100)])
        shown = g.wait_for(rollout, ["hold"])
    expect(shown["why"] == "inconclusive", "held for %s" % shown["why"])
    g.abort(rollout)
    return "held at %g %%" % shown["percent"]


def version_without_traffic_holds(g):
    version = g.learn(truth)
    rollout = g.start(version, [stage(50), stage(100)], shadow=dict(SHADOW, dwell_max="20s"))
    shown = g.wait_for(rollout, ["hold"])
    expect(shown["why"] == "too_few" and shown["percent"] == 0, "held for %s" % shown["why"])
    g.abort(rollout)
    return "held in the shadow"


def test_a_version_that_fails_a_tenth_is_rolled_back_within_a_minute():
    with ground() as g:
        return failing_version_goes_back(g)


def long_what_is_good_arrives_and_what_is_bad_or_unknown_does_not():
    with ground() as g:
        return "; ".join(play(g) for play in (
            version_without_traffic_holds, version_without_labels_holds, failing_version_goes_back,
            dearer_version_is_caught, good_version_arrives))
