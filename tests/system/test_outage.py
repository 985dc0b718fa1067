"""What goes on when something is down: a test for each row of the table in docs/availability.md that no
other module has. Loads are light: what is asked is whether anything fails, and whether all books agree.
"""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import time

import ledgers
import test_faults as faults
from harness import Cluster, Relay, expect, http, wait_until
from loadclient import LoadClient
from skip import Skip

CLONE_NEWNS = 0x20000
TTL = ["--etcd-ttl", "2s"]
RATE, SECONDS = 60, 8


def load(cluster, breaking, nodes=1, seed=1):
    key = cluster.make_key()
    client = LoadClient([cluster.target(i) for i in range(nodes)], key, RATE, SECONDS, seed=seed).start()
    client.wait_sent(RATE * SECONDS // 4)
    breaking()
    client.join()
    faults.expect_no_failure(client.entries)
    return client.entries


def metrics_of(control):
    """Its metrics as lines, from it and nobody else: none once it has ended. Who is slow to answer is asked again:
    no answer says nothing about what it leads."""
    def read():
        if not control.alive:
            return [""]
        status, _, text = http("GET", "http://%s/metrics" % control.addresses()["metrics"])
        return status == 200 and text.decode().splitlines()
    return wait_until("%s to tell its metrics" % control.name, read)


def led(cluster):
    """Roles by who says that he leads them: role -> list of control planes."""
    roles = {}
    for i, control in enumerate(cluster.controls):
        for line in metrics_of(control):
            if line.startswith("steelyard_leader{") and float(line.rsplit(" ", 1)[1]) == 1:
                roles.setdefault(line.split('"')[1], []).append(i)
    return roles


def all_led_once(cluster):
    roles = led(cluster)
    return len(roles) == 4 and all(len(who) == 1 for who in roles.values())


def generation_of(cluster, key, control=0):
    status, made = cluster.admin("POST", "/keys", {"name": key}, control=control)
    expect(status == 201, "key was not made: %s %s" % (status, made))
    return made["key"]


def node_knows(cluster, key, i=0):
    return http("GET", cluster.node_url(i) + "/v1/models", key=key)[0] == 200


def test_three_control_planes_share_the_roles_and_tell_of_each_other():
    with Cluster(faults.config, nodes=2, controls=3, etcd=True, control_args=TTL) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))
        wait_until("the roles to be spread", lambda: len({i for i, _ in c.leaders().values()}) > 1)

        def all_seen(i):
            status, answer = c.admin("GET", "/status", control=i)
            return status == 200 and sum(n["connected"] for n in answer["nodes"]) == 2 and \
                len([r for r in answer["replicas"] if r["alive"]]) == 3

        for i in range(3):
            wait_until("replica %d to know all nodes and replicas" % i, lambda: all_seen(i))
        for i in range(3):  # A change by a person is made anywhere and reaches everyone.
            key = generation_of(c, "made-on-%d" % i, i)
            for n in range(2):
                wait_until("node %d to know the key of replica %d" % (n, i), lambda: node_knows(c, key, n))
        return str(c.leaders())


def test_one_control_plane_of_two_is_killed():
    with Cluster(faults.config, nodes=2, controls=2, etcd=True, control_args=TTL) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))

        def kill():
            c.controls[0].kill()
            c.controls[0].wait_dead()

        entries = load(c, kill, nodes=2)
        wait_until("the other one to lead everything",
                   lambda: all(who == [1] for who in led(c).values()) and len(led(c)) == 4)
        key = generation_of(c, "after", 1)
        for n in range(2):
            wait_until("node %d to be connected to the other one" % n, lambda: node_knows(c, key, n))
        return faults.settle(c, entries)


def test_all_control_planes_are_killed_and_come_back():
    with Cluster(faults.config, nodes=1, controls=2, etcd=True, control_args=TTL) as c:
        def outage():
            for control in c.controls:
                control.kill()
                control.wait_dead()

        entries = load(c, outage)
        for control in c.controls:
            control.start()
        wait_until("every role to be led once", lambda: all_led_once(c))
        return faults.settle(c, entries)


def test_f3_etcd_is_away_and_comes_back():
    with Cluster(faults.config, nodes=1, controls=2, etcd=True, control_args=TTL) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))
        before = {role: term for role, (_, term) in c.leaders().items()}

        def outage():
            c.etcd.process.kill(signal.SIGSTOP)
            wait_until("nobody to lead", lambda: led(c) == {})
            key = generation_of(c, "without-etcd", 1)  # People's changes need no leader.
            wait_until("the node to know it", lambda: node_knows(c, key))

        entries = load(c, outage)
        c.etcd.process.kill(signal.SIGCONT)
        wait_until("every role to be led once", lambda: all_led_once(c))
        after = {role: term for role, (_, term) in c.leaders().items()}
        expect(all(after[role] >= term for role, term in before.items()), "a term fell: %s" % after)
        return faults.settle(c, entries)


def test_etcd_loses_its_data_and_the_era_is_raised():
    """The runbook of docs/availability.md: nobody leads under a revision that counts from 1 again, until
    the era is raised; then everybody's terms are above the old ones."""
    with Cluster(faults.config, nodes=1, controls=2, etcd=True, control_args=TTL) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))
        c.postgres.query("UPDATE leader_fence SET term = term + 1000")  # As after many elections.
        before = {role: term for role, (_, term) in c.leaders().items()}
        c.etcd.wipe()
        c.etcd.start()

        def refusals():
            """Lines of the log: the first says why, each later one how often it was so since."""
            return sum(control.log_tail(4000).count("a role was won but not claimed") for control in c.controls)

        wait_until("a control plane to say why it does not lead", lambda: any(
            "raise leader_fence.etcd_era" in control.log_tail(400) for control in c.controls), 60)
        # Who led may think so until its lease has run out; from then on nobody does, however often it is tried.
        wait_until("the last lease to run out", lambda: led(c) == {})
        seen = refusals()

        def tried_in_vain():
            expect(led(c) == {}, "somebody leads under an old term: %s" % led(c))
            return refusals() > seen + 1

        wait_until("more roles to be won in vain", tried_in_vain, 60)
        c.postgres.query("UPDATE leader_fence SET etcd_era = etcd_era + 1")
        wait_until("every role to be led once", lambda: all_led_once(c))
        after = {role: term for role, (_, term) in c.leaders().items()}
        expect(all(after[role] > term for role, term in before.items()), "a term fell: %s" % after)


def test_postgres_comes_back_without_its_last_commits():
    """A failover to a standby that was behind: an earlier copy of the data directory, and the era raised
    as a new timeline would raise it. What nodes hold from the future is replaced whole."""
    with Cluster(faults.config, nodes=1) as c:
        first = c.make_key("first")
        with open(os.path.join(c.postgres.directory, "home")) as f:
            data = os.path.join(f.read().strip(), "data")
        c.postgres.stop_server()
        subprocess.run(["cp", "-a", data, data + ".old"], check=True)
        c.postgres.start_server()
        lost = generation_of(c, "lost")
        wait_until("the node to know the key", lambda: node_knows(c, lost))
        c.postgres.stop_server()
        shutil.rmtree(data)
        os.rename(data + ".old", data)
        c.postgres.start_server()
        c.postgres.query("UPDATE config_head SET era = era + 1")
        wait_until("the node to forget the key", lambda: not node_knows(c, lost))
        expect(node_knows(c, first), "the node lost more than was lost")
        third = generation_of(c, "third")
        wait_until("the node to take what comes now", lambda: node_knows(c, third))


def test_a_nodes_disk_is_lost():
    with Cluster(faults.config, nodes=1) as c:
        key = c.make_key()
        node = c.nodes[0]
        node.kill()
        node.wait_dead()
        shutil.rmtree(node.directory)
        os.makedirs(node.directory)
        node.start()
        c.wait_ready(node)  # From the control plane: it had nothing of its own.
        wait_until("the node to know the key", lambda: node_knows(c, key))
        status = wait_until("the old life to be gone", lambda: [
            s for s in [c.admin("GET", "/status")[1]] if sum(n["connected"] for n in s.get("nodes", [])) == 1])[0]
        return json.dumps([n["node_id"][:8] for n in status["nodes"]])


def test_the_leader_is_stopped_past_its_lease_and_goes_on():
    with Cluster(faults.config, nodes=1, controls=2, etcd=True, control_args=TTL) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))
        stopped, term = c.leaders()["keeper"]
        c.controls[stopped].kill(signal.SIGSTOP)
        wait_until("the other one to lead", lambda: c.leaders()["keeper"][1] > term)
        c.controls[stopped].kill(signal.SIGCONT)
        wait_until("every role to be led once", lambda: all_led_once(c))
        expect(c.leaders()["keeper"][1] > term, "the stopped one wrote under its old term")


def start_node(cluster, relay=None):
    """The one node of a cluster that was started without; its way to the control plane by a relay."""
    if relay is not None:
        cluster.sync_ports = [relay.port]
    cluster.node_count = 1
    node = cluster._node(0)
    node.log_path = os.path.join(cluster.directory, "node0.log")  # Not where the disk may be full.
    cluster.nodes = [node.start()]
    cluster.wait_ready(node)
    return node


def books_agree(cluster, key):
    """The allocations, the period and the rows of a key's one budget say the same, and nothing is open."""
    allocated, settled, cost, reserved = (int(v) for v in cluster.postgres.query(
        "WITH b AS (SELECT b.id FROM budget b JOIN api_key k ON k.id = b.account_id WHERE k.name = '%s') SELECT"
        " (SELECT coalesce(sum(s + overage), 0) FROM budget_alloc JOIN b ON b.id = budget_id),"
        " (SELECT coalesce(sum(settled), 0) FROM budget_period JOIN b ON b.id = budget_id),"
        " (SELECT coalesce(sum(cost), 0) FROM budget_ledger JOIN b ON b.id = budget_id),"
        " (SELECT coalesce(sum(reserved), 0) FROM budget_alloc JOIN b ON b.id = budget_id WHERE state = 0)" % key)[0])
    return reserved == 0 and cost > 0 and allocated == settled == cost


def budgeted_key(cluster, name):
    status, made = cluster.admin("POST", "/keys", {"name": name, "budgets": [
        {"limit_usd": "100", "period": "total", "mode": "strict"}]})
    expect(status == 201, "key was not made: %s %s" % (status, made))
    wait_until("the node to know the key", lambda: node_knows(cluster, made["key"]))
    return made["key"]


def refused_for_money(entry):
    """Before anything was sent: what the node holds is used up, or it has been told of nothing to use."""
    return entry.status in (429, 503) and "budget" in entry.error


def stored(cluster):
    return int(cluster.postgres.value("SELECT count(*) FROM decision"))


def test_a_node_is_cut_off_from_the_control_plane_only():
    """Clients and providers reach it: it goes on, spends of a strict budget what it holds and no more, and
    keeps the rows; healed, all books are one and the budget gives again."""
    with Cluster(faults.config, nodes=0) as c:
        relay = Relay(c.sync_port)
        try:
            start_node(c, relay)
            keys = [c.make_key("free"), budgeted_key(c, "alone")]
            clients = [LoadClient([c.target()], k, RATE // 2, SECONDS, seed=i + 1).start() for i, k in enumerate(keys)]
            for client in clients:
                client.wait_sent(RATE * SECONDS // 8)
            wait_until("rows of the time before", lambda: stored(c) > 0)
            relay.cut = True
            cut, sent = time.monotonic(), len(clients[1].entries)
            expect(c.admin("POST", "/keys", {"name": "unheard"})[0] == 201, "key was not made")
            for client in clients:
                client.join()
            free, alone = (client.entries for client in clients)
            faults.expect_no_failure(free)
            odd = [e for e in alone if not e.complete and not refused_for_money(e)]
            expect(not odd, "with a budget: %s" % [(e.nonce, e.status, e.error) for e in odd[:3]])
            expect([e for e in alone[sent:] if e.complete], "nothing was spent of what it held")
            waiting = c.metric(0, "steelyard_spool_records")
            expect(waiting >= RATE * SECONDS // 4, "only %d records wait in the spool" % waiting)
            since = {e.nonce for e in free + alone if e.started > cut}
            through = [r.nonce for r in ledgers.read_rows(c.postgres) if r.nonce in since]
            expect(since and not through, "rows came through the cut: %s" % through[:3])
            committed = int(c.postgres.value("SELECT sum(committed) FROM budget_period"))
            relay.cut = False
            c.wait_drained()
            spent = sum(r.cost for r in ledgers.read_rows(c.postgres) if r.nonce.startswith("n2-"))
            expect(spent <= committed, "%d was spent of %d handed out" % (spent, committed))
            entries = free + alone

            def gives_again():
                more = LoadClient([c.target()], keys[1], 10, 1, seed=3 + len(entries)).start()
                more.join()
                entries.extend(more.entries)
                return all(e.complete for e in more.entries)

            wait_until("the budget to give again", gives_again)
            summary = faults.settle(c, entries)
            wait_until("the counters to be the sum of the rows", lambda: books_agree(c, "alone"))
            late = generation_of(c, "after")
            wait_until("the node to know a key made since", lambda: node_knows(c, late))
            return "%s; %d kept while cut off, %d refused for want of money" % (
                summary, waiting, sum(not e.complete for e in alone))
        finally:
            relay.close()


@contextlib.contextmanager
def small_disk(path, size):
    """A disk of its own at `path`, in mounts that only this process and its children see: whatever ends
    them takes it away."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Skip("a mount namespace cannot be made: %s" % os.strerror(ctypes.get_errno()))
    for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", "size=%d,mode=755" % size, "tmpfs", path]):
        done = subprocess.run(["mount"] + words, capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip("a small disk cannot be mounted: %s" % done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=False)


def fill(path):
    """Takes all the space that is left; the name of the file that holds it."""
    name = os.path.join(path, "ballast")
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while os.write(fd, bytes(size)) > 0:
                    pass
    finally:
        os.close(fd)
    return name


def test_a_nodes_disk_is_full():
    """Strict: 503 before a provider is asked, as long as no record can be kept; then it serves again. Every
    answer has its row, and no row is there twice."""
    with Cluster(faults.config, nodes=0, node_args=["--workers", "1"]) as c:
        with small_disk(c._dir("node0"), 64 << 20):
            node = start_node(c)
            key = budgeted_key(c, "full")
            client = LoadClient([c.target()], key, RATE, 2 * SECONDS).start()
            client.wait_sent(RATE * SECONDS // 4)
            ballast = fill(node.directory)

            def refused():
                return [e for e in list(client.entries) if e.status == 503 and not refused_for_money(e)]

            wait_until("requests to be refused", refused)
            wait_until("it to be unready without a disk",
                       lambda: http("GET", "http://%s/readyz" % node.addresses()["metrics"])[0] == 503)
            os.unlink(ballast)
            at = len(client.entries)
            wait_until("requests to be answered again", lambda: [e for e in list(client.entries)[at:] if e.complete])
            client.join()
            expect(node.alive, "the node ended:\n%s" % node.log_tail())
            odd = [e for e in client.entries if not (e.complete or e.status == 503 or refused_for_money(e))]
            expect(not odd, "%d were neither answered nor refused, e.g. %s" % (
                len(odd), [(e.nonce, e.status, e.error) for e in odd[:3]]))
            expect(client.entries[-1].complete, "the last was not answered: %s" % client.entries[-1].error)
            asked = {s["nonce"] for s in c.provider_entries()}
            wrong = [e.nonce for e in refused() if e.nonce in asked]
            expect(not wrong, "refused, and yet a provider was asked: %s" % wrong[:3])
            summary = faults.settle(c, client.entries)
            wait_until("the counters to be the sum of the rows", lambda: books_agree(c, "full"))
            count = len(refused())
            node.stop()
            return "%s; %d refused" % (summary, count)
