// The official `portkey-ai` package against a real node: configs as objects and through createHeaders, nested and
// conditional, with metadata; and what is refused.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { createHeaders, Portkey } from 'portkey-ai';
import { seen, start } from './upstream.mjs';

const base = process.env.STEELYARD_URL;
const key = process.env.STEELYARD_KEY;
const messages = [{ role: 'user', content: 'Say hello to the wörld.' }];
let upstream;

before(async () => { upstream = await start(Number(process.env.UPSTREAM_PORT)); });
after(() => { upstream.closeAllConnections(); upstream.close(); });

const to = (model, more = {}) => ({ name: model, override_params: { model, ...more.params }, ...more.target });
// Paid callers and long answers have a chain of two; others share.
const config = {
  strategy: {
    mode: 'conditional',
    conditions: [
      { query: { $or: [{ 'metadata.plan': { $regex: '^pa(id|yer)$' } }, { 'params.max_tokens': { $gte: 1000 } }] }, then: 'chain' },
      { query: { $and: [{ 'metadata.plan': { $in: ['trial'] } }, { 'url.pathname': '/v1/chat/completions' }] }, then: 'tools' },
    ],
    default: 'shares',
  },
  targets: [
    { name: 'chain', strategy: { mode: 'fallback', on_status_codes: [500, 503] }, retry: { attempts: 0 },
      targets: [to('broken'), to('plain', { params: { temperature: 0.125, max_tokens: 33 } })] },
    { ...to('tools'), virtual_key: 'mock' },
    { name: 'shares', strategy: { mode: 'loadbalance' }, request_timeout: 30000,
      targets: [to('tools', { target: { weight: 0 } }), to('plain', { target: { weight: 0.7 } })] },
  ],
};
const client = (options) => new Portkey({ baseURL: `${base}/v1`, Authorization: `Bearer ${key}`, ...options });

async function asked(options, body = {}) {
  seen.length = 0;
  const answer = await client(options).chat.completions.create({ model: 'plain', messages, ...body });
  assert.ok(answer.choices.length > 0);
  return seen.map((s) => s.body);
}

async function failure(promise) {
  try { await promise; } catch (e) { return e; }
  assert.fail('the call should have failed');
}

test('portkey: a conditional config chooses by metadata, and falls back where it says', async () => {
  const bodies = await asked({ config, metadata: { plan: 'paid', _user: 'u-1' } }, { temperature: 1, max_tokens: 5 });
  assert.deepEqual(bodies.map((b) => b.model), ['up-500', 'up-plain']);
  assert.equal(bodies[0].temperature, 1);
  assert.equal(bodies[1].temperature, 0.125);
  assert.equal(bodies[1].max_tokens, 33);
});

test('portkey: conditions look at the body and at the path; else the default shares', async () => {
  assert.equal((await asked({ config }, { max_tokens: 1000 })).at(-1).model, 'up-plain');
  assert.equal((await asked({ config, metadata: { plan: 'trial' } })).at(-1).model, 'up-tools');
  assert.deepEqual((await asked({ config, metadata: { plan: 'free' } })).map((b) => b.model), ['up-plain']);
});

test('portkey: the name of a route is a config of its own', async () => {
  assert.equal((await asked({ config: 'auto' }, { model: 'tools' })).at(-1).model, 'up-plain');
});

test('portkey: createHeaders brings a config to another client', async () => {
  const headers = createHeaders({ config, metadata: { plan: 'trial' } });
  assert.equal(typeof headers['x-portkey-config'], 'string');
  const openai = new OpenAI({ apiKey: key, baseURL: `${base}/v1`, defaultHeaders: headers });
  seen.length = 0;
  await openai.chat.completions.create({ model: 'plain', messages });
  assert.equal(seen.at(-1).body.model, 'up-tools');
  for (const name of Object.keys(seen.at(-1).headers)) assert.ok(!name.startsWith('x-portkey'), name);
});

test('portkey: what a client may not bring, and what is malformed, is a 400 that names it', async () => {
  for (const [bad, param] of [
    [{ provider: 'mock', api_key: 'sk-mine' }, 'x-portkey-config.api_key'],
    [{ retry: { attempts: 1 }, output_guardrails: [{ deny: true }] }, 'x-portkey-config.output_guardrails'],
    [{ strategy: { mode: 'race' }, targets: [to('plain')] }, 'x-portkey-config.strategy.mode'],
    [{ strategy: { mode: 'conditional', conditions: [{ query: { 'metadata.a': { $regex: '(' } }, then: 'plain' }] },
      targets: [to('plain')] }, 'x-portkey-config.strategy.conditions[0].query.metadata?a.?regex'],
    [{ strategy: { mode: 'conditional', conditions: [{ query: { 'metadata.a': 1 }, then: 'plain' }] },
      targets: [to('plain')] }, 'x-portkey-config.strategy'],
  ]) {
    const e = await failure(client({ config: bad }).chat.completions.create({ model: 'plain', messages }));
    assert.equal(e.status, 400, String(e));
    assert.ok(JSON.stringify(e.error ?? e.message).includes(param), `${param}: ${JSON.stringify(e.error)} ${e.message}`);
  }
});
