"""Two whole control planes that cannot see each other: stopped past their lease, cut off from etcd, stopped in the
middle of a leader's write, and let go on; while people make versions on both, models are trained, a rollout is
looked at every second, and a node serves. RELIABILITY F11.

After each round, by Postgres, by what both control planes say, by the node's own disk and by its log: a version
number has one content, terms and generations never fall, nobody wrote under a term that was not the newest.
"""
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

from harness import Cluster, Failure, expect, http, wait_until
import test_faults as faults

FIRST = True
TTL_S = 2
ARGS = ["--etcd-ttl", "%ds" % TTL_S]
PLAN = {"shadow": {"dwell": "1s", "requests": 3}, "evidence": [], "bucket": "1s",
        "stages": [{"percent": 50, "dwell": "1s", "requests": 3, "units": 0},
                   {"percent": 100, "dwell": "2s", "requests": 3, "units": 0}]}
BEFORE_THE_FENCE = "LOCK TABLE rollout IN ACCESS EXCLUSIVE MODE"  # What is due is read first,
BEHIND_THE_FENCE = "LOCK TABLE rollout IN SHARE MODE"             # what was seen is written last.
KINDS = ("stopped", "cut", "stopped in a write", "cut in turn")
SHARES = (4, 4, 2, 1)
# Numbers given in spite of a rollback are not rolled back: these count every refusal of the fence.
COUNT_REFUSALS = """
CREATE SEQUENCE seen_refused;
CREATE FUNCTION seen_fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_query() LIKE '%idle_in_transaction%' AND NOT EXISTS (SELECT FROM changed) THEN
        PERFORM nextval('seen_refused');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER seen AFTER UPDATE ON leader_fence REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION seen_fence();
-- Who may write at all, by the order of commits: each row a leader writes beside the newest term there is.
CREATE TABLE seen_write (id bigint GENERATED ALWAYS AS IDENTITY, what text, term bigint, newest bigint);
CREATE FUNCTION seen_written() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.term > 0 THEN
        INSERT INTO seen_write (what, term, newest) SELECT TG_TABLE_NAME, NEW.term, max(term) FROM leader_fence
            WHERE role = CASE TG_TABLE_NAME WHEN 'job' THEN 'trainer' ELSE 'rollout' END;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER seen AFTER INSERT ON rollout_event FOR EACH ROW EXECUTE FUNCTION seen_written();
CREATE TRIGGER seen AFTER INSERT ON canary_fold FOR EACH ROW EXECUTE FUNCTION seen_written();
CREATE TRIGGER seen AFTER UPDATE ON job FOR EACH ROW WHEN (NEW.state IN ('running', 'done')) EXECUTE FUNCTION seen_written();
CREATE TABLE seen_term (id bigint GENERATED ALWAYS AS IDENTITY, role text, term bigint, was bigint, holder text);
CREATE FUNCTION seen_terms() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (NEW.term, NEW.holder) IS DISTINCT FROM (OLD.term, OLD.holder) THEN
        INSERT INTO seen_term (role, term, was, holder) VALUES (NEW.role, NEW.term, OLD.term, NEW.holder);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER seen_terms AFTER UPDATE ON leader_fence FOR EACH ROW EXECUTE FUNCTION seen_terms();
"""


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def write_varint(value):
    out = b""
    while value > 0x7f:
        out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
    return out + bytes([value])


def config(provider_url):
    """The usual one, and a policy that people leave alone: its rollouts go on."""
    text = faults.config(provider_url)
    text = text.replace("routes:\n", "routes:\n  rolled: {policy: steady, models: [strong, weak], retries: 1}\n")
    return text.replace("policies:\n", "policies:\n  steady: {type: learned, objective: {quality: 0.95, minimize: cost}"
                        ", explore: 0.05}\n")


# How Params begin: the policy's name, then the tag of the version.
PARAMS = {name: b"\x0a" + bytes([len(name)]) + name.encode() + b"\x10" for name in ("default", "steady")}


class Contents:
    """(what, policy, version) -> the one content that anybody ever told of it."""

    def __init__(self):
        self.told, self.lock, self.wrong, self.count = {}, threading.Lock(), [], 0

    def tell(self, who, what, name, version, content):
        with self.lock:
            first = self.told.setdefault((what, name, version), (who, content))
            self.count += 1
            if first[1] != content:
                self.wrong.append("%s of %s@%d: %s says %s, %s said %s" % (
                    what, name, version, who, content, first[0], first[1]))

    def tell_params(self, who, body):
        for name, head in PARAMS.items():
            if body.startswith(head):
                self.tell(who, "params", name, read_varint(body, len(head))[0], hashlib.sha256(body).hexdigest())


class Background(threading.Thread):
    """step() again and again until it is left; an exception fails the test there."""

    def __init__(self, step, pause_s):
        super().__init__()
        self.step, self.pause_s, self.ending, self.failed = step, pause_s, threading.Event(), None
        self.busy = threading.Lock()  # Who holds it holds it up.

    def run(self):
        while not self.ending.wait(self.pause_s):
            try:
                with self.busy:
                    self.step()
            except Exception as e:
                self.failed = e
                return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.ending.set()
        self.join()
        if self.failed and kind is None:
            raise self.failed


class Hold:
    """A lock of tables in Postgres by the test itself; rollouts are due for a look when it goes."""

    def __init__(self, postgres, lock):
        self.psql = subprocess.Popen(["psql", "-X", "-q", "-At", postgres.conninfo], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        due = "UPDATE rollout SET watched_at = now() - interval '2 s' WHERE ended IS NULL;"
        self._say("BEGIN; %s; %s SELECT count(*) FROM rollout WHERE ended IS NULL;" % (
            lock, due if lock == BEFORE_THE_FENCE else ""))  # Behind the fence the row may be taken.
        answer = self.psql.stdout.readline().strip()
        self.active = int(answer) if answer else 0

    def _say(self, sql):
        self.psql.stdin.write(sql + "\n")
        self.psql.stdin.flush()

    def release(self):
        if self.psql.poll() is None:
            self.psql.communicate("COMMIT;\n")


class World:
    def __init__(self, cluster, dice):
        self.c, self.dice, self.db = cluster, dice, cluster.postgres
        self.contents, self.node_files = Contents(), set()
        self.answers, self.checked = {}, set()
        self.seen_before, self.turned_down, self.provoked, self.missed = [0, 0], [0, 0], 0, 0
        self.key = cluster.make_key()
        self.db.query(COUNT_REFUSALS)
        self.asked = 0

    # --- what goes on ---

    def traffic(self):
        """One request, and a vote for training; the node never fails either."""
        self.asked += 1
        n = self.asked
        status, headers, raw = http("POST", self.c.node_url() + "/v1/chat/completions", {
            "model": ("rolled", "auto", "strong", "weak")[n % 4], "user": "user-%d" % (n % 200),
            "messages": [{"role": "user", "content": "sum %d" % (n // 4)}]}, self.key)
        expect(status == 200, "a request failed: %d %s" % (status, raw[:200]))
        named = {k.lower(): v for k, v in headers.items()}
        http("POST", self.c.node_url() + "/v1/feedback", {
            "decision_id": named["x-steelyard-decision-id"], "score": int(n % 4 != 3), "source": "eval"}, self.key)

    def people(self):
        """A change on either control plane; also on one that is stopped, cut off or does not lead."""
        i = self.dice.randrange(2)
        what = self.dice.choice(["rollback", "rollback to", "promote", "train", "rollouts", "abort"])
        newest = self.newest()
        path, body = "/policies/default/" + what.split()[0], {"reason": "test"}
        if what == "rollback to":
            body["to"] = self.dice.randint(1, newest)
        elif what == "promote":
            path = "/policies/default/%d/promote" % newest
        elif what == "train":
            body = {"target": {"quality": 0.95}, "data": {"mode": "full"}, "promote": self.dice.random() < 0.5}
        elif what == "rollouts":
            body = dict(PLAN, version=newest, reason="test")
        elif what == "abort":
            path = "/rollouts/default/abort"
        status, _ = self.c.admin("POST", path, body, control=i, timeout_s=3)
        expect(status < 500, "%s on %d answered %d" % (path, i, status))
        told = "%s %s" % (what, "done" if 200 <= status < 300 else "unanswered" if status == 0 else "refused")
        self.answers[told] = self.answers.get(told, 0) + 1

    def node_disk(self):
        """What the node took: bodies under the hash of their bytes."""
        directory = os.path.join(self.c.nodes[0].directory, "snapshot", "bodies")
        for name in set(os.listdir(directory)) - self.node_files:
            try:
                with open(os.path.join(directory, name), "rb") as f:
                    body = f.read()
            except OSError:  # Removed since.
                continue
            if len(name) == 64:
                expect(hashlib.sha256(body).hexdigest() == name, "the node keeps a body under another's hash")
                self.contents.tell_params("the node", body)
                self.node_files.add(name)

    # --- rollouts ---

    def newest(self, name="default"):
        return int(self.db.value("SELECT max(version) FROM policy_version WHERE name = '%s'" % name))

    def start_rollout(self):
        """A candidate with the content of the version in service, unless one is under way."""
        if self.db.value("SELECT count(*) FROM rollout WHERE ended IS NULL AND policy = 'steady'") != "0":
            return
        head, old = PARAMS["steady"], bytes.fromhex(self.db.value(
            "SELECT encode(q.body, 'hex') FROM policy_version v JOIN policy_params q ON q.sha256 = v.params WHERE "
            "v.name = 'steady' AND v.state = 'current'"))
        version = self.newest("steady") + 1
        body = head + write_varint(version) + old[read_varint(old, len(head))[1]:]
        sha = hashlib.sha256(body).hexdigest()
        self.db.query(
            "BEGIN; INSERT INTO policy_params (sha256, body) VALUES ('\\x%s', '\\x%s'); INSERT INTO policy_version "
            "(name, version, state, artifact, params, created_by) SELECT name, %d, 'candidate', artifact, '\\x%s', "
            "'test' FROM policy_version WHERE name = 'steady' AND state = 'current'; COMMIT" % (
                sha, body.hex(), version, sha))
        for i in (0, 1):  # Whoever answers.
            status, _ = self.c.admin("POST", "/policies/steady/rollouts",
                                     dict(PLAN, version=version, reason="test"), control=i, timeout_s=3)
            if status != 0:
                return

    def hold(self, lock):
        """The lock, with a rollout under way and somebody waiting for it in the middle of his look."""
        for _ in range(20):
            self.start_rollout()
            hold = Hold(self.db, lock)
            if hold.active > 0:
                return hold
            hold.release()
        raise Failure("no rollout stays under way")

    def wait_caught(self, lock):
        """Whoever leads comes within a tick; who does not asks what is due every five seconds."""
        query = "SELECT id, watched_at >" if lock == BEFORE_THE_FENCE else "UPDATE rollout SET guards"
        time.sleep(1.1 if lock == BEFORE_THE_FENCE else 0)
        wait_until("a control plane to wait", lambda: self.db.value(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%s%%'"
            % query) != "0")

    # --- rounds ---

    def leader(self):
        return self.c.leaders().get("rollout", (0, 0))

    def led_well(self):
        """The last holder says that it leads."""
        i, term = self.leader()
        if term == 0:
            return False
        _, _, text = http("GET", "http://%s/metrics" % self.c.controls[i].addresses()["metrics"], timeout_s=2)
        return ('steelyard_leader_term{role="rollout"} %d' % term).encode() in text

    def wait_other(self, term):
        wait_until("another one to lead", lambda: self.leader()[1] > term)

    def play(self, kind, people):
        wait_until("somebody to lead", self.led_well)
        control, relay = self.c.controls, self.c.relays
        lock = BEHIND_THE_FENCE if kind == "stopped in a write" else BEFORE_THE_FENCE
        with people.busy:  # Under the lock each change would keep a worker, until none is left for an election.
            hold = self.hold(lock)
            try:
                i, term = self.leader()
                self.wait_caught(lock)
                if kind.startswith("stopped"):
                    control[i].kill(signal.SIGSTOP)
                else:  # It goes on, and is held up until it leads no more.
                    relay[i].cut = True
                    self.wait_other(term)
            finally:
                hold.release()
        self.provoked += 1
        self.wait_other(term)
        time.sleep(self.dice.random() * 0.5)
        relay[i].cut = False
        control[i].kill(signal.SIGCONT)
        if kind == "cut in turn":
            wait_until("the other one to say so", self.led_well)
            other, term = self.leader()
            relay[other].cut = True
            self.wait_other(term)
            relay[other].cut = False
        self.note_refusal(kind)

    def refusals(self):
        return int(self.db.value("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM seen_refused"))

    def cut_offs(self):
        with open(os.path.join(self.db.directory, "home")) as f:
            path = os.path.join(f.read().strip(), "server.log")
        with open(path, errors="replace") as f:
            return f.read().count("due to idle-in-transaction timeout")

    def note_refusal(self, kind):
        in_a_write = kind == "stopped in a write"  # The server ends it, or the next one could not begin.
        before = self.seen_before[in_a_write]
        try:
            wait_until("it", lambda: (self.cut_offs() if in_a_write else self.refusals()) > before, 20)
            self.turned_down[in_a_write] += 1
        except Failure:  # It was at something else when it was held up: nothing was tried.
            self.missed += 1
        self.seen_before = [self.refusals(), self.cut_offs()]

    # --- what must be true ---

    def check(self):
        tell, db = self.contents.tell, self.db
        for body, in db.query("SELECT encode(body, 'hex') FROM resource WHERE key LIKE 'params/%'"):
            self.contents.tell_params("what is published", bytes.fromhex(body))
        self.node_disk()
        with self.contents.lock:
            heard = {(name, v) for what, name, v in self.contents.told if what == "params"}
        there = set()
        for name, version, params, artifact in db.query(
                "SELECT name, version, encode(params, 'hex'), coalesce(encode(artifact, 'hex'), '') FROM "
                "policy_version ORDER BY 1, 2"):
            tell("Postgres", "params", name, int(version), params)
            tell("Postgres", "artifact", name, int(version), artifact)
            there.add((name, int(version)))
        expect(heard <= there, "somebody has versions that are not in Postgres: %s" % (heard - there))
        again = self.dice.sample(sorted(self.checked), min(3, len(self.checked)))
        for name, version in sorted(there - self.checked) + again:
            for i in (0, 1):
                status, shown = self.c.admin("GET", "/policies/%s/%d" % (name, version), control=i)
                expect(status == 200, "control-%d does not know %s@%d" % (i, name, version))
                tell("control-%d" % i, "artifact", name, version, shown["artifact"] or "")
                tell("control-%d" % i, "what is said", name, version, json.dumps(
                    [shown["params"], shown["copy_of"], shown["rows"], shown["created"]], sort_keys=True))
            self.checked.add((name, version))
        expect(not self.contents.wrong, "\n".join(self.contents.wrong[:5]))
        self.check_terms()
        self.check_node()

    def check_terms(self):
        stale = self.db.query("SELECT what, term, newest FROM seen_write WHERE term <> newest LIMIT 5")
        expect(not stale, "written under a term that was not the newest: %s" % stale)
        fallen = self.db.query("SELECT role, was, term FROM seen_term WHERE term < was LIMIT 5")
        expect(not fallen, "a term fell: %s" % fallen)
        shared = self.db.query("SELECT role, term FROM seen_term GROUP BY 1, 2 HAVING count(DISTINCT holder) > 1")
        expect(not shared, "a term had two holders: %s" % shared)
        # By the order of writing: two rollouts may be under way, and the older one outlive the term that began the newer.
        fallen = self.db.query("SELECT * FROM (SELECT what, term, lag(term) OVER (PARTITION BY what ORDER BY id) AS before "
                               "FROM seen_write) t WHERE before > term LIMIT 5")
        expect(not fallen, "terms fall: %s" % fallen)

    def check_node(self):
        with open(self.c.nodes[0].log_path, errors="replace") as f:
            taken = [int(g) for g in re.findall(r'configuration in service".*?"generation":(\d+)', f.read())]
        self.generations = len(taken)
        expect(all(a <= b for a, b in zip(taken, taken[1:])), "the node's generation fell")
        expect(taken, "the node says nothing of generations")

    def deposed(self):
        """What the control planes say themselves."""
        total = 0
        for control in self.c.controls:
            _, _, text = http("GET", "http://%s/metrics" % control.addresses()["metrics"])
            total += sum(int(n) for n in re.findall(r"^steelyard_leader_deposed\{.*\} (\d+)", text.decode(), re.M))
        return total

    def report(self):
        one = lambda sql: int(self.db.value(sql))
        return ("%d versions (%d trained) told %d times, %d terms, %d rows of leaders (%s), %d generations on the "
                "node; stale writes in %d rounds: %d refused by the fence (%d statements; %d counted by those who "
                "tried), %d cut off by the server, %d not tried; people: %s" % (
                    len(self.checked), one("SELECT count(*) FROM policy_version WHERE data_digest IS NOT NULL AND "
                                           "copy_of IS NULL"), self.contents.count,
                    one("SELECT count(*) FROM seen_term"), one("SELECT count(*) FROM seen_write"),
                    ", ".join("%s %s" % (n, what) for what, n in self.db.query(
                        "SELECT what, count(*) FROM seen_write GROUP BY 1 ORDER BY 1")),
                    self.generations, self.provoked, self.turned_down[0], self.refusals(), self.deposed(),
                    self.turned_down[1], self.missed,
                    ", ".join("%d %s" % (n, what) for what, n in sorted(self.answers.items()))))


def rounds(kinds, seed, dice):
    started = time.monotonic()
    counts = {}
    with Cluster(config, nodes=1, controls=2, etcd=True, control_args=ARGS,
                 simulator_args=["--latency-percent", "0"]) as cluster:
        world = World(cluster, dice)
        try:
            with Background(world.traffic, 0.05) as traffic, Background(world.node_disk, 0.05) as disk, \
                    Background(world.people, 0.15) as people:
                for n, kind in enumerate(kinds):
                    world.play(kind, people)
                    world.check()
                    for thread in (traffic, disk, people):
                        expect(thread.failed is None, "round %d (%s): %s" % (n, kind, thread.failed))
                    counts[kind] = counts.get(kind, 0) + 1
            world.check()
            expect(world.missed * 3 <= len(kinds), "few stale writes were tried: " + world.report())
        except BaseException:
            print("seed %d, after %d rounds" % (seed, sum(counts.values())))
            for i in (0, 1):
                cluster.relays[i].cut = False
                cluster.controls[i].kill(signal.SIGCONT)
            raise
        return "seed %d: %d rounds in %d s (%s), %s" % (
            seed, len(kinds), time.monotonic() - started,
            ", ".join("%d %s" % (v, k) for k, v in sorted(counts.items())), world.report())


def draw(n):
    seed = int(os.environ.get("STEELYARD_SEED", random.randrange(1 << 30) if n > 3 else 20261121))
    dice = random.Random(seed)
    # Few rounds: one of each of the first kinds, which are the quick ones.
    kinds = dice.choices(KINDS, SHARES, k=n) if n > 3 else list(KINDS[:n])
    return rounds(kinds, seed, dice)


def test_f11_whole_control_planes_give_no_version_two_contents_and_accept_no_stale_write():
    return draw(3)


def long_f11_whole_control_planes_give_no_version_two_contents_and_accept_no_stale_write_in_100_rounds():
    return draw(int(os.environ.get("STEELYARD_ROUNDS", 100)))
