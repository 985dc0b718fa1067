"""Keys, teams and budgets with the tool, against real planes: what docs/budgets.md shows, exit codes,
and that a key that was stopped is refused by a node.
"""
import json
import os
import re
import subprocess

from harness import BIN, ROOT, Cluster, expect, http


def config(provider):
    with open(os.path.join(ROOT, "deploy", "steelyard.yaml")) as f:
        return f.read().replace("${env:STEELYARD_SIMULATOR_URL:-http://127.0.0.1:8099/v1}", provider + "/v1")


class Tool:
    def __init__(self, cluster):
        self.env = dict(os.environ, STEELYARD_SERVER="http://127.0.0.1:%d" % cluster.admin_port,
                        STEELYARD_OPERATOR_KEY=cluster.operator_key,
                        PATH=BIN + ":" + os.environ["PATH"])

    def run(self, *words, code=0, key=None):
        env = dict(self.env, STEELYARD_OPERATOR_KEY=key) if key else self.env
        done = subprocess.run([os.path.join(BIN, "steelyard"), *words], env=env, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True)
        expect(done.returncode == code, "%s: exit %d, not %d: %s%s" % (
            " ".join(words), done.returncode, code, done.stdout, done.stderr))
        return done.stdout

    def json(self, *words, **kw):
        return json.loads(self.run(*words, "-o", "json", **kw))


def answers(cluster, key):
    return http("GET", cluster.node_url() + "/v1/models", key=key)[0]


def check_lives(cluster, tool):
    """What a command changed holds when it returns: nothing is waited for here."""
    made = tool.json("keys", "create", "--name", "app")
    expect(answers(cluster, made["key"]) == 200, "a new key was refused")
    fresh = tool.json("keys", "rotate", made["id"], "--overlap", "0s", "--reason", "drill")
    expect(answers(cluster, fresh["key"]) == 200, "the new secret was refused")
    expect(answers(cluster, made["key"]) == 401, "the old secret was taken")
    for stop, start in (("disable", "enable"), ("delete", None)):
        tool.run("keys", stop, made["id"], *(["--yes"] if stop == "delete" else []))
        expect(answers(cluster, fresh["key"]) == 401, "the key was taken after " + stop)
        if start:
            tool.run("keys", start, made["id"])
            expect(answers(cluster, fresh["key"]) == 200, "the key was refused after " + start)
    for i in range(20):
        key = tool.run("keys", "create", "--name", "new-%d" % i, "-o", "name").strip()
        expect(answers(cluster, key) == 200, "new key %d was refused" % i)
    tool.run("keys", "enable", made["id"], code=5)
    node = cluster.nodes[0]
    node.stop()
    node.start()
    cluster.wait_ready(node)
    expect(answers(cluster, fresh["key"]) == 401, "a deleted key came back with a restart")


def check_exit_codes(tool):
    tool.run("keys", "show", "nobody", code=3)
    tool.run("teams", "create", "web", code=5)  # The page made it.
    tool.run("teams", "delete", "web", code=2)  # Nobody to ask, no --yes.
    tool.run("teams", "delete", "web", "--yes", code=5)  # Has keys.
    tool.run("budgets", "set", "--account", "team:web", "--limit-usd", "ten", "--period", "day", code=1)
    tool.run("budgets", "set", "--limit-usd", "10", code=2)
    viewer = tool.run("keys", "create", "--name", "v", "--role", "viewer", "-o", "name").strip()
    tool.run("keys", "list", key=viewer)
    tool.run("keys", "create", key=viewer, code=4)
    tool.run("keys", "list", key="sk-sy-nobody-x", code=4)


def test_the_page_on_budgets_runs_and_stopped_keys_stay_stopped():
    with open(os.path.join(ROOT, "docs", "budgets.md")) as f:
        blocks = re.findall(r"```sh\n(.*?)```", f.read(), flags=re.S)
    with Cluster(config) as cluster:
        tool = Tool(cluster)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(blocks)], env=tool.env, text=True,
                              timeout=120, stdin=subprocess.DEVNULL, capture_output=True)
        expect(done.returncode == 0, "docs/budgets.md: %s%s" % (done.stdout, done.stderr))
        budgets = {b["account"]: b for b in tool.json("budgets", "list")}
        expect(budgets["team:web"]["limit_usd"] == "80", "the limit is not what the page set")
        expect(cluster.postgres.value("SELECT count(*) FROM audit_log WHERE reason = 'plan for this year'") == "1",
               "the reason is not in the audit log")
        check_exit_codes(tool)
        check_lives(cluster, tool)
        rows = cluster.postgres.value("SELECT count(*) FROM audit_log WHERE detail LIKE '%sk-sy-%'")
        expect(rows == "0", "a key's text is in the audit log")
        return "%d blocks" % len(blocks)
