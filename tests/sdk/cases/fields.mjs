// What a request may ask for and an answer tells beside its text.
import { z } from 'zod';
import {
  ask1,
  both,
  callerLacks,
  deepEqual,
  equal,
  failure,
  HELLO,
  is,
  lacks,
  LACKS,
  match,
  notAnthropic,
  notResponses,
  ok,
  onlyCallers,
  OSLO,
  PERSON,
  REASONED,
  ROME,
  sameCalls,
  SCHEMA,
  told,
  weather,
  without,
} from './kit.mjs';

export const fields = [
  ...both('max tokens and the end they bring', async (t) => {
    t.vendor.play({ finish: 'length' });
    const r = await ask1(t, { max: 64 });
    equal(r.finish, 'length');
    equal(r.text, HELLO);
    equal(t.heard().max, 64);
  }),
  {
    name: 'max tokens left out',
    unless: notAnthropic('they are a must'),
    run: async (t) => {
      await ask1(t);
      if (['anthropic'].includes(t.vendor.name)) ok(t.heard().max >= 1024);
      else ok(t.heard().max === undefined || t.heard().max >= 1024, `${t.heard().max}`);
    },
  },
  {
    name: 'temperature',
    unless: ({ caller, vendor }) =>
      vendor === 'responses' && is.responses(caller) ? 'this model has no sampling fields' : undefined,
    run: async (t) => {
      await ask1(t, { temperature: 0.5 });
      equal(t.heard().temperature, t.vendor.name === 'responses' ? undefined : 0.5);
    },
  },
  {
    name: 'a temperature above what the vendor takes',
    unless: without(notAnthropic('it is refused there'), ({ vendor, caller }) =>
      vendor === 'responses' && is.responses(caller) ? 'this model has no sampling fields' : undefined,
    ),
    run: async (t) => {
      await ask1(t, { temperature: 1.5 });
      const most = { anthropic: 1, bedrock: 1, responses: undefined, cohere: t.heard().temperature }[t.vendor.name];
      equal(t.heard().temperature, t.vendor.name in { anthropic: 1, bedrock: 1, responses: 1, cohere: 1 } ? most : 1.5);
    },
  },
  {
    name: 'temperature and top_p',
    unless: ({ caller, vendor, same }) =>
      same && ['anthropic', 'responses'].includes(vendor)
        ? 'passed through as it is'
        : is.anthropic(caller)
          ? 'one of them'
          : undefined,
    run: async (t) => {
      equal((await ask1(t, { temperature: 0.5, topP: 0.9 })).text, HELLO);
    },
  },
  ...both(
    'a stop sequence',
    async (t) => {
      t.vendor.play({ finish: 'stop_sequence', stopSequence: 'END' });
      const r = await ask1(t, { stop: ['END', 'FIN'] });
      equal(r.finish, 'stop');
      if (t.vendor.name !== 'responses') deepEqual(t.heard().stop, ['END', 'FIN']);
      if (t.caller.name === 'anthropic' && t.vendor.name === 'anthropic') equal(r.stopSequence, 'END');
    },
    { unless: without(lacks('stop'), notResponses('this API has none')) },
  ),
  {
    name: 'a seed',
    unless: ({ caller }) => (is.chat(caller) ? undefined : 'this API has none'),
    run: async (t) => {
      await ask1(t, { seed: 42 });
      equal(t.heard().seed, LACKS.seed[t.vendor.name] ? undefined : 42);
    },
  },
  {
    name: 'two answers (n)',
    unless: onlyCallers(['openai.chat'], 'the client asks for one'),
    run: async (t) => {
      if (!LACKS.n[t.vendor.name]) {
        const r = await ask1(t, { n: 2 });
        deepEqual(r.texts, [HELLO, HELLO]);
        return undefined;
      }
      const e = await failure(ask1(t, { n: 2 }));
      equal(e.status, 400);
      equal(e.code, 'unsupported_parameter', e.message);
      equal(e.param, 'n');
      return 'refused';
    },
  },
  {
    name: 'two answers (n), streamed',
    unless: onlyCallers(['openai.chat'], 'the client asks for one'),
    run: async (t) => {
      if (!LACKS.n[t.vendor.name]) {
        deepEqual((await ask1(t, { n: 2, stream: true })).texts, [HELLO, HELLO]);
        return undefined;
      }
      const e = await failure(ask1(t, { n: 2, stream: true }));
      deepEqual([e.status, e.param], [400, 'n']);
      return 'refused';
    },
  },
  {
    name: 'the user',
    run: async (t) => {
      equal((await ask1(t, { user: 'user-77' })).text, HELLO);
      if (!LACKS.user[t.vendor.name]) equal(t.heard().user, 'user-77');
    },
  },
  {
    name: 'metadata',
    unless: notAnthropic('it has a user alone'),
    run: async (t) => {
      equal((await ask1(t, { metadata: { team: 'blue' } })).text, HELLO);
      if (['openai', 'responses'].includes(t.vendor.name) && t.caller.name !== 'langchain responses')
        deepEqual(t.vendor.last.metadata, { team: 'blue' });
    },
  },
];

export const structured = [
  ...both(
    'structured output by JSON schema',
    async (t) => {
      t.vendor.play({ parts: [{ text: PERSON }] });
      deepEqual(JSON.parse((await ask1(t, { schema: SCHEMA })).text), JSON.parse(PERSON));
      ok(JSON.stringify(t.heard().format ?? '').includes('"age"'), JSON.stringify(t.vendor.last));
    },
    { unless: callerLacks(['langchain', 'langchain responses'], 'its helper is another case') },
  ),
  {
    name: "structured output by the client's zod helper",
    run: async (t) => {
      t.vendor.play({ parts: [{ text: PERSON }] });
      deepEqual(
        await t.caller.object(
          { model: t.model, history: t.caller.user('Who?') },
          z.object({ name: z.string(), age: z.number() }),
        ),
        JSON.parse(PERSON),
      );
    },
  },
  {
    name: 'JSON mode',
    unless: onlyCallers(['openai.chat', 'openai.responses', 'langchain'], 'the client has no such mode'),
    run: async (t) => {
      t.vendor.play({ parts: [{ text: PERSON }] });
      const r = await t.ask({ history: t.caller.user('Who? Answer in JSON.'), json: true });
      deepEqual(JSON.parse(r.text), JSON.parse(PERSON));
    },
  },
];

export const reasoning = [
  ...both(
    'reasoning is asked for and returned',
    async (t) => {
      t.vendor.play({ parts: [REASONED, { text: HELLO }], usage: { reasoning: 3 } });
      const r = await ask1(t, { effort: 'medium', max: 9000 });
      equal(r.text, HELLO);
      ok(t.vendor.name === 'openai' ? true : t.heard().thinks, JSON.stringify(t.vendor.last));
      // OpenAI's own clients of chat completions drop what that API never had.
      if (!['ai openai.chat()', 'langchain'].includes(t.caller.name)) equal(r.reasoning, REASONED.reasoning);
    },
    {
      unless: without(
        ({ vendor }) => (vendor === 'openai' ? 'this model does not reason' : undefined),
        callerLacks(['langchain responses'], 'the client asks only models of certain names'),
      ),
    },
  ),
  ...both(
    'reasoning of a compatible server',
    async (t) => {
      t.vendor.play({ parts: [REASONED, { text: HELLO }] });
      const r = await ask1(t);
      equal(r.text, HELLO);
      if (!['ai openai.chat()', 'langchain'].includes(t.caller.name)) equal(r.reasoning, REASONED.reasoning);
    },
    { unless: ({ vendor }) => (vendor === 'openai' ? undefined : 'another case') },
  ),
  ...both(
    't07: reasoning and tools over three turns',
    async (t) => {
      t.vendor.play({ parts: [REASONED, OSLO] }, { parts: [REASONED, ROME] }, { parts: [REASONED, { text: HELLO }] });
      const history = t.caller.user('Compare.');
      const more = { tools: [weather], effort: 'low', max: 9000 };
      for (const wanted of [OSLO, ROME]) {
        const r = await t.ask({ history, ...more });
        sameCalls(r.calls, [wanted]);
        history.push(...r.turn, ...t.caller.results([{ id: r.calls[0].id, name: 'get_weather', text: 'Rain.' }]));
      }
      equal((await t.ask({ history, ...more })).text, HELLO);
      const assistants = t.heard().turns.filter((x) => x.role === 'assistant');
      equal(assistants.length, 2);
      // Who keeps what it was given sends the vendor's own signatures back, byte for byte.
      if (!['ai openai.chat()', 'langchain', 'langchain responses', 'ai compatible'].includes(t.caller.name))
        for (const a of assistants) match(a.thoughts[0] ?? '', /-23$/, `${JSON.stringify(t.vendor.last)}`);
    },
    { unless: ({ vendor }) => LACKS.signed[vendor] ?? undefined },
  ),
  ...both(
    't07: reasoning that a compatible server signs, and tools over three turns',
    async (t) => {
      const signed = { ...REASONED, signed: true };
      t.vendor.play({ parts: [signed, OSLO] }, { parts: [signed, ROME] }, { parts: [signed, { text: HELLO }] });
      const history = t.caller.user('Compare.');
      const more = { tools: [weather], max: 9000 };
      for (const wanted of [OSLO, ROME]) {
        const r = await t.ask({ history, ...more });
        sameCalls(r.calls, [wanted]);
        equal(r.reasoning, REASONED.reasoning);
        history.push(...r.turn, ...t.caller.results([{ id: r.calls[0].id, name: 'get_weather', text: 'Rain.' }]));
      }
      equal((await t.ask({ history, ...more })).text, HELLO);
      const assistants = t.heard().turns.filter((x) => x.role === 'assistant');
      equal(assistants.length, 2);
      for (const a of assistants) match(a.thoughts[0] ?? '', /-23$/, `${JSON.stringify(t.vendor.last)}`);
    },
    {
      unless: without(
        ({ vendor }) => (vendor === 'openai' ? undefined : 'another case'),
        ({ caller }) => (is.anthropic(caller) || is.responses(caller) ? undefined : 'it passes as it is'),
        callerLacks(['langchain responses'], 'the client leaves reasoning out of the next turn'),
      ),
    },
  ),
];

export const refusals = [
  ...both(
    'a refusal',
    async (t) => {
      t.vendor.play({ parts: [], refusal: 'I cannot do that.' });
      const r = await ask1(t);
      if (['openai.chat', 'openai.responses'].includes(t.caller.name)) equal(r.refusal || r.text, 'I cannot do that.');
    },
    { unless: lacks('refusalText') },
  ),
  ...both(
    'the content filter',
    async (t) => {
      t.vendor.play({ parts: [{ text: 'Well,' }], finish: 'content_filter' });
      const r = await ask1(t);
      ok(['content_filter'].includes(r.finish), r.finish);
      equal(r.text, 'Well,');
    },
    { unless: lacks('filter') },
  ),
  {
    name: 'earlier answers by reference (store left on)',
    unless: onlyCallers(['ai openai()'], 'the client sends them whole'),
    run: async (t) => {
      const history = t.caller.user('One?');
      const first = await t.ask({ history, store: true });
      equal(first.text, HELLO);
      history.push(...first.turn, ...t.caller.user('Two?'));
      equal((await t.ask({ history, store: true })).text, HELLO);
      if (t.same) return;
      const earlier = t.heard().turns.find((turn) => turn.role === 'assistant');
      equal(earlier?.text, HELLO, 'what this gateway printed stands in its place');
    },
  },
];

export const usage = [
  ...both('usage', async (t) => {
    t.vendor.play({ usage: { input: 120, output: 34 } });
    const { usage: u } = await ask1(t);
    equal(u.input, 120);
    equal(u.output, 34);
    equal(u.total, 154);
  }),
  ...both('cached tokens', async (t) => {
    t.vendor.play({ usage: { input: 120, cached: 100, output: 34 } });
    const { usage: u } = await ask1(t);
    equal(u.input, 120);
    equal(u.cached, 100);
    equal(u.output, 34);
  }),
  ...both(
    'reasoning tokens',
    async (t) => {
      t.vendor.play({ usage: { input: 12, output: 34, reasoning: 20 } });
      const { usage: u } = await ask1(t);
      equal(u.output, 34);
      if (u.reasoning !== undefined) equal(u.reasoning, 20);
    },
    {
      unless: ({ caller, vendor }) =>
        is.anthropic(caller) ? 'not told apart' : ['bedrock', 'cohere'].includes(vendor) ? 'not told' : undefined,
    },
  ),
];
