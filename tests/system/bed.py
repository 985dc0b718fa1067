"""A cluster as people run it, each process on a host of its own (network.py): three control planes, four nodes,
etcd, Postgres, two simulated providers, and the test itself as the clients' host. Everything between the planes is
mTLS, with a CA and certificates that the bed makes.
"""
import asyncio
import os
import subprocess
import uuid

from harness import (BIN, Cluster, Failure, Postgres, Process, expect, http, http_json, wait_until)
from loadclient import LoadClient
from network import Network

API, METRICS, ADMIN, SYNC, ETCD, SIMULATOR = 8080, 9464, 8090, 8091, 2379, 8099


class Authority:
    """A CA of the bed's own; certificates for hosts and nodes."""

    def __init__(self, directory):
        self.directory = directory
        self.ca = os.path.join(directory, "ca.crt")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-days", "2", "-subj", "/CN=test bed", "-keyout", self._path("ca.key"), "-out", self.ca)

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _openssl(self, *arguments):
        out = subprocess.run(["openssl"] + list(arguments), capture_output=True, text=True)
        expect(out.returncode == 0, "openssl %s: %s" % (arguments[0], out.stderr))

    def issue(self, name, alternatives):
        """(certificate, key) files; alternatives as OpenSSL writes them, "IP:10.0.0.1,URI:urn:uuid:..."."""
        cert, key, request, extra = (self._path(name + e) for e in (".crt", ".key", ".csr", ".ext"))
        with open(extra, "w") as f:
            f.write("subjectAltName=%s\n" % alternatives)
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-subj", "/CN=" + name, "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._path("ca.key"),
                      "-CAcreateserial", "-days", "2", "-extfile", extra, "-out", cert)
        return cert, key


class RemotePostgres(Postgres):
    """The private cluster on a host of its own; replicas reach it over TCP."""

    def __init__(self, directory, host):
        super().__init__(directory)
        self.host = host

    def start(self):
        super().start()
        with open(os.path.join(self.directory, "home")) as f:
            data = os.path.join(f.read().strip(), "data")
        with open(os.path.join(data, "postgresql.conf"), "a") as f:
            f.write("listen_addresses = '%s'\nmax_connections = 200\n" % self.host.address)
        with open(os.path.join(data, "pg_hba.conf"), "a") as f:
            f.write("host all all %s/24 trust\n" % self.host.address)
        self._tool("restart")
        self.conninfo = "host=%s user=steelyard dbname=steelyard connect_timeout=5" % self.host.address
        return self

    def _tool(self, action):
        subprocess.run(self.host.command([self.tool, action, self.directory]), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Bed(Cluster):
    """`config(fast_url, slow_url)` is the configuration file of all replicas. The slow provider's models take
    slow_percent of the time in their table."""

    def __init__(self, config, controls=3, nodes=4, slow_percent=7700, simulator_args=(), node_args=(), env=None):
        super().__init__(config, nodes, simulator_args, node_args, env)
        self.control_count, self.slow_percent = controls, slow_percent
        self.network = None
        self.controls, self.simulators = [], []

    def _start(self):
        self.network = Network().__enter__()
        self.authority = Authority(self._dir("tls"))
        hosts = {name: self.network.add(name) for name in
                 ["load", "pg", "etcd", "fast", "slow"] + ["cp%d" % i for i in range(self.control_count)]
                 + ["n%d" % i for i in range(self.node_count)]}
        self.hosts = hosts
        self.network.enter(hosts["load"])
        self.provider_ledgers = []
        urls = [self._simulator(name, percent) for name, percent in
                (("fast", 100), ("slow", self.slow_percent))]
        self.postgres = RemotePostgres(self._dir("pg"), hosts["pg"])
        self.postgres.start()
        self._etcd()
        self.config_path = os.path.join(self.directory, "steelyard.yaml")
        self.write_config(self.config_of(*urls))
        self.root_key = os.path.join(self.directory, "root.key")
        with open(self.root_key, "w") as f:
            f.write(os.urandom(32).hex())
        os.chmod(self.root_key, 0o600)
        self.operator_key = "sk-op-" + os.urandom(24).hex()
        self.env = dict(self.env, STEELYARD_OPERATOR_KEY=self.operator_key)
        self.controls = [self._control(i) for i in range(self.control_count)]
        for control in self.controls:
            self.start_control(control)
        self.nodes = [self._node(i).start() for i in range(self.node_count)]
        for node in self.nodes:
            self.wait_ready(node)

    def _process(self, name, host, argv, env=None):
        d = self._dir(name)
        process = Process(name, d, self.hosts[host].command(argv + ["--state-dir", d]), env)
        process.host = self.hosts[host]
        self.processes.append(process)
        return process

    def _simulator(self, name, percent):
        ledger = os.path.join(self._dir("sim-" + name), "ledger.jsonl")
        address = "%s:%d" % (self.hosts[name].address, SIMULATOR)
        self.provider_ledgers.append(ledger)
        process = self._process("sim-" + name, name, [
            os.path.join(BIN, "steelyard-simulator"), "--listen", address, "--ledger", ledger,
            "--latency-percent", str(percent)] + self.simulator_args).start()
        process.addresses()
        self.simulators.append(process)
        return "http://" + address

    def _etcd(self):
        host, d = self.hosts["etcd"], self._dir("etcd")
        cert, key = self.authority.issue("etcd", "IP:" + host.address)
        self.etcd_url = "https://%s:%d" % (host.address, ETCD)
        self.etcd = Process("etcd", d, host.command([
            "etcd", "--name", "bed", "--data-dir", os.path.join(d, "data"), "--unsafe-no-fsync",
            "--listen-client-urls", self.etcd_url, "--advertise-client-urls", self.etcd_url,
            "--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
            "--initial-cluster", "bed=http://127.0.0.1:2380", "--cert-file", cert, "--key-file", key,
            "--trusted-ca-file", self.authority.ca, "--client-cert-auth"])).start()
        self.processes.append(self.etcd)
        self.etcd_files = self.authority.issue("etcd-client", "DNS:steelyard")

        def healthy():
            expect(self.etcd.alive, "etcd ended early:\n" + self.etcd.log_tail())
            return subprocess.run(
                ["etcdctl", "--endpoints", self.etcd_url, "--cacert", self.authority.ca, "--cert",
                 self.etcd_files[0], "--key", self.etcd_files[1], "endpoint", "health"], capture_output=True,
                env=dict(os.environ, ETCDCTL_API="3")).returncode == 0
        wait_until("etcd to serve", healthy)

    def _control(self, i):
        name = "cp%d" % i
        host = self.hosts[name]
        cert, key = self.authority.issue(name, "IP:%s,DNS:%s" % (host.address, name))
        return self._process(name, name, [
            os.path.join(BIN, "steelyard-controlplane"), "--config", self.config_path, "--database",
            self.postgres.conninfo, "--listen", "%s:%d" % (host.address, ADMIN), "--allow-remote-admin",
            "--sync-listen", "%s:%d" % (host.address, SYNC), "--sync-cert", cert, "--sync-key", key,
            "--sync-ca", self.authority.ca, "--metrics-listen", "%s:%d" % (host.address, METRICS),
            "--hash-key-file", self.root_key, "--replica-id", name, "--etcd", self.etcd_url,
            "--etcd-ca", self.authority.ca, "--etcd-cert", self.etcd_files[0], "--etcd-key",
            self.etcd_files[1]], self.env)

    def start_control(self, control):
        control.start()
        control.addresses()
        self.wait_ready(control)

    def _node(self, i):
        name = "n%d" % i
        identity = str(uuid.uuid4())
        cert, key = self.authority.issue(name, "URI:urn:uuid:" + identity)
        address = self.hosts[name].address
        return self._process(name, name, [
            os.path.join(BIN, "steelyard-dataplane"), "--listen", "%s:%d" % (address, API), "--metrics-listen",
            "%s:%d" % (address, METRICS), "--control", ",".join(
                "%s:%d" % (c.host.address, SYNC) for c in self.controls),
            "--control-cert", cert, "--control-key", key, "--control-ca", self.authority.ca, "--node-id", identity,
            "--drain-delay", "2s", "--workers", "1"] + self.node_args, self.env)

    def admin(self, method, path, body=None, replica=None, **kw):
        """At the first replica that is up, or at the one asked for."""
        for control in self.controls if replica is None else [self.controls[replica]]:
            if control.alive:
                url = "http://%s:%d/api/v1%s" % (control.host.address, ADMIN, path)
                return http_json(method, url, body, self.operator_key, **kw)
        raise Failure("no control plane is up")

    def provider_entries(self):
        entries = []
        for self.provider_ledger in self.provider_ledgers:
            entries += super().provider_entries()
        return entries

    def break_model(self, simulator, **faults):
        status, _, raw = http("POST", "http://%s:%d/simulator/faults" % (simulator.host.address, SIMULATOR), faults)
        expect(status == 200, "the simulator refused %s: %s" % (faults, raw))

    def __exit__(self, *args):
        try:
            super().__exit__(*args)
        finally:
            if self.network:
                self.network.__exit__()


class BalancedClient(LoadClient):
    """Sends as a load balancer would: only to nodes whose /readyz says so, asked five times a second. Streams go to
    `slow_model`."""

    def __init__(self, bed, key, rate, duration_s, slow_model, **kw):
        super().__init__([bed.target(i) for i in range(bed.node_count)], key, rate, duration_s, **kw)
        self.slow_model = slow_model
        self.ready = list(self.targets)

    def choose_target(self, number):
        return self.ready[number % len(self.ready)]

    def choose_model(self, entry):
        return self.slow_model if entry.stream else self.model

    async def _main(self):
        watcher = asyncio.create_task(self._watch())
        await super()._main()
        watcher.cancel()

    async def _watch(self):
        while True:
            answers = await asyncio.gather(*(is_ready(host) for host, _ in self.targets))
            self.ready = [t for t, ready in zip(self.targets, answers) if ready] or self.ready
            await asyncio.sleep(0.2)


async def is_ready(address):
    writer = None
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, METRICS), 1)
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")
        return b" 200 " in await asyncio.wait_for(reader.readline(), 1)
    except (OSError, asyncio.TimeoutError):
        return False
    finally:
        if writer:
            writer.close()
