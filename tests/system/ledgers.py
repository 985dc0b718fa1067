"""The oracle of every fault run: three ledgers that must agree.

The load client knows what it was answered, the provider what it served, Postgres what was recorded.
No spending without a row, no answer without a row, no row twice, costs equal to the nano-dollar.
Rows are decoded here from the stored protobuf, not by the code under test.
"""
import collections

from harness import Failure

STATUS_OK, STATUS_NODE_CRASH = 1, 5
ATTEMPT_OK = 0
USAGE_NONE, USAGE_PROVIDER, USAGE_COUNTED, USAGE_ESTIMATED = range(4)
FLAG_SENT_AGAIN = 2048
FLAG_HEDGE = 4096  # Begun beside another attempt: the row that serves is the last, not the latest.


def read_fields(data):
    """(field number, value) of one protobuf message: ints for varint and fixed, bytes for the rest."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
        elif kind == 1:
            yield tag >> 3, int.from_bytes(data[at:at + 8], "little")
            at += 8
        elif kind == 5:
            yield tag >> 3, int.from_bytes(data[at:at + 4], "little")
            at += 4
        elif kind == 2:
            size = varint()
            yield tag >> 3, data[at:at + size]
            at += size
        else:
            raise Failure("protobuf wire type %d" % kind)


def signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


class Attempt:
    def __init__(self, data):
        f = dict(read_fields(data))
        self.status, self.reason = f.get(6, 0), f.get(7, 0)
        self.tokens_in, self.tokens_out = f.get(9, 0), f.get(10, 0)
        self.cost = signed(f.get(14, 0))
        self.server = f.get(2, 0)
        self.cand = f.get(1, 0)
        self.usage = f.get(17, 0)
        self.sent_again = bool(f.get(15, 0) & FLAG_SENT_AGAIN)
        self.hedge = bool(f.get(15, 0) & FLAG_HEDGE)


class Row:
    """One decision as stored. Field numbers are those of proto/telemetry.proto."""

    def __init__(self, data):
        self.attempts, self.cands, self.models = [], [], []
        simple = {}
        for number, value in read_fields(data):
            if number == 37:
                self.attempts.append(Attempt(value))
            elif number == 30:
                self.cands.append(dict(read_fields(value)))
            elif number == 50:
                self.models.append(value.decode())
            else:
                simple[number] = value
        self.decision_id = simple.get(1, b"").hex()
        self.nonce = simple.get(53, b"").decode()
        self.status, self.http_status = simple.get(38, 0), simple.get(54, 0)
        self.cost = signed(simple.get(40, 0))
        self.served = simple.get(39, 0)


def read_rows(postgres):
    return [Row(bytes.fromhex(r[0])) for r in
            postgres.query("SELECT encode(detail, 'hex') FROM decision ORDER BY ts, request_id")]


def token_cost(cand, tokens_in, tokens_out):
    """nano-USD, each part rounded up, from the prices that stand in the row (per million tokens)."""
    up = lambda tokens, price: -(-tokens * price // 1_000_000)
    return up(tokens_in, signed(cand.get(14, 0))) + up(tokens_out, signed(cand.get(15, 0)))


def usd_to_nano(text):
    whole, _, fraction = text.partition(".")
    return int(whole) * 10 ** 9 + int((fraction + "0" * 9)[:9])


class Comparison:
    def __init__(self, entries, served, rows):
        self.entries = {e.nonce: e for e in entries}
        self.served = collections.defaultdict(list)
        for s in served:
            self.served[s["nonce"]].append(s)
        self.rows = collections.defaultdict(list)
        for row in rows:
            self.rows[row.nonce].append(row)
        self.problems = []

    def report(self, nonce, text):
        self.problems.append("%s: %s" % (nonce, text))

    def check(self):
        for nonce in self.rows:
            if nonce not in self.entries:
                self.report(nonce, "a row that no client asked for")
            if len(self.rows[nonce]) > 1:
                self.report(nonce, "%d rows" % len(self.rows[nonce]))
        for nonce, entry in self.entries.items():
            self._check_client(entry, self.rows.get(nonce, []))
        for nonce, served in self.served.items():
            self._check_provider(nonce, served, self.rows.get(nonce, []))
        if self.problems:
            raise Failure("%d disagreements between the ledgers, e.g.\n  %s" % (
                len(self.problems), "\n  ".join(self.problems[:12])))
        return "%d asked, %d answered, %d attempts served, %d rows" % (
            len(self.entries), sum(e.complete for e in self.entries.values()),
            sum(map(len, self.served.values())), sum(map(len, self.rows.values())))

    def _check_client(self, entry, rows):
        if not entry.complete:
            return
        if not rows:
            self.report(entry.nonce, "answered without a row")
            return
        row = rows[0]
        if row.status != STATUS_OK:
            self.report(entry.nonce, "answered in full, but the row says status %d" % row.status)
        if entry.nonce not in entry.text:
            self.report(entry.nonce, "got another request's answer: %r" % entry.text[:80])
        if row.decision_id != entry.decision_id.replace("-", ""):
            self.report(entry.nonce, "decision id %s, row %s" % (entry.decision_id, row.decision_id))
        if entry.cost_usd and usd_to_nano(entry.cost_usd) != row.cost:
            self.report(entry.nonce, "cost header %s, row %d nano-USD" % (entry.cost_usd, row.cost))

    def _check_provider(self, nonce, served, rows):
        if not rows:
            self.report(nonce, "served by the provider without a row")
            return
        row = rows[0]
        reached = [a for a in row.attempts if a.status != 0 or row.status == STATUS_NODE_CRASH]
        # What was sent again had not come the first time, so it counts once.
        if row.status != STATUS_NODE_CRASH and len(served) > len(row.attempts):
            self.report(nonce, "provider saw %d attempts, row has %d" % (len(served), len(row.attempts)))
        if row.cost != sum(a.cost for a in row.attempts):
            self.report(nonce, "cost %d is not the sum of its attempts" % row.cost)
        complete = [s for s in served if s.get("outcome") == "complete"]
        good = [a for a in reached if a.reason == ATTEMPT_OK and a.status == 200]
        if row.status != STATUS_OK:
            return
        if any(a.hedge for a in row.attempts):
            self._check_both(nonce, complete, good)
            return
        for told, attempt in zip(complete[-1:], good[-1:]):
            if (told["tokens_in"], told["tokens_out"]) != (attempt.tokens_in, attempt.tokens_out):
                self.report(nonce, "provider counted %s/%s tokens, row %d/%d" % (
                    told["tokens_in"], told["tokens_out"], attempt.tokens_in, attempt.tokens_out))
            expected = token_cost(row.cands[attempt.cand], attempt.tokens_in, attempt.tokens_out)
            if expected != attempt.cost:
                self.report(nonce, "cost %d, tokens say %d" % (attempt.cost, expected))


    def _check_both(self, nonce, complete, good):
        """Two at once end in any order: what was told is what was written, each once."""
        told = sorted((s["tokens_in"], s["tokens_out"]) for s in complete)
        written = sorted((a.tokens_in, a.tokens_out) for a in good)
        if told != written:
            self.report(nonce, "provider counted %s tokens, rows of two attempts %s" % (told, written))


def compare(entries, served, rows):
    """Raises Failure with examples unless the three ledgers agree; returns a summary line."""
    return Comparison(entries, served, rows).check()
