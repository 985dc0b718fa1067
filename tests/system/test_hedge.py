"""A second attempt beside a slow first one (RELIABILITY F17): the slowest requests become faster, and the
ledgers of clients, providers, rows and budgets are one."""
import ledgers
from bank import DOLLAR, PRICES, Bank, usd_text
from harness import Cluster, expect, http_json, wait_until
from loadclient import LoadClient

RATE, SECONDS = 120, 10
SLOW_SHARE, SLOW_MS, AFTER_MS = 0.02, 2000, 300
LATE, LATE_MS = 8, 4000
MODEL = "sim-strong"


def config_of():
    """One model at two providers, which are the same simulator; a route that hedges and one that does not."""
    def config(provider_url):
        lines = ["version: 1", "providers:"]
        for name in ("one", "two"):
            lines.append('  %s: {type: openai, base_url: "%s/v1", private: true}' % (name, provider_url))
        lines += ["models:", "  strong: {deployments: [{provider: one, model: %s}, {provider: two, model: %s}],"
                  ' context_window: 16384, max_output: 4096, price: {input: "%s USD", output: "%s USD"}}' % (
                      (MODEL, MODEL) + tuple(usd_text(p * 1000000) for p in PRICES[MODEL])),
                  "routes:", "  plain: {strategy: round-robin, models: [strong]}",
                  "  auto: {strategy: round-robin, models: [strong], hedge: {after: %dms}}" % AFTER_MS,
                  "  usual: {strategy: round-robin, models: [strong], hedge: {after: p95}}",
                  "  late: {strategy: round-robin, models: [strong], hedge: {after: %dms}}" % LATE_MS, ""]
        return "\n".join(lines)
    return config


def simulator_args():
    prices = ",".join("%s=%d/%d" % ((m,) + p) for m, p in sorted(PRICES.items()))
    return ["--prices", prices, "--latency-percent", "4"]


def slow_now_and_then(cluster, share):
    status, _ = http_json("POST", cluster.provider_url + "/simulator/faults",
                          {"slow_rate": share, "slow_ms": SLOW_MS})
    expect(status == 200, "the provider did not take its faults")


def took_ms(entries, of_hundred):
    times = sorted(1000 * (e.ended - e.started) for e in entries)
    return times[min(len(times) - 1, len(times) * of_hundred // 100)]


def begin(cluster, key, route, seed, rate=RATE):
    return LoadClient([cluster.target(i) for i in range(cluster.node_count)], key, rate, SECONDS, model=route,
                      seed=seed).start()


def end(client):
    client.join()
    failed = [e for e in client.entries if not e.complete]
    expect(not failed, "%d requests failed, e.g. %s" % (len(failed), [(e.status, e.error) for e in failed[:3]]))
    return client.entries


def load(cluster, key, route, seed):
    return end(begin(cluster, key, route, seed))


def hedged(rows):
    return [r for r in rows if any(a.hedge for a in r.attempts)]


def test_f17_the_slowest_become_faster_and_the_ledgers_agree():
    with Cluster(config_of(), simulator_args=simulator_args()) as cluster:
        key = cluster.make_key()
        slow_now_and_then(cluster, SLOW_SHARE)
        plain = load(cluster, key, "plain", seed=1)
        both = load(cluster, key, "auto", seed=2)
        before, after = took_ms(plain, 99), took_ms(both, 99)
        # What was read on is recorded when it ends.
        wait_until("the last attempts to end", lambda: cluster.metric(0, "steelyard_inflight_requests") == 0)
        cluster.wait_drained()
        rows = ledgers.read_rows(cluster.postgres)
        twice = hedged(rows)
        expect(before >= SLOW_MS, "without a second attempt p99 is %d ms: nothing was slow" % before)
        expect(after < before / 2, "p99 is %d ms with second attempts, %d ms without" % (after, before))
        # The share is of all requests of the node in the last two windows, whatever their route.
        expect(0 < len(twice) <= (len(plain) + len(both)) * 5 // 100, "%d of %d" % (len(twice), len(both)))
        expect(all(len(r.attempts) == 2 for r in twice), "a request had more than two attempts")
        expect({e.nonce for e in both} >= {r.nonce for r in twice}, "a request was hedged on a route without")
        summary = ledgers.compare(plain + both, cluster.provider_entries(), rows)
        return "p50 %d -> %d ms, p99 %d -> %d ms; %d second attempts of %d; %s" % (
            took_ms(plain, 50), took_ms(both, 50), before, after, len(twice), len(both), summary)


def test_f17_by_the_95th_percentile_that_the_node_has_seen():
    with Cluster(config_of(), simulator_args=simulator_args()) as cluster:
        key = cluster.make_key()
        load(cluster, key, "plain", seed=3)  # Nothing is slow: what is usual is learned.
        slow_now_and_then(cluster, SLOW_SHARE)
        # Whatever the machine does beside, a twentieth is above the percentile, and some are slow. The share of
        # second attempts is of all requests, so that with many of another route beside it none is refused one.
        clients = begin(cluster, key, "plain", seed=4, rate=2 * RATE), begin(cluster, key, "usual", seed=5, rate=RATE / 2)
        plain, usual = (end(client) for client in clients)
        before, after = took_ms(plain, 99), took_ms(usual, 99)
        wait_until("the last attempts to end", lambda: cluster.metric(0, "steelyard_inflight_requests") == 0)
        cluster.wait_drained()
        twice = hedged(ledgers.read_rows(cluster.postgres))
        expect(0 < len(twice) <= (len(plain) + len(usual)) * 5 // 100, "%d of %d" % (len(twice), len(usual)))
        expect(before >= SLOW_MS and after < before / 2, "p99 is %d ms with second attempts, %d ms without" % (after, before))
        return "p99 %d -> %d ms; %d second attempts of %d" % (before, after, len(twice), len(usual))


class HedgingBank(Bank):
    def __init__(self, nodes=2):
        Cluster.__init__(self, config_of(), nodes=nodes, node_args=["--workers", "2"],
                         simulator_args=simulator_args() + ["--token-bytes", "1"])


def body(rng, number):
    return {"model": "auto", "max_tokens": 32, "stream": number % 2 == 0}


def test_f17_both_are_charged_and_the_budget_holds():
    with HedgingBank() as bank:
        account = bank.account("hedged", DOLLAR)
        slow_now_and_then(bank, 0.04)
        account.spenders(count=64, body=body).run()
        account.spend_up(body=body)
        line = account.check()
        twice = hedged(account.rows())
        expect(twice, "nothing was tried twice at once")
        paid = [r for r in twice if sum(a.cost > 0 for a in r.attempts) == 2]
        expect(paid, "no second attempt was paid for")
        return "%s; %d hedged, %d of them paid twice" % (line, len(twice), len(paid))


def provider_requests(bank):
    return http_json("GET", bank.provider_url + "/simulator/stats")[1]["requests"]


def is_given(account):
    """Who comes before the first money does is told to come again."""
    return account.spenders(count=1, most=1, body=body).run().served() == 1


def answered_while_the_other_goes_on(bank, account, seed):
    """Requests whose clients have their answers from the second attempt while the first is read on: not one
    of them has a record yet."""
    usual = LoadClient([bank.target()], bank.make_key("usual"), RATE, 4, model="plain", seed=seed + 1).start()
    usual.join()  # A second attempt is worth one in twenty of them.
    seen = provider_requests(bank)
    bank.faults(slow_rate=1, slow_ms=60000)
    late = LoadClient([bank.target()], account.key, LATE + 1, 1, model="late", seed=seed).start()
    late.wait_sent(LATE)
    wait_until("all of them to be at the provider", lambda: provider_requests(bank) - seen >= LATE)
    bank.faults(slow_rate=0)
    late.join()
    failed = [(e.nonce, e.status, e.error) for e in late.entries if not e.answered_right]
    expect(not failed, "not answered: %s" % failed[:3])
    expect(max(e.ended - e.started for e in late.entries) < 20, "the first attempts ended before they were to")
    return usual.entries, late.entries


def test_f17_f4_a_node_that_dies_between_a_hedged_answer_and_its_record():
    """The client has its answer, the provider served one attempt and was left in another, and the node dies
    before either is written down: one row, of both attempts, and both holds are spent."""
    with HedgingBank(nodes=1) as bank:
        account = bank.account("n7", DOLLAR)
        wait_until("the budget to give", lambda: is_given(account))
        usual, late = answered_while_the_other_goes_on(bank, account, 7)
        nonces = {e.nonce for e in late}

        def rows_of_late():
            return [r for r in account.rows() if r.nonce in nonces]

        expect(not rows_of_late(), "the rows did not wait for the other attempt")
        bank.kill_node(0)
        account.wait_quiet()
        line = account.check(spent=False)
        rows = rows_of_late()
        served = [e for e in bank.provider_entries() if e["nonce"] in nonces]
        expect({r.nonce for r in rows} == nonces and len(rows) == len(late), "%d rows of %d" % (len(rows), len(late)))
        for entry in late:
            row = next(r for r in rows if r.nonce == entry.nonce)
            told = [e for e in served if e["nonce"] == entry.nonce]
            billed = sum(e["billed_nano"] for e in told)
            text = "%s: status %d, cost %d, billed %d, attempts %s, provider %s" % (
                entry.nonce, row.status, row.cost, billed, [(a.cost, a.usage, a.hedge) for a in row.attempts],
                [e["outcome"] for e in told])
            expect(row.decision_id == entry.decision_id.replace("-", ""), "another decision's row: " + text)
            expect(not entry.cost_usd, "a cost was told before it was known: %s, %s" % (entry.cost_usd, text))
            expect(row.status == ledgers.STATUS_NODE_CRASH, "it was recorded before: " + text)
            expect(sorted(a.hedge for a in row.attempts) == [False, True], "not both attempts: " + text)
            expect(sum(e["outcome"] == "complete" for e in told) == 1 and len(told) == 2, "not served so: " + text)
            expect(row.cost == sum(a.cost for a in row.attempts) and all(a.cost > 0 for a in row.attempts),
                   "both holds are spent: " + text)
            expect(row.cost >= billed > 0, "it costs less than was billed: " + text)
        own = account.name + "-"
        others = [r for r in ledgers.read_rows(bank.postgres) if not r.nonce.startswith(own)]
        summary = ledgers.compare(usual, [e for e in bank.provider_entries() if not e["nonce"].startswith(own)], others)
        # What was closed once is not closed again.
        bank.kill_node(0)
        bank.wait_drained()
        again = rows_of_late()
        expect([(r.decision_id, r.cost) for r in again] == [(r.decision_id, r.cost) for r in rows], "rows changed")
        return "%d answered without a record; %s; the rest: %s" % (len(late), line, summary)
