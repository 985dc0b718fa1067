"""The test bed: a static provider, and the node as in production: keys, a policy that was learned
here, durable telemetry to a control plane with Postgres."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))

from harness import BIN, Cluster, Failure, expect, free_port, http, wait_until  # noqa: E402,F401
from procfs import pin, pin_tree  # noqa: E402

TOOLS = os.path.join(BIN, "..", "tests")
PROXY_CORE, OTHER_CORE = 0, 1
EVENTS, INTERVAL_MS = 50, 20


def tool(name):
    path = os.path.join(TOOLS, name)
    expect(os.path.exists(path), "%s is not built: cmake --preset release && "
           "cmake --build --preset release" % name)
    return path


class Upstream:
    """bench_upstream on core 1."""

    def __init__(self, events=EVENTS, interval_ms=INTERVAL_MS):
        self.port = free_port()
        self.child = subprocess.Popen([tool("bench_upstream"), str(self.port), str(events),
                                       str(interval_ms)], stdout=subprocess.PIPE)
        self.child.stdout.readline()
        pin(self.child.pid, OTHER_CORE)

    def stop(self):
        self.child.terminate()
        self.child.wait()


def config(upstream_port):
    price = 'price: {input: "%s USD", output: "%s USD"}'
    return """version: 1
providers:
  static: {type: openai, base_url: "http://127.0.0.1:%d/v1", private: true}
models:
  bench-large: {deployments: [{provider: static, model: bench}], %s, prior_quality: 0.9}
  bench-small: {deployments: [{provider: static, model: bench}], %s, prior_quality: 0.7}
routes:
  auto: {policy: default, models: [bench-large, bench-small]}
policies:
  default: {type: learned, objective: {quality: 0.95, minimize: cost}, explore: 0.02}
""" % (upstream_port, price % ("2.50", "10.00"), price % ("0.15", "0.60"))


def chat_body(size, stream, model="auto"):
    text = ("Weigh the quality of an answer against its cost, and say which of the models should "
            "answer this question: what is the boiling point of water at an altitude of 2,000 m? ")
    shell = {"model": model, "messages": [{"role": "user", "content": ""}], "max_tokens": 256}
    if stream:
        shell["stream"] = True
    room = size - len(json.dumps(shell, separators=(",", ":")))
    shell["messages"][0]["content"] = (text * (room // len(text) + 1))[:room]
    return json.dumps(shell, separators=(",", ":")).encode()


def write_request(path, size, stream, key, model="auto"):
    body = chat_body(size, stream, model)
    with open(path, "wb") as f:
        f.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\n"
                b"content-type: application/json\r\nauthorization: Bearer " + key.encode() +
                b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    return path


def load(port, connections, seconds, request, timeout_s=None):
    """One run of bench_load: what it reports. Errors are failures."""
    out = subprocess.run(["taskset", "-c", str(OTHER_CORE), tool("bench_load"), str(port),
                          str(connections), str(seconds), request], check=True, capture_output=True,
                         text=True, timeout=timeout_s or seconds + 60)
    result = json.loads(out.stdout)
    expect(result["errors"] == 0 and result["requests"] > 0, "load saw errors: %s" % result)
    return result


def train_policy(cluster, key):
    """A learned policy from real traffic: the small model is right about the short questions."""
    for i in range(800):
        model = ("bench-large", "bench-small")[i % 2]
        short = (i // 2) % 2 == 0
        text = ("sum %d" % (i // 2)) if short else ("prove the theorem number %d in detail" % (i // 2))
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        status, headers, _ = http("POST", cluster.node_url() + "/v1/chat/completions", body, key)
        expect(status == 200, "warm-up answered %d" % status)
        score = 1 if short or model == "bench-large" else 0
        lower = {k.lower(): v for k, v in headers.items()}
        http("POST", cluster.node_url() + "/v1/feedback",
             {"decision_id": lower["x-steelyard-decision-id"], "score": score, "source": "eval"}, key)
    cluster.wait_drained()
    status, job = cluster.admin("POST", "/policies/default/train",
                                {"target": {"quality": 0.95}, "data": {"mode": "full"}, "promote": True})
    expect(status == 202, "training was refused: %s %s" % (status, job))

    def ended():
        state = cluster.admin("GET", "/jobs/%s" % job["job"])[1]
        expect(state.get("state") != "failed", "training failed: %s" % state)
        return state.get("state") == "done"

    wait_until("the policy to be trained", ended, 300)
    number = cluster.admin("GET", "/jobs/%s" % job["job"])[1]["result"]["version"]
    made = cluster.admin("GET", "/policies/default/%d" % number)[1]
    expect(made["state"] == "current", "the policy was not promoted: %s" % made.get("gates"))
    version = "default@%d" % number
    wait_until("the node to use it", lambda: version in http(
        "POST", cluster.node_url() + "/v1/chat/completions",
        {"model": "auto", "messages": [{"role": "user", "content": "sum 1"}]},
        key)[1].values())


def pin_cluster(cluster):
    """The node alone on its core; everything that serves it on the other one."""
    pin(cluster.nodes[0].child.pid, PROXY_CORE)
    pin_tree(cluster.control.child.pid, OTHER_CORE)


def restart_node(cluster, prefix=(), timeout_s=60):
    """The same node, state directory and address, under another command (valgrind, say)."""
    node = cluster.nodes[0]
    node.stop()
    program = [i for i, word in enumerate(node.argv) if word.endswith("steelyard-dataplane")][0]
    node.argv = list(prefix) + node.argv[program:]
    node.start()
    cluster.wait_ready(node, timeout_s)
    return node.child.pid
