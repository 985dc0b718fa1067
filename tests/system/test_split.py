"""Two leaders that cannot see each other: cut off from etcd, stopped past their lease and let go on.
Whatever happens, no version number gets two contents and no write of an older term comes after one of a
newer; and after each round somebody leads again.
"""
import os
import random
import shutil
import signal
import tempfile
import time

from harness import BIN, Etcd, Failure, Postgres, Process, Relay, expect, wait_until
import test_faults as faults

TTL_MS = 2000
CONTROL = os.path.join(BIN, "steelyard-controlplane")


class Pair:
    """Postgres with the schema, etcd, and two leader_writers with a relay each between."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="sy-split-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        self.processes, self.postgres = [], Postgres(self._dir("pg"))
        try:
            self.postgres.start()
            self._migrate()
            self.etcd = Etcd(self._dir("etcd"))
            self.processes.append(self.etcd.process)
            self.etcd.start()
            self.relays = [Relay(self.etcd.port) for _ in range(2)]
            self.writers = [self._writer(i) for i in range(2)]
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def _dir(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    def _migrate(self):
        """A control plane's start; it leads without etcd, and is gone before the writers come."""
        d = self._dir("control")
        config = os.path.join(d, "steelyard.yaml")
        with open(config, "w") as f:
            f.write(faults.config("http://127.0.0.1:9"))
        control = Process("control", d, [
            CONTROL, "--config", config, "--database", self.postgres.conninfo, "--listen", "127.0.0.1:0",
            "--sync-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--state-dir", d]).start()
        self.processes.append(control)
        control.addresses()
        control.stop()

    def _writer(self, i):
        writer = Process("writer%d" % i, self._dir("writer%d" % i), [
            os.path.join(os.path.dirname(BIN), "tests", "leader_writer"), "--database",
            self.postgres.conninfo, "--etcd", "http://127.0.0.1:%d" % self.relays[i].port, "--name",
            "writer-%d" % i, "--ttl-ms", str(TTL_MS)]).start()
        self.processes.append(writer)
        return writer

    def lines(self, i):
        with open(self.writers[i].log_path, errors="replace") as f:
            return [line.split() for line in f if line.endswith("\n") and not line.startswith("{")]

    def count(self):
        return int(self.postgres.value("SELECT count(*) FROM policy_version WHERE name = 'split'"))

    def leader(self):
        holder, term = self.postgres.query("SELECT holder, term FROM leader_fence WHERE role = 'trainer'")[0]
        return int(holder[-1]) if holder.startswith("writer-") else None, int(term)

    def __exit__(self, kind, *_):
        for process in self.processes:
            process.kill(signal.SIGCONT)
            if kind is not None:
                print("--- %s\n%s" % (process.name, process.log_tail()))
        for relay in getattr(self, "relays", []):
            relay.close()
        for process in reversed(self.processes):
            try:
                process.stop(10)
            except Failure:
                pass
        self.postgres.stop()
        if not os.environ.get("STEELYARD_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)


def settle(pair, seen):
    """Until versions are written again by the holder of the newest term."""
    wait_until("versions to be written again", lambda: pair.count() > seen)


def play(pair, dice):
    """One round. Says what was done."""
    leader, term = pair.leader()
    kind = dice.choice(["stop", "stop", "cut", "cut and stop", "both cut", "etcd stopped"])
    time.sleep(dice.random() * 0.2)
    if "stop" in kind and kind != "etcd stopped":
        pair.writers[leader].kill(signal.SIGSTOP)
    if kind in ("cut", "cut and stop"):
        pair.relays[leader].cut = True
    if kind == "both cut":
        for relay in pair.relays:
            relay.cut = True
    if kind == "etcd stopped":
        pair.etcd.process.kill(signal.SIGSTOP)
    if kind in ("stop", "cut", "cut and stop"):
        seen = pair.count()
        wait_until("another leader", lambda: pair.leader()[1] > term)
        if dice.random() < 0.7:
            settle(pair, seen)
    else:
        time.sleep(TTL_MS / 1000 + 0.3 + dice.random())
    seen = pair.count()
    for relay in pair.relays:
        relay.cut = False
    pair.etcd.process.kill(signal.SIGCONT)
    pair.writers[leader].kill(signal.SIGCONT)
    settle(pair, seen)
    return kind


def check(pair):
    """By the rows: terms never fall. By what was said: each accepted version is there, as it was said."""
    rows = pair.postgres.query(
        "SELECT v.version, convert_from(a.body, 'UTF8') FROM policy_version v JOIN policy_artifact a "
        "ON a.sha256 = v.artifact WHERE v.name = 'split' ORDER BY v.version")
    content = {int(v): c for v, c in rows}
    expect(list(content) == list(range(1, len(rows) + 1)), "version numbers have holes or repeat")
    terms = [int(c.split("/")[1]) for c in content.values()]
    for i in range(1, len(terms)):
        expect(terms[i] >= terms[i - 1], "version %d of term %d came after one of term %d"
               % (i + 1, terms[i], terms[i - 1]))
    holders = {}
    for c in content.values():
        holder, term, _ = c.split("/")
        expect(holders.setdefault(term, holder) == holder, "term %s had two holders" % term)
    accepted = refused = 0
    for i in range(2):
        for line in pair.lines(i):
            if line[0] == "accepted":
                accepted += 1
                expect(content.get(int(line[1])) == line[3], "version %s is not what was accepted" % line[1])
            refused += line[0] == "refused"
    expect(len(set(content.values())) == len(content), "one content has two numbers")
    return len(content), len(set(terms)), accepted, refused


def rounds(n):
    seed = int(os.environ.get("STEELYARD_SEED", random.randrange(1 << 30) if n > 4 else 20261134))  # One of each kind, nearly.
    dice, kinds = random.Random(seed), {}
    started = time.monotonic()
    with Pair() as pair:
        wait_until("a leader that writes", lambda: pair.leader()[0] is not None and pair.count() > 0)
        for _ in range(n):
            kind = play(pair, dice)
            kinds[kind] = kinds.get(kind, 0) + 1
        for writer in pair.writers:
            expect(writer.stop() == 0, "a writer did not end well:\n" + writer.log_tail())
        versions, terms, accepted, refused = check(pair)
    expect(terms > 1, "there was only one leader")
    return "seed %d: %d rounds in %d s (%s), %d versions of %d terms, %d accepted, %d refused" % (
        seed, n, time.monotonic() - started, ", ".join("%d %s" % (v, k) for k, v in sorted(kinds.items())),
        versions, terms, accepted, refused)


def test_f11_no_version_has_two_contents_and_no_stale_write_is_accepted():
    return rounds(4)


def long_f11_no_version_has_two_contents_and_no_stale_write_is_accepted_in_100_rounds():
    return rounds(100)
