"""What an orchestrator relies on: how a node ends while streams run, keys and configuration that are replaced on disk,
schema changes by somebody else, and the signals."""
import json
import os
import signal
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import BIN, ROOT, Cluster, expect, http, wait_until

CHUNK = b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}\n\n'
END = CHUNK % (b"", b'"stop"') + b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[],' \
    b'"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\ndata: [DONE]\n\n'
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}


class Provider:
    """Notes the keys it is shown; a stream stands after its first chunk until the test lets it end."""

    def __init__(self):
        self.keys, self.streams, self.go_on = [], 0, threading.Semaphore(0)
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.keys.append(self.headers.get("authorization"))
                self.send_response(200)
                if not body.get("stream"):
                    data = json.dumps(ANSWER).encode()
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    return
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(CHUNK % (b"one", b"null"))
                provider.streams += 1
                provider.go_on.acquire()
                try:
                    self.wfile.write(END)
                except OSError:
                    pass
                self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d/v1" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def config_of(url, key="", models=("m",)):
    return "\n".join(
        ["version: 1", "providers:", '  p: {type: openai, base_url: "%s", private: true%s}' % (url, key), "models:"] +
        ["  %s: {deployments: [{provider: p}], price: {input: \"1 USD\", output: \"1 USD\"}}" % m for m in models] +
        ["routes:", "  auto: {policy: default, models: [%s]}" % models[0], ""])


def ask(cluster, key):
    return http("POST", cluster.node_url() + "/v1/chat/completions",
                {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, key)


class Stream:
    """One streamed request on a connection of its own."""

    def __init__(self, target, key):
        body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
        self.socket = socket.create_connection(target, 30)
        self.socket.sendall(("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
                             "content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (key, len(body), body)).encode())
        self.raw = b""
        while b'"one"' not in self.raw:
            self._more()

    def _more(self):
        data = self.socket.recv(65536)
        self.raw += data
        return data

    def rest(self):
        while self._more():
            pass
        return self.raw.decode()


def refused(target):
    try:
        socket.create_connection(target, 5).close()
        return False
    except ConnectionRefusedError:
        return True


def test_f31_a_node_drains_as_written():
    provider = Provider()
    with Cluster(lambda _: config_of(provider.url), node_args=["--drain-delay", "10s", "--drain-timeout", "120s"]) as c:
        key, node, target = c.make_key(), c.nodes[0], c.target()
        probes = "http://" + node.addresses()["metrics"]
        ends, stays = Stream(target, key), Stream(target, key)
        node.kill(signal.SIGTERM)
        wait_until("the node to say that it is not ready", lambda: http("GET", probes + "/readyz")[0] == 503)
        expect(http("GET", probes + "/livez")[0] == 200, "not alive while draining")
        status, headers, _ = ask(c, key)  # A load balancer may not know yet.
        headers = {k.lower(): v for k, v in headers.items()}
        expect(status == 200 and headers.get("connection") == "close", "%s %s" % (status, headers))
        wait_until("the listener to close", lambda: refused(target))
        expect(node.alive, "ended with streams under way")
        provider.go_on.release()
        # Either stream may be the one that ends: the provider's order is not the clients'.
        ended = threading.Thread(target=ends.rest)
        other = threading.Thread(target=stays.rest)
        ended.start(), other.start()
        wait_until("one stream to end", lambda: not ended.is_alive() or not other.is_alive())
        expect(ended.is_alive() or other.is_alive(), "both streams ended")
        expect(node.alive, "ended with a stream under way")
        node.kill(signal.SIGTERM)  # A second one: no more waiting.
        ended.join(120), other.join(120)
        expect(node.child.wait(120) == 0, "exit code %s" % node.child.returncode)
        texts = sorted([ends.raw.decode(), stays.raw.decode()], key=lambda t: "[DONE]" not in t)
        expect("data: [DONE]" in texts[0] and '"error"' not in texts[0], texts[0])
        expect('"error"' in texts[1] and "one" in texts[1], "no error inside the stream: " + texts[1])
        provider.go_on.release()
        rows = int(c.postgres.value("SELECT count(*) FROM decision"))
        expect(rows == 3, "%d records of 3 were flushed" % rows)


def test_a_providers_key_is_read_again_when_its_file_changes():
    provider = Provider()
    holder = {}

    def config(_):
        return config_of(provider.url, ', api_key: "${file:%s}"' % holder["path"])

    class Watched(Cluster):
        def _start(self):
            holder["path"] = os.path.join(self.directory, "provider.key")
            write_key("first")
            super()._start()

    def write_key(text):
        with open(holder["path"] + ".new", "w") as f:
            f.write(text + "\n")
        os.rename(holder["path"] + ".new", holder["path"])

    def shown():
        expect(ask(c, key)[0] == 200, "a request failed")
        return provider.keys[-1]

    with Watched(config) as c:
        key, node = c.make_key(), c.nodes[0]
        expect(shown() == "Bearer first", provider.keys)
        write_key("second")
        wait_until("the new key by itself", lambda: shown() == "Bearer second")
        write_key("third")
        node.kill(signal.SIGHUP)
        wait_until("the new key by a signal", lambda: shown() == "Bearer third")
        os.unlink(holder["path"])
        node.kill(signal.SIGHUP)
        wait_until("the node to have looked", lambda: "nothing to reload" in node.log_tail(200))
        expect(shown() == "Bearer third", "the key was lost with its file")
        node.kill(signal.SIGQUIT)
        wait_until("the state in the log", lambda: '"worker state"' in node.log_tail(200))


def test_the_control_plane_takes_what_a_cluster_mounts():
    provider = Provider()
    with Cluster(lambda _: config_of(provider.url)) as c:
        expect(c.control.stop() == 0, "control plane did not end well")
        # As a ConfigMap is mounted: a link to a folder, replaced by renaming.
        mount = os.path.join(c.directory, "mount")
        for name, models in (("one", ("m",)), ("two", ("m", "added")), ("bad", ())):
            os.makedirs(os.path.join(mount, name))
            with open(os.path.join(mount, name, "steelyard.yaml"), "w") as f:
                f.write(config_of(provider.url, models=models) if models else "version: 1\nproviders: {}\nnonsense: 1\n")

        def point_to(name):
            os.symlink(name, os.path.join(mount, "..new"))
            os.rename(os.path.join(mount, "..new"), os.path.join(mount, "..data"))

        point_to("one")
        key_file = os.path.join(c.directory, "root.key")
        with open(key_file, "w") as f:
            f.write("12" * 32 + "\n")
        os.unlink(os.path.join(c.control.directory, "hash.key"))
        c.control.argv += ["--config", os.path.join(mount, "..data", "steelyard.yaml"), "--config-watch", "--no-auto-migrate",
                           "--hash-key-file", key_file]
        c.control.start().addresses()
        expect(not os.path.exists(os.path.join(c.control.directory, "hash.key")), "a key of its own was made")

        def models():
            return [m["id"] for m in c.admin("GET", "/models")[1].get("items", [])]

        wait_until("the first configuration", lambda: models() == ["m"])
        point_to("two")
        wait_until("the second by itself", lambda: sorted(models()) == ["added", "m"])
        point_to("bad")
        wait_until("the bad one to be refused", lambda: "the old one stays" in c.control.log_tail(200))
        expect(sorted(models()) == ["added", "m"], "a bad file changed something")
        c.control.kill(signal.SIGQUIT)
        wait_until("the state in the log", lambda: '"state"' in c.control.log_tail(50))
        expect(c.control.alive, "ended by SIGQUIT")

        with open(key_file, "w") as f:
            f.write("too short\n")
        expect(c.control.stop() == 0, "control plane did not end well")
        done = subprocess.run(c.control.argv, capture_output=True, text=True)
        expect(done.returncode == 78 and "root.key" in done.stderr, "exit %d: %s" % (done.returncode, done.stderr))


def test_telemetry_is_kept_as_long_as_the_file_says_or_the_option():
    """store.retention of the file; --retention-days wins. A day is made by hand as if long ago."""
    def config(url):
        return config_of(url + "/v1") + "store: {retention: 30d}\n"

    with Cluster(config, nodes=0) as c:
        def make_day(days_ago):
            return c.postgres.value(
                "DO $$ DECLARE d date := (now() AT TIME ZONE 'UTC')::date - %d; BEGIN EXECUTE format("
                "'CREATE TABLE %%I PARTITION OF decision FOR VALUES FROM (%%L) TO (%%L)', "
                "'decision_' || to_char(d, 'YYYYMMDD'), d::timestamp AT TIME ZONE 'UTC', "
                "(d + 1)::timestamp AT TIME ZONE 'UTC'); END $$; "
                "SELECT 'decision_' || to_char((now() AT TIME ZONE 'UTC')::date - %d, 'YYYYMMDD')"
                % (days_ago, days_ago))

        def restart(*options):
            c.control.stop()
            c.control.argv = argv + list(options)
            c.control.start()
            metrics = "http://%s/readyz" % c.control.addresses()["metrics"]
            wait_until("the control plane to be ready", lambda: http("GET", metrics)[0] == 200)

        def exists(day):
            return c.postgres.value("SELECT to_regclass('%s') IS NOT NULL" % day) == "t"

        argv = list(c.control.argv)
        young, old = make_day(20), make_day(60)
        restart("--retention-days", "0")
        expect(exists(young) and exists(old), "a day went although all is kept for ever")
        restart("--retention-days", "90")
        expect(exists(young) and exists(old), "the file counted although the option was given")
        restart()
        wait_until("the old day to go by the 30 days of the file", lambda: not exists(old))
        expect(exists(young), "30 days of the file took a day of 20")
        restart("--retention-days", "10")
        wait_until("the other one to go by the 10 days of the option", lambda: not exists(young))


def test_the_schema_is_left_to_migrate():
    provider = Provider()
    with Cluster(lambda _: config_of(provider.url), nodes=0) as c:
        c.postgres.query("CREATE DATABASE fresh")
        database = c.postgres.conninfo.replace("dbname=steelyard", "dbname=fresh")
        program = os.path.join(BIN, "steelyard-controlplane")
        state = os.path.join(c.directory, "fresh")
        done = subprocess.run([program, "--config", c.config_path, "--database", database, "--no-auto-migrate", "--listen",
                               "127.0.0.1:0", "--sync-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0",
                               "--state-dir", state], capture_output=True, text=True, timeout=120)
        expect(done.returncode == 1 and "has schema 0" in done.stdout + done.stderr, done.stdout + done.stderr)
        waiting = subprocess.Popen([program, "wait-schema", "--database", database], stderr=subprocess.PIPE, text=True)
        try:
            expect("waiting for the schema" in waiting.stderr.readline(), "did not wait")
            two = [subprocess.Popen([program, "migrate", "--database", database], stdout=subprocess.PIPE, text=True)
                   for _ in range(2)]
            applied = sorted(int(p.communicate(timeout=120)[0].split()[0]) for p in two)
            expect(applied[0] == 0 and applied[1] > 0 and all(p.returncode == 0 for p in two), "applied %s" % applied)
            expect(waiting.wait(120) == 0, "wait-schema failed")
        finally:
            waiting.kill()
            waiting.wait()


def test_nodes_may_share_a_certificate_and_strangers_may_not():
    """The certificates that deploy/make-certs makes, which are those that the chart makes."""
    provider = Provider()
    with Cluster(lambda _: config_of(provider.url), nodes=0) as c:
        certs = os.path.join(c.directory, "certs")
        subprocess.run([os.path.join(ROOT, "deploy", "make-certs"), certs, "127.0.0.1"], check=True)
        expect(c.control.stop() == 0, "control plane did not end well")
        c.control.argv += ["--sync-cert", certs + "/control.crt", "--sync-key", certs + "/control.key", "--sync-ca",
                           certs + "/ca.crt"]
        c.control.start().addresses()
        for i, name in enumerate(("node", "node", "control")):
            node = c._node(i)
            node.argv += ["--control-cert", "%s/%s.crt" % (certs, name), "--control-key", "%s/%s.key" % (certs, name),
                          "--control-ca", certs + "/ca.crt"]
            c.nodes.append(node.start())
        for node in c.nodes[:2]:
            c.wait_ready(node)
        # The third shows a good certificate that is no node's; by now it had the time of two others.
        metrics = c.nodes[2].addresses()["metrics"]
        expect(http("GET", "http://%s/readyz" % metrics)[0] == 503, "a certificate that is no node's was taken")
        connected = [n for n in c.admin("GET", "/status")[1]["nodes"] if n["connected"]]
        expect(len(connected) == 2, connected)
