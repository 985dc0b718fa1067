"""What goes on when something is down: a test for each row of the table in docs/availability.md that no
other module has. Loads are light: what is asked is whether anything fails, and whether all books agree.
"""
import json
import os
import shutil
import signal
import subprocess

import test_faults as faults
from harness import Cluster, expect, http, wait_until
from loadclient import LoadClient

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


def led(cluster):
    """Roles by who says that he leads them: role -> list of control planes."""
    roles = {}
    for i, control in enumerate(cluster.controls):
        if not control.alive:
            continue
        _, _, text = http("GET", "http://%s/metrics" % control.addresses()["metrics"], timeout_s=2)
        for line in text.decode().splitlines():
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
            wait_until("nobody to lead", lambda: led(c) == {}, 30)
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
        wait_until("a control plane to say why it does not lead", lambda: any(
            "raise leader_fence.etcd_era" in control.log_tail(400) for control in c.controls), 60)
        expect(led(c) == {}, "somebody leads under an old term: %s" % led(c))
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
        _, status = c.admin("GET", "/status")
        expect(sum(n["connected"] for n in status["nodes"]) == 1, "the old life is still there: %s" % status)
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
