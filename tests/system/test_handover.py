"""How a control plane goes, and how another one takes over: what is under way is finished, roles move at
once, and no blocked statement stands in the way of either.
"""
import base64
import signal
import subprocess
import threading
import time

import test_faults as faults
from harness import Cluster, expect, http, http_json, wait_until
from loadclient import LoadClient
from test_outage import all_led_once, led


class TableLock:
    """Holds a table so that every statement that touches it waits, as under a migration that hangs."""

    def __init__(self, postgres, table):
        self.postgres, self.table = postgres, table

    def __enter__(self):
        self.psql = subprocess.Popen(["psql", "-X", "-q", "-At", self.postgres.conninfo], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        self.psql.stdin.write("BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n" % self.table)
        self.psql.stdin.flush()
        expect(self.psql.stdout.readline().strip() == "held", "the table was not locked")
        return self

    def waiting(self):
        return int(self.postgres.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    def __exit__(self, *_):
        self.psql.stdin.close()
        self.psql.wait(10)


class Call(threading.Thread):
    """One admin call on a thread of its own."""

    def __init__(self, cluster, control=0):
        super().__init__(daemon=True)
        self.cluster, self.control, self.status = cluster, control, None
        self.start()

    def run(self):
        self.status, _ = self.cluster.admin("GET", "/keys", control=self.control, timeout_s=60)


def readiness(control):
    return http("GET", "http://%s/readyz" % control.addresses()["metrics"], timeout_s=2)[0]


def candidacies(etcd):
    """How many keys there are of candidates, of all roles."""
    prefix = b"/steelyard/leader/"
    _, answer = http_json("POST", etcd.url + "/v3/kv/range", {
        "key": base64.b64encode(prefix).decode(), "count_only": True,
        "range_end": base64.b64encode(prefix[:-1] + b"0").decode()})
    return int(answer.get("count", 0))


def test_f31_a_control_plane_that_ends_answers_its_calls_and_gives_its_roles_up_at_once():
    """The lease lasts far longer than the test waits: without being given back, nobody could take over."""
    with Cluster(faults.config, nodes=1, controls=2, etcd=True,
                 control_args=["--etcd-ttl", "60s", "--drain-timeout", "60s"]) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))
        wait_until("both to stand for every role", lambda: candidacies(c.etcd) == 8)
        leaving = c.leaders()["keeper"][0]
        other = 1 - leaving
        with TableLock(c.postgres, "api_key") as lock:
            call = Call(c, leaving)
            wait_until("the call to wait in the database", lambda: lock.waiting() >= 1)
            c.controls[leaving].kill(signal.SIGTERM)
            wait_until("it to be unready", lambda: readiness(c.controls[leaving]) == 503)
            wait_until("the other one to lead everything",  # Long before the lease would have run out.
                       lambda: all(holder == other for holder, _ in c.leaders().values()), 45)
            expect(c.controls[leaving].alive and call.status is None, "it did not wait for its call")
        call.join(120)
        expect(call.status == 200, "the call under way was answered with %s" % call.status)
        expect(c.controls[leaving].child.wait(120) == 0, "it did not end well")
        expect(led(c) == {role: [other] for role in c.leaders()}, "roles are led by %s" % led(c))


def test_f31_a_control_plane_that_ends_acknowledges_the_batches_that_it_took():
    """Nobody else is there to acknowledge anything: what the node lets go was acknowledged in the drain."""
    with Cluster(faults.config, nodes=1) as c:
        key = c.make_key()
        c.wait_drained()
        with TableLock(c.postgres, "decision") as lock:
            client = LoadClient([c.target()], key, 20, 1).start()
            client.join()
            faults.expect_no_failure(client.entries)
            wait_until("a batch to wait in the database", lambda: lock.waiting() >= 1)
            before = wait_until("records to wait", lambda: c.metric(0, "steelyard_spool_records"))
            c.control.kill(signal.SIGTERM)
            wait_until("it to be unready", lambda: readiness(c.control) == 503)
            expect(c.control.alive, "it did not wait for its batch")
        expect(c.control.child.wait(120) == 0, "it did not end well")
        stored = int(c.postgres.value("SELECT count(*) FROM decision"))
        expect(stored > 0, "the batch was not stored")
        wait_until("the node to let go of what was stored",
                   lambda: c.metric(0, "steelyard_spool_records") < before)
        c.control.start()
        c.control.addresses()
        return faults.settle(c, client.entries)


def test_f31_a_control_plane_that_is_told_to_end_serves_whoever_is_still_sent_to_it():
    """Load balancers learn late that it is not ready: until the delay is over they send to it what they like."""
    with Cluster(faults.config, nodes=1, control_args=["--drain-delay", "10s"]) as c:
        began = time.monotonic()
        c.control.kill(signal.SIGTERM)
        wait_until("it to be unready", lambda: readiness(c.control) == 503)
        served = 0
        while c.control.alive and time.monotonic() - began < 3:
            status, _ = c.admin("GET", "/keys")
            expect(status == 200, "a call after SIGTERM was answered with %s" % status)
            served += 1
        expect(c.control.child.wait(120) == 0, "it did not end well")
        took = time.monotonic() - began
        expect(served > 0 and took >= 10, "it ended after %.1f s and %d calls" % (took, served))
        return "%d calls served after SIGTERM, ended after %.1f s" % (served, took)


def test_f31_a_control_plane_ends_although_a_call_never_does():
    with Cluster(faults.config, nodes=0, control_args=["--drain-timeout", "1s"]) as c:
        with TableLock(c.postgres, "api_key") as lock:
            call = Call(c)
            wait_until("the call to wait in the database", lambda: lock.waiting() >= 1)
            began = time.monotonic()
            expect(c.control.stop() == 0, "it did not end well")
            call.join(60)
            expect(call.status == 0, "the call was answered with %s" % call.status)
            return "ended after %.1f s" % (time.monotonic() - began)


def test_roles_are_taken_over_while_every_ordinary_worker_is_blocked():
    with Cluster(faults.config, nodes=1, controls=2, etcd=True, control_args=["--etcd-ttl", "2s"]) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))
        gone = c.leaders()["keeper"][0]
        other = 1 - gone
        with TableLock(c.postgres, "api_key") as lock:
            calls = [Call(c, other) for _ in range(6)]
            wait_until("the workers to be blocked", lambda: lock.waiting() >= 3)
            c.controls[gone].kill()
            c.controls[gone].wait_dead()
            began = time.monotonic()
            wait_until("the other one to lead everything",
                       lambda: all(holder == other for holder, _ in c.leaders().values()))
            took = time.monotonic() - began
            expect(lock.waiting() >= 3 and all(call.status is None for call in calls),
                   "the workers were not blocked all the time")
        for call in calls:
            call.join(120)
        expect(all(call.status == 200 for call in calls), "answers: %s" % [call.status for call in calls])
        return "all roles after %.1f s" % took


def test_a_control_plane_that_comes_late_is_given_its_share_of_the_roles():
    with Cluster(faults.config, nodes=1, controls=2, etcd=True, control_args=["--etcd-ttl", "2s"]) as c:
        wait_until("every role to be led once", lambda: all_led_once(c))
        late = c.controls[1]
        expect(late.stop() == 0, "it did not end well")
        wait_until("the other one to lead everything", lambda: set(led(c)) == set(c.leaders()) and
                   all(who == [0] for who in led(c).values()))
        late.start()
        late.addresses()
        began = time.monotonic()
        wait_until("each to lead two", lambda: all_led_once(c) and
                   sorted(who[0] for who in led(c).values()) == [0, 0, 1, 1])
        return "even after %.1f s" % (time.monotonic() - began)
