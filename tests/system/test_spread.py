"""Who has a change: what the admin API made, changed or stopped holds on every connected node when it
answers, whichever control plane the node is connected to; nothing is waited for here.
"""
import json
import signal
import socket

from harness import Cluster, expect, http, wait_until
from test_budgets import config


def seen(cluster, key):
    return [http("GET", cluster.node_url(i) + "/v1/models", key=key)[0] for i in range(cluster.node_count)]


def change(cluster, path, body, control=0, status=200):
    got, reply = cluster.admin("POST", path, body, control=control)
    expect(got == status, "%s: %s %s" % (path, got, reply))
    return reply


def everywhere(cluster, reply):
    want = {"connected": cluster.node_count, "acked": cluster.node_count, "ended": "all"}
    expect(reply.get("nodes") == want, "the answer says %s" % reply.get("nodes"))


def lives(cluster, control, i):
    def all_of(code):
        return [code] * cluster.node_count
    made = change(cluster, "/keys", {"name": "new-%d" % i}, control, 201)
    expect(seen(cluster, made["key"]) == all_of(200), "new key %d was refused" % i)
    everywhere(cluster, made)
    everywhere(cluster, change(cluster, "/keys/%s/disable" % made["id"], {}, control))
    expect(seen(cluster, made["key"]) == all_of(401), "disabled key %d was taken" % i)
    everywhere(cluster, change(cluster, "/keys/%s/enable" % made["id"], {}, control))
    expect(seen(cluster, made["key"]) == all_of(200), "enabled key %d was refused" % i)


def check_litellm(cluster):
    url = "http://127.0.0.1:%d/key/generate" % cluster.admin_port
    for _ in range(5):
        status, _, raw = http("POST", url, {}, cluster.operator_key)
        made = json.loads(raw)
        expect(status == 200 and seen(cluster, made["key"]) == [200] * cluster.node_count, "LiteLLM's key: %s" % made)
        everywhere(cluster, made)


def test_what_the_admin_api_changed_holds_when_it_answers():
    with Cluster(config, nodes=2) as cluster:
        for i in range(20):
            lives(cluster, 0, i)
        check_litellm(cluster)
        everywhere(cluster, change(cluster, "/teams", {"name": "t", "rpm": 9}, status=201))
        budget = change(cluster, "/budgets", {"account": "team:t", "limit_usd": "1", "period": "day"})
        everywhere(cluster, budget)
        everywhere(cluster, change(cluster, "/budgets/%s/delete" % budget["id"], {}))
        everywhere(cluster, change(cluster, "/teams/t/delete", {}))
        unsaid = change(cluster, "/keys", {"name": "unsaid", "wait": "0s"}, status=201)
        expect("nodes" not in unsaid, "a call that does not wait says who has it")
        expect("nodes" not in change(cluster, "/keys", {"name": "dry", "dry_run": True}), "a dry run waited")


def test_nodes_of_other_control_planes_are_waited_for():
    with Cluster(config, nodes=3, controls=2, etcd=True) as cluster:
        wait_until("the control planes to write down their nodes", lambda: cluster.postgres.value(
            "SELECT count(*) FROM node_presence WHERE connected") == "3")
        for i in range(10):  # A node of the one is elsewhere for the other.
            lives(cluster, i % 2, i)


def leave(cluster):
    """A client that asks for a key and does not stay for the answer."""
    body = b'{"name": "left", "wait": "60s"}'
    with socket.create_connection(("127.0.0.1", cluster.admin_port)) as s:
        s.sendall(b"POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                  % (cluster.operator_key.encode(), len(body), body))
        wait_until("the key to be made", lambda: cluster.postgres.value(
            "SELECT count(*) FROM api_key WHERE name = 'left'") == "1")


def ended(cluster, how):
    _, _, text = http("GET", "http://%s/metrics" % cluster.control.addresses()["metrics"])
    return b'steelyard_admin_waits{ended="%s"} 1\n' % how in text


def test_a_node_that_stands_still_delays_a_change_and_fails_none():
    with Cluster(config, nodes=2) as cluster:
        key = change(cluster, "/keys", {"name": "before"}, status=201)["key"]
        cluster.nodes[1].kill(signal.SIGSTOP)
        made = change(cluster, "/keys", {"name": "short", "wait": "100ms"}, status=201)
        expect(made["nodes"] == {"connected": 2, "acked": 1, "ended": "timeout"}, "it says %s" % made["nodes"])
        leave(cluster)
        wait_until("the wait to end with its client", lambda: ended(cluster, b"gone"))
        # Silent for so long that nothing is expected of it, or its connection was given up.
        for i in range(3):
            made = change(cluster, "/keys", {"name": "long-%d" % i, "wait": "60s"}, status=201)
            expect(made["nodes"]["acked"] == 1 and made["nodes"]["ended"] != "timeout", "it says %s" % made["nodes"])
            expect(http("GET", cluster.node_url(0) + "/v1/models", key=made["key"])[0] == 200, "refused where it is")
        cluster.nodes[1].kill(signal.SIGCONT)
        expect(http("GET", cluster.node_url(1) + "/v1/models", key=key)[0] == 200, "the node did not go on")
        expect(cluster.control_metric("steelyard_admin_waits") == 6, "the waits are not counted")
