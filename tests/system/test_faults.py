"""What breaks behind the traffic, and the ledgers afterwards: RELIABILITY F1, F2, F4."""
import signal
import time

import ledgers
from harness import Cluster, expect
from loadclient import LoadClient

RATE, SECONDS = 300, 12


def config(provider_url):
    models = [("strong", "sim-strong", "2.50", "10.00"), ("weak", "sim-weak", "0.15", "0.60")]
    lines = ["version: 1", "providers:",
             '  sim: {type: openai, base_url: "%s/v1", private: true}' % provider_url, "models:"]
    for name, upstream, price_in, price_out in models:
        lines.append('  %s: {deployments: [{provider: sim, model: %s}], price: {input: "%s USD",'
                     ' output: "%s USD"}}' % (name, upstream, price_in, price_out))
    lines += ["routes:", "  auto: {policy: default, models: [strong, weak], retries: 1}", "policies:",
              "  default: {type: learned, objective: {quality: 0.95, minimize: cost}, explore: 0.05}",
              ""]
    return "\n".join(lines)


def run_load(cluster, breaking, nodes=1, seed=1):
    """Load at RATE while `breaking()` does its worst a third of the way in; the client's ledger."""
    key = cluster.make_key()
    client = LoadClient([cluster.target(i) for i in range(nodes)], key, RATE, SECONDS, seed=seed).start()
    client.wait_sent(RATE * SECONDS // 3)
    breaking()
    client.join()
    return client.entries


def settle(cluster, entries):
    cluster.wait_drained()
    return ledgers.compare(entries, cluster.provider_entries(), ledgers.read_rows(cluster.postgres))


def expect_no_failure(entries):
    failed = [e for e in entries if not e.complete]
    expect(not failed, "%d of %d requests failed, e.g. %s" % (
        len(failed), len(entries), [(e.nonce, e.status, e.error) for e in failed[:5]]))


def test_without_a_fault_the_three_ledgers_agree():
    with Cluster(config) as cluster:
        entries = run_load(cluster, lambda: None)
        expect_no_failure(entries)
        return settle(cluster, entries)


def test_f1_a_killed_control_plane_fails_no_request_and_loses_no_row():
    with Cluster(config) as cluster:
        def kill_and_restart():
            cluster.control.kill(signal.SIGKILL)
            cluster.control.wait_dead()
            time.sleep(2)  # The outage itself, not a wait for something.
            cluster.control.start()

        entries = run_load(cluster, kill_and_restart, seed=2)
        expect_no_failure(entries)
        cluster.control.addresses()
        return settle(cluster, entries)


def test_f2_an_immediate_restart_of_postgres_fails_no_request_and_loses_no_row():
    with Cluster(config) as cluster:
        entries = run_load(cluster, cluster.postgres.restart_immediate, seed=3)
        expect_no_failure(entries)
        return settle(cluster, entries)


def test_f4_a_killed_node_loses_and_doubles_no_row():
    with Cluster(config, nodes=2) as cluster:
        away = []

        def kill_and_restart():
            node = cluster.nodes[0]
            away.append(time.monotonic())
            node.kill(signal.SIGKILL)
            node.wait_dead()
            node.start()
            cluster.wait_ready(node)
            away.append(time.monotonic())

        entries = run_load(cluster, kill_and_restart, nodes=2, seed=4)
        killed, back = away
        broken = [e for e in entries if not e.complete]
        # However long the machine takes to start it: only its own, and only those that met its absence.
        odd = [e for e in broken if int(e.nonce.split("-")[1]) % 2 or e.ended < killed or e.started > back]
        expect(not odd, "%d requests failed that one node's restart does not explain: %s" % (
            len(odd), [(e.nonce, e.status, e.error, e.started - killed, e.ended - back) for e in odd[:5]]))
        summary = settle(cluster, entries)
        crashed = sum(r.status == ledgers.STATUS_NODE_CRASH for r in ledgers.read_rows(cluster.postgres))
        return "%s; %d cut by the kill, %d rows closed at recovery" % (summary, len(broken), crashed)


def test_f2_f4_postgres_away_while_a_node_dies_and_returns():
    with Cluster(config) as cluster:
        def outage():
            cluster.postgres.stop_server()
            node = cluster.nodes[0]
            node.kill(signal.SIGKILL)
            node.wait_dead()
            node.start()
            cluster.wait_ready(node)  # From its own last good copy: nothing behind it is up.
            cluster.postgres.start_server()

        return settle(cluster, run_load(cluster, outage, seed=5))
