"""A load client that keeps its own ledger: what it sent, and what it believes it got.

Every request carries a nonce, in the prompt (so that the provider sees it and must answer it) and in
x-request-id (so that the decision row carries it). An answer counts as complete only when the whole
body came, or the stream ended with [DONE]; this is what "acknowledged" means in the ledger check.
Standard library only; one asyncio loop in a thread of its own.
"""
import asyncio
import json
import random
import threading
import time


class Entry:
    """One request as the client saw it."""

    def __init__(self, nonce, stream):
        self.nonce = nonce
        self.stream = stream
        self.status = 0  # HTTP status, 0 = no answer.
        self.complete = False
        self.error = ""  # Empty when complete.
        self.text = ""
        self.decision_id = ""
        self.model = ""  # Of a whole answer: who gave it.
        self.cost_usd = ""  # As the header said; streams have none.
        self.started = time.monotonic()
        self.ended = 0.0

    @property
    def answered_right(self):
        return self.complete and self.nonce in self.text


class ReplyError(Exception):
    pass


async def read_head(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    headers = {}
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
    return int(lines[0].split(" ")[1]), headers


async def read_chunks(reader):
    """Yields the chunks of a chunked body; a body without its last chunk raises."""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            await reader.readuntil(b"\r\n")
            return
        data = await reader.readexactly(size)
        await reader.readexactly(2)
        yield data


async def read_body(reader, headers):
    if headers.get("transfer-encoding") == "chunked":
        return b"".join([chunk async for chunk in read_chunks(reader)])
    return await reader.readexactly(int(headers.get("content-length", "0")))


def stream_text(raw, entry):
    """Text of a stream; entry.complete only after [DONE] and without an error event."""
    done = False
    for event in raw.decode("utf-8").split("\n\n"):
        data = "\n".join(l[5:].lstrip() for l in event.split("\n") if l.startswith("data:"))
        if data == "[DONE]":
            done = True
        elif data:
            chunk = json.loads(data)
            if "error" in chunk:
                raise ReplyError("error event %s" % chunk["error"].get("code"))
            for choice in chunk.get("choices", []):
                entry.text += choice.get("delta", {}).get("content") or ""
    if not done:
        raise ReplyError("stream without [DONE]")


class LoadClient:
    """Sends `rate` requests a second for `duration_s`, to the given (host, port) pairs in turn."""

    def __init__(self, targets, key, rate, duration_s, stream_share=0.5, model="auto", seed=1,
                 timeout_s=60.0, max_tokens=64):
        self.targets = targets
        self.key = key
        self.rate = rate
        self.duration_s = duration_s
        self.stream_share = stream_share
        self.model = model
        self.timeout_s = timeout_s
        self.max_tokens = max_tokens
        self.random = random.Random(seed)
        self.seed = seed
        self.entries = []
        self.sent = threading.Semaphore(0)  # One release a request sent, for tests that wait for load.
        self._idle = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def start(self):
        self._thread.start()
        return self

    def join(self):
        self._thread.join(self.duration_s + 2 * self.timeout_s)
        if self._thread.is_alive():
            raise RuntimeError("load client did not finish")

    def wait_sent(self, count):
        for _ in range(count):
            self.sent.acquire(timeout=self.timeout_s)

    async def _main(self):
        started = time.monotonic()
        tasks, number = [], 0
        while time.monotonic() - started < self.duration_s:
            due = int((time.monotonic() - started) * self.rate)
            while number < due:
                tasks.append(asyncio.create_task(self._one(number)))
                number += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        for pool in self._idle.values():
            for _, writer in pool:
                writer.close()

    async def _one(self, number):
        stream = self.random.random() < self.stream_share
        entry = Entry("n%x-%06d" % (self.seed, number), stream)
        self.entries.append(entry)
        target = self.choose_target(number)
        self.sent.release()
        try:
            await asyncio.wait_for(self._exchange(entry, target), self.timeout_s)
        except (OSError, ReplyError, asyncio.IncompleteReadError, asyncio.TimeoutError) as e:
            entry.error = entry.error or "%s %s" % (type(e).__name__, e)
        entry.ended = time.monotonic()
        if entry.complete:
            await self.on_answer(entry, target)

    async def on_answer(self, entry, target):
        pass

    def choose_target(self, number):
        return self.targets[number % len(self.targets)]

    def choose_model(self, entry):
        return self.model

    def _request(self, entry):
        body = json.dumps({
            "model": self.choose_model(entry), "stream": entry.stream, "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content":
                          "Nonce %s. What is %d + %d?" % (entry.nonce, self.random.randrange(1000),
                                                          self.random.randrange(1000))}],
        }).encode()
        head = ("POST /v1/chat/completions HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\n"
                "authorization: Bearer %s\r\nx-request-id: %s\r\ncontent-length: %d\r\n\r\n"
                % (self.key, entry.nonce, len(body)))
        return head.encode() + body

    async def _connect(self, target):
        pool = self._idle.setdefault(target, [])
        while pool and pool[-1][0].at_eof():  # The node closed it meanwhile.
            pool.pop()[1].close()
        return pool.pop() if pool else await asyncio.open_connection(*target)

    def _release(self, target, connection, keep):
        if keep:
            self._idle[target].append(connection)
        else:
            connection[1].close()

    async def send(self, target, request):
        """The status of one request more; 0: no answer."""
        keep, connection = False, None
        try:
            connection = await self._connect(target)
            connection[1].write(request)
            status, headers = await read_head(connection[0])
            await read_body(connection[0], headers)
            keep = headers.get("connection", "").lower() != "close"
            return status
        except (OSError, asyncio.IncompleteReadError):
            return 0
        finally:
            if connection:
                self._release(target, connection, keep)

    async def _exchange(self, entry, target):
        reader, writer = connection = await self._connect(target)
        keep = False
        try:
            writer.write(self._request(entry))
            await writer.drain()
            entry.status, headers = await read_head(reader)
            entry.decision_id = headers.get("x-steelyard-decision-id", "")
            entry.cost_usd = headers.get("x-steelyard-cost-usd", "")
            raw = await read_body(reader, headers)
            if entry.status != 200:
                raise ReplyError("status %d %s" % (entry.status, raw[:200]))
            if entry.stream:
                stream_text(raw, entry)
            else:
                answer = json.loads(raw)
                entry.text = answer["choices"][0]["message"]["content"] or ""
                entry.model = answer["model"]
            entry.complete = True
            keep = headers.get("connection", "").lower() != "close"
        finally:
            self._release(target, connection, keep)
