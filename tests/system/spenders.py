"""Clients that spend a key's money as fast as they are let, and remember what became of each request.

Each keeps to one node and asks again as soon as it has an answer, until it was refused so many times.
Some leave in the middle. Standard library only; one asyncio loop in a thread of its own.
"""
import asyncio
import collections
import json
import random
import threading
import time

from loadclient import ReplyError, read_body, read_head, stream_text

BROKEN = (OSError, ReplyError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class Request:
    """One request as its client saw it. Times are of the monotonic and of the wall clock."""

    def __init__(self, nonce, node, stream):
        self.nonce, self.node, self.stream = nonce, node, stream
        self.status, self.code = 0, ""  # 0: no answer.
        self.text, self.error = "", ""
        self.complete = self.left = False
        self.left_at = 0.0  # Monotonic: when the client closed the connection.
        self.begun_wall = time.time()


class Spenders:
    """`count` clients over the targets in turn; `name` begins the nonces of their requests.

    body(random, number) gives what to ask for besides messages; leave(random) the seconds after which
    to leave, or None to stay. `refusals`: how often in a row one is refused before it stops; `most`:
    requests in all, None: no limit.
    """

    def __init__(self, targets, key, name, count=512, body=None, leave=None, refusals=1, most=None,
                 seed=1, timeout_s=90.0, stop_codes=("budget_exceeded",)):
        self.targets, self.key, self.name, self.count = targets, key, name, count
        self.body = body or (lambda rng, number: {"max_tokens": 32, "stream": number % 2 == 0})
        self.leave = leave or (lambda rng: None)
        self.refusals, self.most, self.seed, self.timeout_s = refusals, most, seed, timeout_s
        self.stop_codes = stop_codes
        self.requests = []
        self.stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def start(self):
        self._thread.start()
        return self

    def join(self, timeout_s=240):
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.stopping = True
            self._thread.join(self.timeout_s)
            raise RuntimeError("after %d s clients are still being served: %s" % (timeout_s, self.verdicts()))
        return self

    def run(self):
        return self.start().join()

    def stop(self):
        self.stopping = True
        return self.join()

    def served(self):
        return sum(r.complete for r in self.requests)

    def verdicts(self):
        """How often each end was met: "200", "429 budget_exceeded", "left", "broken", ..."""
        return collections.Counter(
            "left" if r.left else "200" if r.complete else "broken" if r.error else
            ("%d %s" % (r.status, r.code)).strip() for r in self.requests)

    async def _main(self):
        await asyncio.gather(*(self._client(i) for i in range(self.count)))

    async def _client(self, i):
        rng = random.Random(self.seed * 1000003 + i)
        node = i % len(self.targets)
        connection, refused = None, 0
        while refused < self.refusals and not self.stopping:
            if self.most is not None and len(self.requests) >= self.most:
                break
            number = len(self.requests)
            ask = self.body(rng, number)
            r = Request("%s-%06d" % (self.name, number), node, bool(ask.get("stream")))
            self.requests.append(r)
            connection = await self._one(r, ask, rng, connection)
            if r.status in (401, 403) or r.code in self.stop_codes:
                refused += 1
            elif r.complete:
                refused = 0
            if r.error or r.status == 503:
                await asyncio.sleep(0.05)  # A node that is not there is not asked in a tight loop.
        if connection:
            connection[1].close()

    async def _one(self, r, ask, rng, connection):
        after = self.leave(rng)
        holder = [connection]
        try:
            await asyncio.wait_for(self._exchange(r, ask, rng, holder),
                                   self.timeout_s if after is None else after)
        except asyncio.TimeoutError:
            r.left, r.left_at = after is not None, time.monotonic()
            r.error = "" if r.left else "no answer within %d s" % self.timeout_s
        except BROKEN as e:
            r.error = "%s %s" % (type(e).__name__, e)
        else:
            return holder[0]
        if holder[0]:
            if rng.random() < 0.5:
                holder[0][1].transport.abort()
            else:
                holder[0][1].close()
        return None

    def _bytes(self, r, ask, rng):
        body = json.dumps(dict({"model": "strong"}, **ask, messages=[{
            "role": "user", "content": "Nonce %s. What is %d + %d?" % (
                r.nonce, rng.randrange(1000), rng.randrange(1000))}])).encode()
        return ("POST /v1/chat/completions HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\n"
                "authorization: Bearer %s\r\nx-request-id: %s\r\ncontent-length: %d\r\n\r\n"
                % (self.key, r.nonce, len(body))).encode() + body

    async def _exchange(self, r, ask, rng, holder):
        if holder[0] is None:
            holder[0] = await asyncio.open_connection(*self.targets[r.node])
        reader, writer = holder[0]
        r.begun_wall = time.time()
        writer.write(self._bytes(r, ask, rng))
        await writer.drain()
        status, headers = await read_head(reader)
        raw = await read_body(reader, headers)
        r.status = status
        if status != 200:
            told = json.loads(raw)["error"]
            r.code, r.text = str(told.get("code")), str(told.get("message"))
        elif r.stream:
            stream_text(raw, r)
            r.complete = True
        else:
            r.text = json.loads(raw)["choices"][0]["message"]["content"] or ""
            r.complete = True
        if headers.get("connection", "").lower() == "close":
            writer.close()
            holder[0] = None
