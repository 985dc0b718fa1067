"""Everything that a run needs, started once: providers, proxies, the node with its control plane."""
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time

from bed import (Cluster, PROXY_CORE, Upstream, config, expect, http, pin_cluster, train_policy,
                 transports, wait_until, write_cross_request, write_request)
from procfs import pin, session_nice, tree
from proxies import DecidingRelay, Haproxy, Nginx, Relay

DESCRIPTORS = 65536
SETTLE_MOST_S = 300
SETTLE_LOOK_S = 0.2  # A look costs the node as much as a few requests do.


def progress(text):
    print(text, file=sys.stderr, flush=True)


def raise_descriptors():
    """What this process and those it starts may open: up to 65,536, where that is allowed."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (DESCRIPTORS, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            return limit
        except (ValueError, OSError):
            continue  # More than the hard limit takes a privilege.
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Stand:
    """A context manager: leaving it, by Ctrl-C too, stops all it started and removes its files."""

    def __init__(self, tls=True, proxies=True):
        self.want_tls, self.want_proxies = tls, proxies

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="sy-bench-")
        os.chmod(self.directory, 0o755)
        self.stoppable, self.cluster, self.notes = [], None, []
        self.descriptors = raise_descriptors()
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def add(self, thing):
        """Stopped when the stand is left."""
        self.stoppable.append(thing)
        return thing

    def _start(self):
        self.upstream = self.add(Upstream(self.directory))
        self.tls = self.add(Upstream(self.directory, tls=True)) if self.want_tls else None
        self.proxies, self.relays = [], []
        if self.want_proxies:
            self.proxies = [self._start_proxy(kind, self.tls) for kind in (Nginx, Haproxy)]
            self.relays = [self._start_proxy(kind, None) for kind in (Relay, DecidingRelay)]
        self.transports = transports(self.directory)
        if "lean" not in self.transports:
            progress("transport lean: not built")
        self.node_variants = self.transports or [None]
        self.variant = (False, self.node_variants[0])
        progress("starting the node and training its policy")
        self.cluster = Cluster(lambda _: config(self.upstream, self.variant[1]),
                               node_args=["--workers", "1"]).__enter__()
        self.key = self.cluster.make_key("bench")
        train_policy(self.cluster, self.key)
        pin_cluster(self.cluster)

    def _start_proxy(self, kind, tls):
        proxy = self.add(kind(self.directory, self.upstream, tls)).start()
        for pid in proxy.pids:
            pin(pid, PROXY_CORE)
        return proxy

    def __exit__(self, *exc):
        if exc[0] is KeyboardInterrupt:
            exc = (None, None, None)  # Nothing went wrong: the cluster need not show its logs.
        if self.cluster is not None:
            self.cluster.__exit__(*exc)
        for thing in reversed(self.stoppable):
            thing.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def node_pid(self):
        return self.cluster.nodes[0].child.pid

    @property
    def node_port(self):
        return self.cluster.target()[1]

    def node_name(self, transport):
        return "node" if transport is None else "node " + transport

    def request(self, size=1024, events=0, interval_ms=20):
        path = os.path.join(self.directory, "request-%d-%d-%d" % (size, events, interval_ms))
        return path if os.path.exists(path) else write_request(path, self.key, size, events, interval_ms)

    def cross_request(self, caller, provider, stream):
        """By a caller of one dialect for a model whose provider speaks one."""
        model = "at-" + provider + ("-stream" if stream else "")
        path = os.path.join(self.directory, "%s-%s" % (caller, model))
        return path if os.path.exists(path) else write_cross_request(path, self.key, caller, model, stream)

    def charged_request(self, size):
        """With a key that has budgets on five accounts: its own, a user's, a team's, an
        organisation's and a tag's; none of them runs out."""
        path = os.path.join(self.directory, "charged-%d" % size)
        if not os.path.exists(path):
            self.make("/orgs", {"name": "bench"})
            self.make("/teams", {"name": "bench", "org": "bench"})
            made = self.make("/keys", {"name": "charged", "team": "bench", "user": "bench"})
            for account in ("org:bench", "team:bench", "user:bench", "tag:bench=yes",
                            "key:%s" % made["id"]):
                self.make("/budgets", {"account": account, "limit_usd": "1000000", "period": "month"})
            write_request(path, made["key"], size, fields=b"x-steelyard-tags: bench=yes\r\n")
            wait_until("the budgets to be on the path", lambda: self._charged(path))
        return path

    def make(self, path, body):
        status, made = self.cluster.admin("POST", path, body)
        expect(status in (200, 201), "%s answered %d: %s" % (path, status, made))
        return made

    def _charged(self, path):
        """Whether a request with this key is recorded with five charges."""
        with open(path, "rb") as f:
            head, body = f.read().split(b"\r\n\r\n", 1)
        key = head.split(b"Bearer ")[1].split(b"\r\n")[0].decode()
        status, headers, _ = http("POST", self.cluster.node_url() + "/v1/chat/completions",
                                  json.loads(body), key, {"x-steelyard-tags": "bench=yes"})
        if status != 200:
            return False
        self.cluster.wait_drained()
        found = self.cluster.postgres.value("SELECT count(DISTINCT budget_id) FROM budget_ledger")
        return int(found) == 5

    def _in_service(self):
        with open(self.cluster.nodes[0].log_path, "rb") as f:
            return f.read().count(b"configuration in service")

    def configure(self, upstream, transport):
        """Pushes a configuration and waits until the node says that it is in service."""
        before = self._in_service()
        self.cluster.write_config(config(upstream, transport))
        self.cluster.control.kill(signal.SIGHUP)
        wait_until("the node to take the configuration", lambda: self._in_service() > before)

    def use(self, tls, transport):
        if self.variant != (tls, transport):
            self.forget_log()
            self.configure(self.tls if tls else self.upstream, transport)
            self.variant = (tls, transport)

    def apart(self):
        """What serves the node here and is on other machines in service."""
        return [pid for root in (self.cluster.control.child.pid, self.cluster.postgres.pid)
                for pid in tree(root)]

    def settle(self):
        """Until all that the node was asked for is stored: what it does for that belongs to those
        requests, and nobody who is measured next has it beside him."""
        deadline, postgres = time.monotonic() + SETTLE_MOST_S, self.cluster.postgres.pid
        session_nice(postgres, 0)  # Others may use the machine, and nobody is measured now.
        while self.cluster.metric(0, "steelyard_spool_records") != 0:
            expect(time.monotonic() < deadline, "records were not stored within %d s" % SETTLE_MOST_S)
            time.sleep(SETTLE_LOOK_S)
        session_nice(postgres, 19)

    def settle_of(self, pids):
        """What to wait for after whoever has these processes was asked."""
        if self.node_pid in pids:
            return self.settle
        return next((p.settle for p in self.relays + self.proxies if p.pids == pids), lambda: None)

    def forget_log(self):
        """The access log has a line a request; it is written as in service and not kept."""
        if self.cluster.nodes[0].alive:
            os.truncate(self.cluster.nodes[0].log_path, 0)

    def contestants(self, tls, logging=False, only_marked=False, bare=False):
        """(name, make ready, port, pids) in the order of a round; logging: nginx with an access log
        too; only_marked: only those that the marks compare; bare: what does little but relay too."""
        if bare:
            for relay in self.relays:
                yield relay.name, lambda: None, relay.port, relay.pids
        for proxy in self.proxies:
            if not only_marked or proxy.name == "nginx":
                yield proxy.name, lambda: None, proxy.tls_port if tls else proxy.port, proxy.pids
            if logging and proxy.log_port is not None:
                yield proxy.name + " logging", proxy.forget_log, proxy.log_port, proxy.pids
        for transport in self.node_variants[:1] if only_marked else self.node_variants:
            yield (self.node_name(transport), lambda t=transport: self.use(tls, t), self.node_port,
                   [self.node_pid])

    def stored(self):
        return int(self.cluster.postgres.value("SELECT count(*) FROM decision"))

    def fitting(self, wanted):
        """How many proxied connections, two descriptors each, the node may have; said when fewer."""
        room = (self.descriptors - 400) // 2
        if room < wanted:
            self.notes.append("%d connections instead of %d: %d descriptors are allowed (ulimit -n)" % (
                room, wanted, self.descriptors))
        return min(room, wanted)
