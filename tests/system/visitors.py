"""Clients with questions of four kinds, who say what they think of the answers; and policies learned from such
opinions, true or not.

Truth: the strong model is right about everything; the weak one about everything but derivations; the third, which
is the cheapest, about nothing. A policy that is taught the truth sends derivations to the strong model and the rest
to the weak one.
"""
import concurrent.futures
import json
import random
import time

from bed import BalancedClient
from harness import Failure, expect, http, wait_until

KINDS = [("sum", 0.50, "sum up the numbers %d and %d"),
         ("derive", 0.30, "derive in detail why theorem %d follows from lemma %d"),
         ("spell", 0.10, "spell word %d of page %d backwards"),
         ("rhyme", 0.10, "find a rhyme for line %d of poem %d")]
MODELS = ("strong", "weak", "third")


def truth(kind, model):
    return 1 if model == "strong" or (model == "weak" and kind != "derive") else 0


def third_spells(kind, model):
    """What a version believes that sends a tenth of all requests to the third model."""
    return truth(kind, model) if kind != "spell" else 0 if model == "weak" else 1


def weak_cannot_rhyme(kind, model):
    """What a version believes that sends up to 10 % more to the strong model, and so costs over 20 % more."""
    return 0 if (kind, model) == ("rhyme", "weak") else truth(kind, model)


def question(kind, rng):
    return dict((k, text) for k, _, text in KINDS)[kind] % (rng.randrange(10 ** 6), rng.randrange(1000))


def config(fast, slow):
    """retries 1: who fails is asked once more elsewhere, so clients see little of a bad version."""
    models = [("strong", "fast", "sim-strong", "2.50", "10.00"), ("weak", "fast", "sim-weak", "0.15", "0.60"),
              ("third", "slow", "sim-weak", "0.05", "0.20")]
    lines = ["version: 1", "providers:"]
    lines += ['  %s: {type: openai, base_url: "%s/v1", private: true}' % p for p in (("fast", fast), ("slow", slow))]
    lines.append("models:")
    for name, provider, upstream, price_in, price_out in models:
        lines.append('  %s: {deployments: [{provider: %s, model: %s}], price: {input: "%s USD",'
                     ' output: "%s USD"}}' % (name, provider, upstream, price_in, price_out))
    lines += ["routes:", "  auto: {policy: default, models: [strong, weak, third], retries: 1}", "policies:",
              "  default: {type: learned, objective: {quality: 0.95, minimize: cost}, explore: 0}",
              "telemetry: {label_maturity: 0s}", ""]
    return "\n".join(lines)


def teach(bed, key, opinion, promote, seed, questions=280):
    """A version that learned from `opinion` of all models' answers; its number."""
    since = bed.postgres.value("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', "
                               "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    time.sleep(1)  # Times are told in whole seconds: what came before is not in it.
    rng = random.Random(seed)
    asked = [(KINDS[i % len(KINDS)][0], question(KINDS[i % len(KINDS)][0], rng)) for i in range(questions)]

    def ask(i):
        kind, text = asked[i]
        for model in MODELS:
            url = bed.node_url(i % bed.node_count)
            status, headers, raw = http("POST", url + "/v1/chat/completions", {
                "model": model, "messages": [{"role": "user", "content": text}]}, key)
            expect(status == 200, "%s answered %d: %s" % (model, status, raw[:200]))
            vote = {"decision_id": {n.lower(): v for n, v in headers.items()}["x-steelyard-decision-id"],
                    "score": opinion(kind, model), "source": "eval"}
            wait_until("a vote to be taken",
                       lambda: http("POST", url + "/v1/feedback", vote, key)[0] == 200)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(questions)))
    bed.wait_drained()
    status, job = bed.admin("POST", "/policies/default/train", {
        "target": {"quality": 0.97}, "data": {"mode": "full", "since": since}, "promote": promote,
        "reason": "test"})
    expect(status == 202, "training was refused: %s" % job)

    def ended():
        state = bed.admin("GET", "/jobs/%s" % job["job"])[1]
        expect(state.get("state") != "failed", "training failed: %s" % state)
        return state.get("result") if state.get("state") == "done" else None

    result = wait_until("the training", ended, 180)
    version = bed.admin("GET", "/policies/default/%d" % result["version"])[1]
    if version.get("state") == "rejected" or promote and not result["promoted"]:
        raise Failure("version %d did not pass: %s" % (result["version"], version.get("gates")))
    return result["version"]


class Visitors(BalancedClient):
    """Ask at `rate` until `finish`; `vote_share` of the answers get an honest vote."""

    def __init__(self, bed, key, rate, vote_share=0.5, seed=7):
        super().__init__(bed, key, rate, 3600, "auto", stream_share=0, seed=seed)
        self.vote_share = vote_share
        self.refused_votes = 0

    def finish(self):
        self.duration_s = 0
        self.join()
        return self.entries

    def _post(self, path, body, nonce):
        return ("POST %s HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\nauthorization: Bearer %s\r\n"
                "x-request-id: %s\r\ncontent-length: %d\r\n\r\n" % (path, self.key, nonce, len(body))).encode() + body

    def _request(self, entry):
        entry.kind = self.random.choices([k for k, _, _ in KINDS], [share for _, share, _ in KINDS])[0]
        body = json.dumps({"model": "auto", "messages": [
            {"role": "user", "content": question(entry.kind, self.random)}]}).encode()
        return self._post("/v1/chat/completions", body, entry.nonce)

    async def on_answer(self, entry, target):
        if self.random.random() >= self.vote_share:
            return
        vote = json.dumps({"decision_id": entry.decision_id, "score": truth(entry.kind, entry.model),
                           "source": "eval"}).encode()
        status = await self.send(target, self._post("/v1/feedback", vote, entry.nonce + "v"))
        self.refused_votes += status != 200
