"""Budgets hold: one dollar on eight nodes, revoked keys, clients that leave (RELIABILITY B15, F35).

tests/run plays the short form: a few variants on one cluster, half a dollar, fewer clients.

  tests/system/run.py money --long      every variant with 512 clients and its own cluster
  STEELYARD_SEED=7 tests/system/run.py long_one_dollar_cancelled --long
"""
import os
import time

import ledgers
from bank import DOLLAR, Bank
from harness import expect, http, wait_until

SEED = int(os.environ.get("STEELYARD_SEED", "1"))
CLIENTS, SHORT_CLIENTS = 512, 128
STAYING = ("200", "429 budget_exceeded", "503 budget_unavailable")  # The last: nothing was here yet.
LEAVING = STAYING + ("left",)
BREAKING = LEAVING + ("broken",)


def leave_sometimes(rng):
    return rng.uniform(0, 0.4) if rng.random() < 0.5 else None


def no_limit(rng, number):
    return {"stream": number % 2 == 0}


def eight_choices(rng, number):
    return {"n": 8, "max_tokens": 16, "stream": number % 2 == 0}


def by_route(rng, number):
    return {"model": "auto", "max_tokens": 32, "stream": number % 2 == 0}


def stream_by_route(rng, number):
    return {"model": "auto", "max_tokens": 32, "stream": True}


def whole_by_route(rng, number):
    return {"model": "auto", "max_tokens": 32}


def play(account, breaking=None, clients=CLIENTS, **kw):
    """All clients until each was refused; `breaking()` once a third of the limit is billed."""
    group = account.spenders(count=clients, **kw).start()
    if breaking:
        wait_until("a third to be spent", lambda: account.billed() > account.limit // 3)
        breaking()
    group.join()
    account.spend_up(**kw)


# --- one dollar, each variant by itself ------------------------------------------------------------

def long_one_dollar_plain():
    with Bank() as bank:
        account = bank.account("plain")
        play(account)
        return account.check()


def long_one_dollar_without_max_tokens():
    with Bank() as bank:
        account = bank.account("nomax")
        play(account, body=no_limit)
        return account.check()


def long_one_dollar_with_eight_choices():
    with Bank() as bank:
        account = bank.account("eight")
        play(account, body=eight_choices)
        return account.check()


def long_one_dollar_cancelled():
    with Bank() as bank:
        account = bank.account("cancelled")
        play(account, leave=leave_sometimes)
        return account.check(LEAVING)


def long_one_dollar_cancelled_where_leaving_stops_the_provider():
    with Bank(token_bytes=4, abort_stops_billing=True) as bank:
        account = bank.account("aborted")
        play(account, leave=leave_sometimes)
        return account.check(LEAVING, exact=False)  # A word or two were on their way.


def long_one_dollar_with_a_node_killed():
    with Bank() as bank:
        account = bank.account("killed")
        play(account, lambda: [bank.kill_node(i) for i in (3, 5)])
        return account.check(BREAKING)


def long_one_dollar_with_the_control_plane_away():
    with Bank() as bank:
        account = bank.account("away")

        def away():
            bank.control.kill()
            bank.control.wait_dead()
            time.sleep(10)  # The outage itself.
            bank.start_control()

        play(account, away)
        return account.check()


def long_one_dollar_with_control_plane_and_a_node_lost_together():
    with Bank() as bank:
        account = bank.account("both")

        def both():
            bank.control.kill()
            bank.control.wait_dead()
            bank.kill_node(2)
            bank.postgres.restart_immediate()
            bank.start_control()

        play(account, both)
        return account.check(BREAKING)


def long_one_dollar_with_retries_and_fallbacks():
    with Bank() as bank:
        account = bank.account("retries")
        bank.faults(error_rate=0.15, rate_limit_rate=0.05)
        play(account, body=by_route)
        bank.faults(error_rate=0, rate_limit_rate=0)
        account.spend_up()
        attempts = [len(r.attempts) for r in account.rows()]
        expect(max(attempts) >= 2, "nothing was tried again")
        line = account.check(tuple(account.verdicts()))
        return "%s; %d rows with several attempts" % (line, sum(n > 1 for n in attempts))


def long_one_dollar_with_cut_streams():
    with Bank(token_bytes=4) as bank:
        account = bank.account("cut")
        bank.faults(cut_rate=0.2)
        play(account, body=stream_by_route)
        return account.check(tuple(account.verdicts()))


def unanswered(bank, account, breaking=None, **kw):
    """A fifth is billed whole, and then the connection ends without a byte of an answer."""
    bank.faults(mute_rate=0.2)
    play(account, breaking, body=by_route, **kw)
    bank.faults(mute_rate=0)
    account.spend_up()
    rows = account.rows()
    paid = sum(a.usage == ledgers.USAGE_ESTIMATED for r in rows for a in r.attempts)
    expect(paid > 0, "nothing ended without an answer")
    expect(any(len(r.attempts) > 1 for r in rows), "nothing was tried again")
    silent = sum(e["outcome"] == "cut" for e in account.entries())
    expect(paid >= silent, "%d were billed without an answer, %d paid" % (silent, paid))
    return "%s; %d billed without an answer, %d paid as held" % (
        account.check(tuple(account.verdicts())), silent, paid)


def long_one_dollar_with_answers_that_are_billed_and_never_come():
    with Bank() as bank:
        return unanswered(bank, bank.account("mute"))


def long_one_dollar_with_answers_that_never_come_where_leaving_stops_the_provider():
    with Bank(abort_stops_billing=True) as bank:
        return unanswered(bank, bank.account("mute-aborted"))


def long_one_dollar_with_whole_answers_cut():
    with Bank() as bank:
        account = bank.account("cut-whole")
        bank.faults(cut_rate=0.2)
        play(account, body=whole_by_route)
        bank.faults(cut_rate=0)
        account.spend_up()
        return account.check(tuple(account.verdicts()))


def long_one_dollar_with_usage_missing():
    with Bank(token_bytes=4) as bank:
        account = bank.account("nousage")
        bank.faults(no_usage_rate=0.5)
        play(account, leave=leave_sometimes)
        return account.check(LEAVING, exact=False)


def long_a_burst_on_a_full_budget_is_not_told_that_it_is_used_up():
    with Bank() as bank:
        account = bank.account("burst", 10 * DOLLAR)
        account.spenders(count=CLIENTS, stop_codes=(), most=2000).run()  # A dollar of ten.
        # Where the control plane is slow, some are told to come again.
        return account.check(("200", "503 budget_unavailable"), spent=False)


# --- the short form --------------------------------------------------------------------------------

def test_f35_a_strict_budget_on_eight_nodes_is_never_exceeded_and_can_be_spent():
    with Bank() as bank:
        lines = []
        for name, breaking, allowed, kw in (
                ("plain", None, STAYING, {}),
                ("eight", None, STAYING, {"body": eight_choices}),
                ("cancelled", None, LEAVING, {"leave": leave_sometimes}),
                ("killed", lambda: bank.kill_node(3), BREAKING, {})):
            account = bank.account(name, DOLLAR // 2)
            play(account, breaking, clients=SHORT_CLIENTS, **kw)
            lines.append(account.check(allowed))
        lines.append(unanswered(bank, bank.account("mute", DOLLAR // 2), clients=SHORT_CLIENTS))
        return "\n  ".join([""] + lines)


# --- revoked keys ----------------------------------------------------------------------------------

def acknowledged(bank, since):
    """Wall-clock second by which each node had first acknowledged a generation after `since`."""
    return dict((node, float(at)) for node, at in bank.postgres.query(
        "SELECT node_id, extract(epoch FROM min(ts)) FROM push_log WHERE accepted"
        " AND ts > to_timestamp(%.6f) GROUP BY node_id" % since))


def refused_everywhere(bank, key, after):
    for i in range(bank.node_count):
        status, _, body = http("POST", bank.node_url(i) + "/v1/chat/completions", {
            "model": "strong", "max_tokens": 4, "messages": [{"role": "user", "content": "What is 1 + 1?"}]}, key)
        expect(status == 401, "%s node %d answers a revoked key with %d: %s" % (after, i, status, body[:200]))


def revoke(stop, clients=64):
    with Bank() as bank:
        account = bank.account("revoked", 1000 * DOLLAR)
        group = account.spenders(count=clients, stop_codes=()).start()
        wait_until("the key to be in use", lambda: group.served() >= 4 * clients)
        before = time.time()
        status, _ = stop(bank, account)
        answered = time.time()
        expect(status in (200, 204), "the key was not stopped: %d" % status)
        group.join()  # Each client ends when it is refused.
        acks = wait_until("all nodes to acknowledge", lambda: (
            lambda a: len(a) == bank.node_count and a)(acknowledged(bank, before)))
        late = [r for r in group.requests if r.complete and r.begun_wall > acks[bank.node_id(r.node)]]
        expect(not late, "%d requests were begun after their node had acknowledged, and served" % len(late))
        odd = set(group.verdicts()) - set(STAYING) - {"401 invalid_api_key"}
        expect(not odd, "clients met %s" % dict(group.verdicts()))
        last = max(r.begun_wall for r in group.requests if r.complete)
        refused_everywhere(bank, account.key, "at once")
        for i in range(bank.node_count):
            bank.nodes[i].stop()
            bank.nodes[i].start()
            bank.wait_ready(bank.nodes[i])
        refused_everywhere(bank, account.key, "after a restart of the nodes")
        bank.control.kill()
        bank.control.wait_dead()
        refused_everywhere(bank, account.key, "without the control plane")
        bank.kill_node(0)
        refused_everywhere(bank, account.key, "started without the control plane")
        bank.postgres.stop_server()
        bank.kill_node(1)
        refused_everywhere(bank, account.key, "started without the database")
        bank.postgres.start_server()
        bank.start_control()
        wait_until("the nodes to be connected", lambda: all(
            bank.metric(i, "steelyard_sync_connected") == 1 for i in range(bank.node_count)), 120)
        refused_everywhere(bank, account.key, "at the end")
        return ("last success begun %.0f ms after the call (which took %.0f ms), last node acknowledged"
                " after %.0f ms; %d served" % ((last - before) * 1000, (answered - before) * 1000,
                                               (max(acks.values()) - before) * 1000, group.served()))


def test_a_disabled_key_is_refused_by_eight_nodes_and_never_comes_back():
    return revoke(lambda bank, account: bank.admin("POST", "/keys/%s/disable" % account.key_id, {}))


def long_revocation_of_a_deleted_key():
    return revoke(lambda bank, account: bank.admin("POST", "/keys/%s/delete" % account.key_id, {}))


# --- clients that leave ----------------------------------------------------------------------------

def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def leaving(wanted, clients):
    """`wanted` clients leave at random points of answers that take two seconds."""
    with Bank(nodes=2, token_bytes=4, abort_stops_billing=True, latency_percent=1000) as bank:
        account = bank.account("leave", 10000 * DOLLAR)
        group = account.spenders(count=clients, leave=lambda rng: rng.uniform(0, 2.0),
                                 body=lambda rng, number: {"stream": number % 2 == 0, "max_tokens": 64},
                                 stop_codes=()).start()
        wait_until("%d to have left" % wanted, lambda: sum(r.left for r in group.requests) >= wanted, 600)
        group.stop()
        account.wait_quiet()
        ended = {e["nonce"]: e for e in account.entries()}
        left = [r for r in group.requests if r.left]
        reached = [r for r in left if r.nonce in ended]
        stopped = [ended[r.nonce]["mono_us"] / 1e6 - r.left_at for r in reached
                   if ended[r.nonce]["outcome"] == "cancelled"]
        rows = {r.nonce: r for r in account.rows()}
        account.check(LEAVING, exact=False, spent=False)
        expect(stopped, "nobody left in the middle")
        unpaid = [n for n in ended if ended[n]["billed_nano"] and rows[n].cost == 0]
        expect(not unpaid, "%d were served for nothing, e.g. %s" % (len(unpaid), unpaid[:1]))
        slow = [s for s in stopped if s > 1.0]
        figures = "%d left, %d of them in the middle; provider stopped within p50 %.0f ms, p99 %.0f ms, max %.0f ms" % (
            len(left), len(stopped), percentile(stopped, 0.5) * 1000, percentile(stopped, 0.99) * 1000,
            max(stopped) * 1000)
        return slow, figures + "\n  " + balance(ended, rows)


def balance(ended, rows):
    """How what rows cost differs from what was billed, by how the provider's side ended."""
    parts = []
    for outcome in ("complete", "cancelled"):
        for stream in (True, False):
            e = [x for x in ended.values() if x["outcome"] == outcome and x["stream"] == stream]
            if e:
                cost, billed = sum(rows[x["nonce"]].cost for x in e), sum(x["billed_nano"] for x in e)
                under = sum(rows[x["nonce"]].cost < x["billed_nano"] for x in e)
                parts.append("%s %s: %d, cost %.4f $ of billed %.4f $, %d below" % (
                    outcome, "streams" if stream else "whole", len(e), cost / DOLLAR, billed / DOLLAR, under))
    return "; ".join(parts)


def test_b15_clients_that_leave_stop_the_provider_and_are_billed_once():
    return leaving(500, 128)[1]


def long_disconnects():
    slow, figures = leaving(10000, 512)
    expect(not slow, "%s; %d took longer than a second" % (figures, len(slow)))
    return figures
