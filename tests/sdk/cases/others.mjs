// What passes in the dialect alone, and calls that are no dialogue.
import OpenAI from 'openai';
import { anthropicClient } from '../callers/anthropic.mjs';
import { openai } from '../callers/chat.mjs';
import { ask1, counting, deepEqual, equal, failure, HELLO, ok, onlyCallers } from './kit.mjs';

export const passed = [
  {
    name: 'what only this dialect knows passes byte for byte',
    unless: ({ caller, same }) =>
      same && caller.sdk && !caller.langchain ? undefined : 'the dialects differ, or the client writes the body',
    run: async (t) => {
      const extra = {
        openai: { prompt_cache_key: 'k1', logit_bias: { 50256: -100 } },
        responses: { truncation: 'auto', prompt_cache_key: 'k1' },
        anthropic: { context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } },
      }[t.vendor.name];
      await ask1(t, { extra });
      for (const [name, value] of Object.entries(extra)) deepEqual(t.vendor.last[name], value);
    },
  },
  {
    name: 'beta headers pass in the dialect and not beyond it',
    unless: ({ caller }) => (caller.name === 'anthropic' ? undefined : 'the client has none'),
    run: async (t) => {
      await ask1(t, { headers: { 'anthropic-beta': 'context-management-2025-06-27,x-1' } });
      equal(t.vendor.seen[0].headers['anthropic-beta'], t.same ? 'context-management-2025-06-27,x-1' : undefined);
    },
  },
  {
    name: "the caller's key stays here",
    run: async (t) => {
      await ask1(t);
      ok(!JSON.stringify(t.vendor.seen[0]).includes(process.env.STEELYARD_KEY));
      for (const name of Object.keys(t.vendor.seen[0].headers)) ok(!/^x-(steelyard|stainless)/.test(name), name);
    },
  },
  {
    name: 'the model that answered is ours',
    unless: ({ caller }) => (caller.sdk && !caller.langchain ? undefined : 'hidden by the client'),
    run: async (t) => {
      for (const stream of [false, true]) equal((await ask1(t, { stream })).raw.model, t.model);
    },
  },
];

// ---- calls that are no dialogue ----

export const others = [
  {
    name: 'the list of models',
    unless: onlyCallers(['openai.chat', 'anthropic'], 'the client has none'),
    run: async (t) => {
      const client = t.caller.name === 'anthropic' ? anthropicClient({}) : openai({});
      const ids = [];
      for await (const m of client.models.list()) ids.push(m.id);
      ok(ids.includes(t.model));
      equal((await client.models.retrieve(t.model)).id, t.model);
    },
  },
  {
    name: 'embeddings (base64 unless asked)',
    unless: ({ caller, vendor }) =>
      caller.name !== 'openai.chat'
        ? 'the client has none'
        : ['openai', 'responses'].includes(vendor)
          ? undefined
          : 'the vendor is not asked for them',
    run: async (t) => {
      const r = await openai({}).embeddings.create({ model: t.model, input: ['a', 'b'] });
      deepEqual([...r.data[1].embedding], [1, -0.5]);
      equal(t.vendor.last.encoding_format, 'base64');
      deepEqual(
        (await openai({}).embeddings.create({ model: t.model, input: 'a', encoding_format: 'float' })).data[0]
          .embedding,
        [1, -0.5],
      );
    },
  },
  {
    name: 'embeddings where there are none',
    unless: ({ caller, vendor }) =>
      caller.name === 'openai.chat' && ['anthropic'].includes(vendor) ? undefined : 'another case',
    run: async (t) => {
      const e = await failure(openai({}).embeddings.create({ model: t.model, input: 'a' }));
      ok(e instanceof OpenAI.BadRequestError);
      equal(e.code, 'unsupported_parameter');
      return 'refused';
    },
  },
  {
    name: 'counting tokens',
    unless: onlyCallers(['anthropic'], 'the client has none'),
    run: async (t) => {
      const r = await anthropicClient({}).messages.countTokens({
        model: t.model,
        messages: t.caller.user('How many?'),
      });
      if (t.vendor.name === 'anthropic') equal(r.input_tokens, 2095);
      else ok(r.input_tokens > 0);
    },
  },
  {
    name: '413: a body over the limit',
    unless: onlyCallers(['openai.chat', 'openai.responses', 'anthropic'], 'the same to all clients'),
    run: async (t) => {
      const e = await failure(t.ask({ history: t.caller.user('x'.repeat(33 * 1024 * 1024)) }));
      ok(e.status === 413 || e instanceof t.caller.sdk.APIConnectionError, String(e));
    },
  },
  {
    name: 'the client tries again when it is told to',
    spoils: true,
    unless: ({ caller, vendor }) =>
      caller.sdk && !caller.langchain && caller.dialect === vendor ? undefined : 'the same for all pairs',
    run: async (t) => {
      t.vendor.play({ error: { ...t.vendor.dialect.errors('limited'), headers: { 'retry-after-ms': '20' } } }, {});
      const calls = counting();
      equal((await ask1(t, { fetch: calls.fetch, retries: 3 })).text, HELLO);
      ok(calls.n >= 2, 'it was tried again');
    },
  },
];
