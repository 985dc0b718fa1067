// What fails: errors as typed by the clients, streams that break, clients that leave.
import { ask1, counting, equal, failure, HELLO, match, ok, told } from './kit.mjs';

// ---- errors: what the vendor said, as the client's typed error, and how often it was tried ----

function typed(t, e, status, name) {
  equal(told(e).status, status, String(e.message));
  if (t.caller.sdk && name && !t.caller.langchain)
    ok(e instanceof t.caller.sdk[name], `${e.constructor.name} is not ${name}`);
}
const failing = (name, kind, check, more = {}) =>
  [false, true].map((stream) => ({
    name: `${name}${stream ? ', streamed' : ''}`,
    spoils: true,
    ...more,
    async run(t) {
      t.vendor.play({ error: kind });
      const calls = counting();
      const e = await failure(
        ask1(t, { fetch: calls.fetch, retries: t.caller.ai || t.caller.langchain ? 0 : 2, stream }),
      );
      return check(t, e, calls);
    },
  }));
export const errors = [
  ...failing("400: the vendor's words reach the caller", 'bad', (t, e, calls) => {
    typed(t, e, 400, 'BadRequestError');
    match(told(e).message, /The vendor does not like this value/);
    equal(calls.n, 1, 'it was asked once');
    equal(t.vendor.seen.length, 1);
  }),
  ...failing('400: a context too long', 'context', (t, e, calls) => {
    typed(t, e, 400, 'BadRequestError');
    if (t.caller.dialect === 'anthropic') match(told(e).message, /prompt is too long/);
    else if (t.caller.langchain) equal(e.name, 'ContextOverflowError');
    else equal(e.code ?? e.data?.error?.code, 'context_length_exceeded');
    equal(calls.n, 1);
  }),
  ...failing('401: a key the vendor refuses is our 502', 'auth', (t, e, calls) => {
    typed(t, e, 502, 'InternalServerError');
    equal(calls.n, 1);
  }),
  ...failing('404: a model the vendor lacks', 'missing', (t, e, calls) => {
    ok([404, 502].includes(told(e).status), String(told(e).status));
    equal(calls.n, 1);
  }),
  ...failing('422 is told once', 'unprocessable', (t, e, calls) => {
    ok([400, 422].includes(told(e).status), String(told(e).status));
    match(told(e).message, /cannot process this/);
    equal(calls.n, 1);
  }),
  ...failing(
    '500: one try of the client',
    'broken',
    (t, e, calls) => {
      typed(t, e, 502, 'InternalServerError');
      equal(calls.last.headers.get('x-should-retry'), 'false');
      if (!t.caller.ai) equal(calls.n, 1);
    },
    {
      unless: ({ caller }) =>
        caller.ai || caller.langchain ? 'its client does not read x-should-retry: another case' : undefined,
    },
  ),
  ...failing(
    '502 with HTML is never passed on',
    'html',
    (t, e) => {
      equal(told(e).status, 502);
      ok(!/<html>/.test(told(e).message));
    },
    { unless: ({ caller }) => (caller.ai || caller.langchain ? 'it waits between its tries' : undefined) },
  ),
  ...failing(
    'overloaded: one try of the client',
    'overloaded',
    (t, e, calls) => {
      ok([502, 503, 529].includes(told(e).status), String(told(e).status));
      const again = calls.last.headers.get('x-should-retry');
      ok(again === 'true' || calls.n === 1, `${calls.n} tries, x-should-retry ${again}`);
    },
    { unless: ({ caller }) => (caller.ai || caller.langchain ? 'it waits between its tries' : undefined) },
  ),
  {
    name: 'overloaded, told to who does not try again',
    spoils: true,
    run: async (t) => {
      t.vendor.play({ error: 'overloaded' });
      ok([502, 503, 529].includes(told(await failure(ask1(t))).status));
    },
  },
  {
    name: '500, told to who does not try again',
    spoils: true,
    run: async (t) => {
      t.vendor.play({ error: 'broken' });
      const e = await failure(ask1(t));
      typed(t, e, 502, 'InternalServerError');
    },
  },
  ...[false, true].map((stream) => ({
    name: `429 with its wait${stream ? ', streamed' : ''}`,
    spoils: true,
    async run(t) {
      t.vendor.play({ error: 'limited' });
      const calls = counting();
      const e = await failure(ask1(t, { fetch: calls.fetch, stream }));
      typed(t, e, 429, 'RateLimitError');
      const wait = Number(calls.last.headers.get('retry-after'));
      ok(wait >= 1 && wait <= 7, `retry-after ${wait}`);
      equal(calls.last.headers.get('x-should-retry'), 'true');
    },
  })),
  {
    name: 'our 401: a wrong key',
    run: async (t) => {
      const e = await failure(ask1(t, { key: 'sk-sy-0000000000-00000000000000000000000000000000' }));
      typed(t, e, 401, 'AuthenticationError');
      equal(t.vendor.seen.length, 0);
    },
  },
  {
    name: 'our 404: no such model',
    run: async (t) => {
      const e = await failure(t.caller.ask({ model: 'no-such-model', history: t.caller.user('Hi.') }));
      typed(t, e, 404, 'NotFoundError');
    },
  },
];

export const breaks = [
  ...['cut', 'eof', 'error'].map((fault) => ({
    name: `a stream that breaks (${fault}) is never a clean answer`,
    spoils: true,
    async run(t) {
      t.vendor.play({ fault });
      let got = '';
      const e = await failure(
        t.caller.raw({ model: t.model, history: t.caller.user('Go.') }, (x) => {
          got += x;
        }),
      );
      ok(HELLO.startsWith(got) && got.length < HELLO.length, `got "${got}"`);
      ok(e);
    },
  })),
  ...['cut', 'eof', 'error'].map((fault) => ({
    name: `a stream that breaks (${fault}) in the client's helper`,
    spoils: true,
    async run(t) {
      t.vendor.play({ fault });
      ok(await failure(ask1(t, { stream: true })));
    },
  })),
  {
    name: 'the client goes away from a stream',
    spoils: true,
    async run(t) {
      t.vendor.play({ fault: 'stall' });
      const control = new AbortController();
      const e = await failure(
        (async () => {
          await t.caller.raw(
            { model: t.model, history: t.caller.user('Go.'), signal: control.signal },
            (x) => x && control.abort(),
          );
          control.signal.throwIfAborted();
        })(),
      );
      ok(e);
      await t.vendor.gone;
    },
  },
  {
    name: 'the client goes away before the answer',
    spoils: true,
    async run(t) {
      t.vendor.play({ hang: true });
      const control = new AbortController();
      t.vendor.asked.then(() => control.abort());
      ok(await failure(ask1(t, { signal: control.signal })));
      await t.vendor.gone;
    },
  },
  {
    name: 'a timeout of the client',
    spoils: true,
    unless: ({ caller }) => (caller.ai ? 'it aborts instead: another case' : undefined),
    async run(t) {
      t.vendor.play({ hang: true });
      const e = await failure(ask1(t, { timeout: 60 }));
      ok(
        /tim(ed )?e?out/i.test(e.message) || /Timeout/.test(e.constructor.name),
        `${e.constructor.name}: ${e.message}`,
      );
      await t.vendor.gone;
    },
  },
];
