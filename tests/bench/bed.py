"""The test bed: a static provider, and the node as in production: keys, a policy that was learned
here, durable telemetry to a control plane with Postgres."""
import json
import os
import random
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))

from harness import BIN, Cluster, Failure, expect, free_port, http, wait_until  # noqa: E402,F401
from procfs import pin, pin_tree, session_nice, stand_behind  # noqa: E402

TOOLS = os.path.join(BIN, "..", "tests")
PROXY_CORE, OTHER_CORE = 0, 1
EVENTS, INTERVAL_MS = 50, 20


def tool(name):
    path = os.path.join(TOOLS, name)
    expect(os.path.exists(path), "%s is not built: cmake --preset release && "
           "cmake --build --preset release" % name)
    return path


class Upstream:
    """bench_upstream on core 1; with TLS under a certificate made here, for localhost and its address."""

    def __init__(self, directory, tls=False, sndbuf_bytes=0):
        self.port, self.ca = free_port(), None
        words = ["--sndbuf", str(sndbuf_bytes)] if sndbuf_bytes else []
        if tls:
            self.ca, key = (os.path.join(directory, name) for name in ("ca.pem", "key.pem"))
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-days", "7", "-subj", "/CN=localhost",
                            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
                            "-out", self.ca], check=True, capture_output=True)
            words += ["--tls", self.ca, key]
        self.child = subprocess.Popen([tool("bench_upstream"), *words, str(self.port)],
                                      stdout=subprocess.PIPE)
        expect(self.child.stdout.readline() == b"listening\n", "bench_upstream does not listen")
        pin(self.child.pid, OTHER_CORE)

    def stop(self):
        self.child.terminate()
        self.child.wait()


CROSS_EVENTS, CROSS_PACE_MS = 150, 20


def across(upstream):
    """Providers that speak one dialect only, and their models: whole answers, and streams."""
    if upstream.ca:
        return "", ""
    address = "http://127.0.0.1:%d" % upstream.port
    providers = ('  chat: {type: custom, base_url: "%s/v1", private: true}\n'
                 '  messages: {type: anthropic, base_url: "%s", private: true}\n' % (address, address))
    models = "".join(
        '  at-%s%s: {deployments: [{provider: %s, model: %s}], price: {input: "1 USD", output: "2 USD"}}\n'
        % (name, suffix, name, model) for name in ("chat", "messages")
        for suffix, model in (("", "bench"),
                              ("-stream", "bench-events-%d-pace-%d" % (CROSS_EVENTS, CROSS_PACE_MS))))
    return providers, models


def config(upstream, transport=None):
    """The provider as the node's configuration names it; transport None: whatever is the default."""
    price = 'price: {input: "%s USD", output: "%s USD"}'
    others, models = across(upstream)
    provider = 'type: openai, base_url: "%s://%s:%d/v1", private: true' % (
        ("https", "localhost", upstream.port) if upstream.ca else ("http", "127.0.0.1", upstream.port))
    if upstream.ca:
        provider += ', ca_file: "%s"' % upstream.ca
    if transport is not None:
        provider += ", transport: %s" % transport
    return """version: 1
providers:
  static: {%s}
%smodels:
  bench-large: {deployments: [{provider: static, model: bench}], %s, prior_quality: 0.9}
  bench-small: {deployments: [{provider: static, model: bench}], %s, prior_quality: 0.7}
%sroutes:
  auto: {policy: default, models: [bench-large, bench-small]}
policies:
  default: {type: learned, objective: {quality: 0.95, minimize: cost}, explore: 0.02}
""" % (provider, others, price % ("2.50", "10.00"), price % ("0.15", "0.60"), models)


def transports(directory):
    """Those that this build's configuration knows; none when there is no choice yet."""
    found = []
    for name in ("lean", "libcurl"):
        path = os.path.join(directory, "transport.yaml")
        with open(path, "w") as f:
            f.write(config(PlainAddress, name))
        done = subprocess.run([os.path.join(BIN, "steelyard"), "config", "validate", path],
                              capture_output=True, text=True)
        if done.returncode == 0:
            found.append(name)
    return found


class PlainAddress:
    """Stands for an upstream where only a valid configuration is wanted."""
    port, ca = 9, None


def prose(size):
    """Words of one to four syllables, many of them different, as in a text; the same each time."""
    draw, words, length = random.Random(1), [], 0
    while length < size:
        word = "".join(draw.choice("bdfghklmnprstvw") + draw.choice("aeiou")
                       for _ in range(min(draw.randint(1, 4), draw.randint(1, 4))))
        words.append(word + draw.choice(["", "n", "r", "s", ",", "."]))
        length += len(words[-1]) + 1
    return " ".join(words)


def chat_body(size, events=0, interval_ms=0, model="auto"):
    """events > 0 asks for a stream; what bench_upstream reads stands first. bench_load counts in the
    number that the text begins with."""
    shell = {"stream": True, "max_tokens": events, "seed": interval_ms} if events else {"max_tokens": 256}
    shell.update({"model": model, "messages": [{"role": "user", "content": ""}]})
    room = size - len(json.dumps(shell, separators=(",", ":")))
    shell["messages"][0]["content"] = ("#00000000# " + prose(room))[:room]
    return json.dumps(shell, separators=(",", ":")).encode()


def write_request(path, key, size=1024, events=0, interval_ms=0, model="auto", fields=b""):
    body = chat_body(size, events, interval_ms, model)
    with open(path, "wb") as f:
        f.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\n"
                b"content-type: application/json\r\nauthorization: Bearer " + key.encode() +
                b"\r\n" + fields + b"content-length: %d\r\n\r\n" % len(body) + body)
    return path


# By the caller's dialect: the path, what stands beside model and text in a body of it, the text.
CALLERS = {
    "openai": ("/v1/chat/completions", {"max_tokens": 256}, "messages"),
    "responses": ("/v1/responses", {"max_output_tokens": 256}, "input"),
    "anthropic": ("/v1/messages", {"max_tokens": 256}, "messages"),
}


def write_cross_request(path, key, caller, model, stream, size=1024):
    """As write_request, in the dialect of the caller."""
    to, shell, field = CALLERS[caller]
    shell = dict(shell, model=model, **({"stream": True} if stream else {}))
    room = size - len(json.dumps(dict(shell, **{field: [{"role": "user", "content": ""}]}),
                                 separators=(",", ":")))
    text = ("#00000000# " + prose(room))[:room]
    body = json.dumps(dict(shell, **{field: [{"role": "user", "content": text}]}),
                      separators=(",", ":")).encode()
    with open(path, "wb") as f:
        f.write(b"POST %s HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
                b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n" %
                (to.encode(), key.encode(), len(body)) + body)
    return path


def start_load(port, connections, seconds, request, *words):
    return subprocess.Popen(["taskset", "-c", str(OTHER_CORE), tool("bench_load"), *words, str(port),
                             str(connections), str(seconds), request], stdout=subprocess.PIPE, text=True)


def end_load(child, timeout_s=300):
    """What bench_load reports. Errors are failures."""
    try:
        out = child.communicate(timeout=timeout_s)[0]
    except BaseException:
        child.kill()
        child.wait()
        raise
    expect(child.returncode == 0, "bench_load failed")
    result = json.loads(out)
    expect(result["errors"] == 0 and result["requests"] > 0, "load saw errors: %s" % result)
    return result


def load(port, connections, seconds, request, *words, timeout_s=300):
    return end_load(start_load(port, connections, seconds, request, *words), timeout_s)


def load_alone(port, connections, seconds, request, pids):
    """As load, but quantiles are of the moments in which these processes stand still."""
    try:
        return load(port, connections, seconds, request, "--still", ",".join(map(str, pids)))
    finally:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)  # Whatever became of the load.
            except ProcessLookupError:
                pass


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
        vote = {"decision_id": lower["x-steelyard-decision-id"], "score": score, "source": "eval"}
        wait_until("a vote to be taken: a key has some a second", lambda: http(
            "POST", cluster.node_url() + "/v1/feedback", vote, key)[0] == 200)
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
    """The node alone on its core; everything that serves it on the other one, behind load and
    provider: in service it is on other machines, and holds up neither clients nor providers."""
    pin(cluster.nodes[0].child.pid, PROXY_CORE)
    pin(cluster.simulator.child.pid, OTHER_CORE)
    for pid in (cluster.control.child.pid, cluster.postgres.pid):
        pin_tree(pid, OTHER_CORE)
        stand_behind(pid)
    session_nice(cluster.postgres.pid, 19)  # pg_ctl began one.


def restart_node(cluster, prefix=(), words=(), timeout_s=60):
    """The same node, state directory and address, under another command (valgrind, say)."""
    node = cluster.nodes[0]
    node.stop()
    program = [i for i, word in enumerate(node.argv) if word.endswith("steelyard-dataplane")][0]
    if not hasattr(node, "usual_argv"):
        node.usual_argv = node.argv[program:]
    node.argv = [*prefix, *node.usual_argv, *words]
    node.start()
    cluster.wait_ready(node, timeout_s)
    pin(node.child.pid, PROXY_CORE)
    return node.child.pid
