// The official `openai` package against a real node whose provider is upstream.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { seen, start } from './upstream.mjs';

const base = process.env.STEELYARD_URL;
const key = process.env.STEELYARD_KEY;
const messages = [{ role: 'user', content: 'Say hello to the wörld.' }];
let upstream;

before(async () => { upstream = await start(Number(process.env.UPSTREAM_PORT)); });
after(() => { upstream.closeAllConnections(); upstream.close(); });

const client = (options = {}) => new OpenAI({ apiKey: key, baseURL: `${base}/v1`, ...options });

// How many requests one call of the SDK made to the node: the fetch it uses is counted.
function counting(options = {}) {
  const calls = { n: 0, last: null };
  const fetch = async (...args) => { calls.n++; calls.last = await globalThis.fetch(...args); return calls.last; };
  return [client({ fetch, ...options }), calls];
}

async function failure(promise) {
  try { await promise; } catch (e) { return e; }
  assert.fail('the call should have failed');
}

test('chat: a whole answer with its usage, ids and headers', async () => {
  const { data, response } = await client().chat.completions.create({ model: 'plain', messages }).withResponse();
  assert.equal(data.choices[0].message.content, 'Hello wörld');
  assert.equal(data.choices[0].finish_reason, 'stop');
  assert.equal(data.usage.total_tokens, 18);
  assert.equal(data.model, 'plain');
  assert.match(response.headers.get('x-steelyard-decision-id'), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/);
  assert.equal(response.headers.get('x-request-id'), response.headers.get('request-id'));
  assert.equal(response.headers.get('x-steelyard-attempts'), '1');
  assert.equal(data._request_id, response.headers.get('x-request-id'));
});

test('chat: model auto is routed by the policy and says who served', async () => {
  const { data, response } = await client().chat.completions.create({ model: 'auto', messages }).withResponse();
  assert.equal(data.choices[0].message.content, 'Hello wörld');
  assert.match(response.headers.get('x-steelyard-served'), /^mock\/plain$/);
  assert.equal(data.model, 'plain');
});

test('chat: what the caller sent goes upstream unchanged but for the model', async () => {
  seen.length = 0;
  await client().chat.completions.create({
    model: 'plain', messages, temperature: 0.25, some_new_field: { nested: [1, 2.50, null] }, metadata: { a: 'b' },
  });
  assert.equal(seen.length, 1);
  assert.deepEqual(seen[0].body.some_new_field, { nested: [1, 2.5, null] });
  assert.equal(seen[0].body.model, 'up-plain');
  assert.equal(seen[0].headers.authorization, 'Bearer provider-secret');
  assert.ok(!seen[0].raw.includes(key));
  for (const name of Object.keys(seen[0].headers)) assert.ok(!name.startsWith('x-steelyard'), name);
});

test('stream: the text arrives whole, in order, with one id', async () => {
  const stream = await client().chat.completions.create({ model: 'plain', messages, stream: true });
  let got = ''; const ids = new Set(); let finish; let usages = 0;
  for await (const c of stream) {
    ids.add(c.id); got += c.choices[0]?.delta?.content ?? '';
    finish = c.choices[0]?.finish_reason ?? finish;
    if (c.usage) usages++;
    assert.equal(c.choices.length, 1);
  }
  assert.equal(got, 'Hello wörld');
  assert.equal(finish, 'stop');
  assert.equal(ids.size, 1);
  assert.equal(usages, 0, 'usage was not asked for');
});

test('stream: usage comes when it is asked for', async () => {
  const stream = await client().chat.completions.create({ model: 'plain', messages, stream: true, stream_options: { include_usage: true } });
  const chunks = []; for await (const c of stream) chunks.push(c);
  const last = chunks.at(-1);
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.total_tokens, 18);
});

test('stream helper: the final completion is assembled', async () => {
  const final = await client().chat.completions.stream({ model: 'plain', messages }).finalChatCompletion();
  assert.equal(final.choices[0].message.content, 'Hello wörld');
});

test('stream: leaving early stops the iteration without an error', async () => {
  const stream = await client().chat.completions.create({ model: 'plain', messages, stream: true });
  for await (const c of stream) { assert.ok(c.id); break; }
});

const tools = [{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }];

test('tools: a call passes through both ways', async () => {
  seen.length = 0;
  const answer = await client().chat.completions.create({ model: 'tools', messages, tools, tool_choice: 'auto' });
  assert.deepEqual(seen[0].body.tools, tools);
  assert.equal(answer.choices[0].finish_reason, 'tool_calls');
  assert.deepEqual(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), { city: 'Oslo' });
  seen.length = 0;
  const turn = [...messages, answer.choices[0].message, { role: 'tool', tool_call_id: 'call_1', content: '4 °C' }];
  await client().chat.completions.create({ model: 'plain', messages: turn, tools });
  assert.equal(seen[0].body.messages[1].content, null);
  assert.equal(seen[0].body.messages[2].content, '4 °C');
});

test('tools: a streamed call is assembled by the helper', async () => {
  const final = await client().chat.completions.stream({ model: 'tools', messages, tools }).finalChatCompletion();
  const call = final.choices[0].message.tool_calls[0];
  assert.equal(call.function.name, 'get_weather');
  assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Oslo' });
});

test('models: routes and model ids are listed, one can be read', async () => {
  const ids = []; for await (const m of client().models.list()) ids.push(m.id);
  for (const id of ['auto', 'plain', 'tools']) assert.ok(ids.includes(id), id);
  assert.equal((await client().models.retrieve('plain')).id, 'plain');
  assert.ok((await failure(client().models.retrieve('nothing'))) instanceof OpenAI.NotFoundError);
});

test('fallback: a route whose first model is broken answers from the next', async () => {
  const { data, response } = await client().chat.completions.create({ model: 'failover', messages }).withResponse();
  assert.equal(data.choices[0].message.content, 'Hello wörld');
  assert.equal(response.headers.get('x-steelyard-attempts'), '2');
  assert.equal(response.headers.get('x-steelyard-served'), 'mock/plain');
});

test('error: a wrong key is an AuthenticationError, tried once', async () => {
  const [c, calls] = counting({ apiKey: 'sk-sy-0000000000-00000000000000000000000000000000' });
  const e = await failure(c.chat.completions.create({ model: 'plain', messages }));
  assert.ok(e instanceof OpenAI.AuthenticationError);
  assert.equal(e.code, 'invalid_api_key');
  assert.equal(calls.n, 1);
});

test('error: an unknown model is a NotFoundError with the code model_not_found', async () => {
  const e = await failure(client().chat.completions.create({ model: 'no-such-model', messages }));
  assert.ok(e instanceof OpenAI.NotFoundError);
  assert.equal(e.code, 'model_not_found');
  assert.equal(e.type, 'invalid_request_error');
});

test('error: a bad field is a BadRequestError that names it', async () => {
  const [c, calls] = counting();
  const e = await failure(c.chat.completions.create({ model: 'plain', messages: 'not an array' }));
  assert.ok(e instanceof OpenAI.BadRequestError);
  assert.equal(e.param, 'messages');
  assert.equal(calls.n, 1);
});

test('error: the provider\'s own 4xx reaches the caller unchanged', async () => {
  const e = await failure(client().chat.completions.create({ model: 'context', messages }));
  assert.ok(e instanceof OpenAI.BadRequestError);
  assert.equal(e.code, 'context_length_exceeded');
  assert.match(e.message, /maximum context length is 8192/);
});

for (const model of ['broken', 'html']) {
  test(`error: a provider that fails (${model}) is an InternalServerError, tried once by the SDK`, async () => {
    const [c, calls] = counting();
    const e = await failure(c.chat.completions.create({ model, messages }));
    assert.ok(e instanceof OpenAI.InternalServerError);
    assert.equal(e.status, 502);
    assert.equal(e.code, 'upstream_error');
    assert.equal(calls.last.headers.get('x-should-retry'), 'false');
    assert.equal(calls.n, 1);
    assert.ok(!String(e.message).includes('<html>'));
  });
}

test('error: a provider that refuses our key is our 502, not the caller\'s 401', async () => {
  const e = await failure(client().chat.completions.create({ model: 'badkey', messages }));
  assert.equal(e.status, 502);
  assert.equal(e.code, 'upstream_auth');
});

test('error: rate limits upstream are a RateLimitError with a wait', async () => {
  const [c, calls] = counting({ maxRetries: 0 });
  const e = await failure(c.chat.completions.create({ model: 'limited', messages }));
  assert.ok(e instanceof OpenAI.RateLimitError);
  assert.equal(e.code, 'rate_limit_exceeded');
  const wait = Number(calls.last.headers.get('retry-after'));
  assert.ok(wait >= 1 && wait <= 7, String(wait));
});

for (const model of ['cut', 'eof', 'miderror']) {
  test(`stream: broken after the first content (${model}) is an error, never a success`, async () => {
    let got = '';
    const e = await failure((async () => {
      const stream = await client().chat.completions.create({ model, messages, stream: true });
      for await (const c of stream) got += c.choices[0]?.delta?.content ?? '';
    })());
    assert.equal(got, 'Hel');
    assert.ok(e instanceof OpenAI.APIError, e?.constructor?.name);
  });
}

test('a body over the limit is refused with 413', async () => {
  const [c] = counting();
  const huge = [{ role: 'user', content: 'x'.repeat(33 * 1024 * 1024) }];
  const e = await failure(c.chat.completions.create({ model: 'plain', messages: huge }));
  assert.ok(e.status === 413 || e instanceof OpenAI.APIConnectionError, String(e));
});
