"""Budgets shared out between real processes: a budget is a row in Postgres, nodes hold slices of it,
and what they settled is in the tables after kill -9, outages and an orderly end. The nodes are
lease_node: the real table and stream without the request path; a whole node takes part as well."""
import os
import signal
import subprocess

from harness import BIN, Cluster, Process, expect, wait_until
from test_faults import config

PROGRAM = os.path.join(BIN, "..", "tests", "lease_node")
LIMIT = 1_000_000_000


class LeaseNode(Process):
    def __init__(self, cluster, number):
        directory = cluster._dir("lease%d" % number)
        self.id = "0190b3c4-0000-7000-8000-%012d" % number
        super().__init__("lease%d" % number, directory, [
            PROGRAM, "--control", "127.0.0.1:%d" % cluster.sync_port, "--state-dir", directory,
            "--node-id", self.id])

    def start(self):
        log = open(self.log_path, "ab")
        self.child = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                      text=True, bufsize=1)
        log.close()
        ready = self.child.stdout.readline().split()
        expect(ready[:1] == ["ready"], "lease_node said %s\n%s" % (ready, self.log_tail()))
        self.epoch, self.recovered = int(ready[1]), int(ready[2])
        return self

    def say(self, *words):
        self.child.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().split()

    def reserve(self, budget, amount):
        answer = self.say("reserve", budget, amount)
        return int(answer[1]) if answer[0] == "ok" else None

    def spend(self, budget, amount, cost=None):
        made = self.reserve(budget, amount)
        if made is None:
            return 0
        cost = amount if cost is None else cost
        self.say("settle", made, cost)
        return cost


def make_budget(cluster, account=900, limit=LIMIT, mode="strict"):
    cluster.postgres.query("INSERT INTO account (id, kind, name) VALUES (%d, 'team', 'team%d')"
                           % (account, account))
    return int(cluster.postgres.value(
        "INSERT INTO budget (account_id, limit_nano, period, mode) VALUES (%d, %d, 'total', '%s') RETURNING id"
        % (account, limit, mode)))


def sums(cluster, budget):
    row = cluster.postgres.query("SELECT committed, settled FROM budget_period WHERE budget_id = %d" % budget)
    return [int(v) for v in row[0]] if row else [0, 0]


def agree(cluster):
    wrong = cluster.postgres.query("SELECT * FROM budget_mismatch")
    expect(not wrong, "committed is not the sum of its rows: %s" % wrong)


def test_a_budget_made_in_the_database_reaches_nodes_and_is_never_overspent():
    with Cluster(config, nodes=0) as cluster:
        budget = make_budget(cluster)
        nodes = [LeaseNode(cluster, i).start() for i in range(3)]
        cluster.processes += nodes
        spent, refused = 0, 0
        while refused < 6:
            for node in nodes:
                cost = node.spend(budget, LIMIT // 100)
                spent += cost
                refused = 0 if cost else refused + 1
        expect(spent <= LIMIT, "%d was spent of %d" % (spent, LIMIT))
        expect(spent >= LIMIT * 95 // 100, "only %d can be spent of %d" % (spent, LIMIT))
        wait_until("what was settled to be told", lambda: sums(cluster, budget)[1] == spent)
        agree(cluster)
        for node in nodes:
            expect(node.say("retire") == ["ok"], "the end was not acknowledged")
        expect(sums(cluster, budget) == [spent, spent], "not all of the rest came back: %s"
               % sums(cluster, budget))
        return "%.1f %% spent" % (100.0 * spent / LIMIT)


def test_a_killed_node_says_at_its_next_start_what_it_had_spent():
    with Cluster(config, nodes=0) as cluster:
        budget = make_budget(cluster)
        node = LeaseNode(cluster, 1).start()
        cluster.processes.append(node)
        for _ in range(10):
            node.spend(budget, 2_000_000, 1_500_000)
        node.reserve(budget, 7_000_000)  # Open when it dies: counts in full.
        first = node.epoch
        node.kill(signal.SIGKILL)
        node.wait_dead()
        node.start()
        expect(node.recovered == 1 and node.epoch > first, "the life before was not found")
        wait_until("the final report", lambda: sums(cluster, budget) == [22_000_000, 22_000_000])
        state = cluster.postgres.value("SELECT state FROM lease_life WHERE epoch = %d" % first)
        expect(state == "1", "the life is in state %s" % state)
        expect(node.spend(budget, 1_000_000) == 1_000_000, "the new life cannot spend")
        agree(cluster)


def test_nodes_spend_on_without_the_control_plane_and_the_counters_catch_up():
    with Cluster(config, nodes=0) as cluster:
        budget = make_budget(cluster)
        node = LeaseNode(cluster, 1).start()
        cluster.processes.append(node)
        node.spend(budget, 10_000_000)
        held = int(node.say("free", budget)[1])
        expect(held >= 20_000_000, "only %d is held ahead" % held)
        cluster.control.kill(signal.SIGKILL)
        cluster.control.wait_dead()
        expect(node.spend(budget, 15_000_000) == 15_000_000, "an outage stopped it at once")
        # One dies in the outage, too.
        node.kill(signal.SIGKILL)
        node.wait_dead()
        cluster.control.start()
        cluster.control.addresses()
        node.start()
        expect(node.spend(budget, 5_000_000) == 5_000_000, "the new life cannot spend")
        wait_until("the counters", lambda: sums(cluster, budget)[1] == 30_000_000)
        cluster.postgres.restart_immediate()
        expect(node.spend(budget, 400_000_000) == 400_000_000, "no grant after the database came back")
        wait_until("the counters", lambda: sums(cluster, budget)[1] == 430_000_000)
        agree(cluster)


def test_a_lowered_limit_brings_idle_money_back():
    with Cluster(config, nodes=0) as cluster:
        budget = make_budget(cluster)
        nodes = [LeaseNode(cluster, i).start() for i in range(2)]
        cluster.processes += nodes
        for node in nodes:
            node.spend(budget, 40_000_000)
        cluster.postgres.query("UPDATE budget SET limit_nano = 100000000 WHERE id = %d" % budget)

        def within():
            nodes[0].spend(budget, 1)
            return sums(cluster, budget)[0] <= 100_000_000
        wait_until("idle money to come back", within)
        agree(cluster)


def test_a_whole_node_holds_a_life_and_ends_it_in_order():
    with Cluster(config, nodes=1) as cluster:
        lives = "SELECT count(*) FROM lease_life WHERE state = %d"
        wait_until("its life", lambda: cluster.postgres.value(lives % 0) == "1")
        node = cluster.nodes[0]
        node.kill(signal.SIGKILL)
        node.wait_dead()
        node.start()
        wait_until("the killed life to be closed", lambda: cluster.postgres.value(lives % 1) == "1")
        wait_until("the next life", lambda: cluster.postgres.value(lives % 0) == "1")
        expect(node.stop() == 0, "it did not stop in order")
        wait_until("its end", lambda: cluster.postgres.value(lives % 1) == "2")
