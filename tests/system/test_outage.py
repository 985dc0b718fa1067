"""What goes on when something is down: a test for each row of the table in docs/availability.md, by its
name there. Rows that other modules have are named in that table.
"""
import signal
import time

from harness import Cluster, expect, http, wait_until
import test_faults as faults

TTL = ["--etcd-ttl", "2s"]




def test_three_control_planes_share_the_roles_and_tell_of_each_other():
    with Cluster(faults.config, nodes=2, controls=3, etcd=True, control_args=TTL) as c:
        wait_until("every role to be led", lambda: len(c.leaders()) == 4)
        wait_until("the roles to be spread", lambda: len({i for i, _ in c.leaders().values()}) > 1)

        def all_seen(i):
            status, answer = c.admin("GET", "/status", control=i)
            return status == 200 and sum(n["connected"] for n in answer["nodes"]) == 2 and \
                len([r for r in answer["replicas"] if r["alive"]]) == 3

        for i in range(3):
            wait_until("replica %d to know all nodes and replicas" % i, lambda: all_seen(i))
        return str(c.leaders())
