// What cases are made of. Each case: name, unless({caller, vendor, same}) -> why it has no meaning there,
// spoils: it makes the deployment fail, so it gets one of its own, and run(t), which throws where the
// product is wrong and returns 'refused' where the contract is an error that says what to do.
import assert from 'node:assert/strict';

export const { equal, ok, deepEqual, match } = assert;
export const HELLO = 'Hello wörld';
export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
export const PDF = Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n').toString(
  'base64',
);
export const weather = {
  name: 'get_weather',
  description: 'Weather of a city.',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
};
export const clock = {
  name: 'get_time',
  description: 'The time.',
  parameters: { type: 'object', properties: {}, additionalProperties: false },
};
// A tool whose input is a text, as coding agents have one.
export const patch = {
  name: 'apply_patch',
  custom: true,
  description: 'Changes files.',
  grammar: 'start: "*** Begin Patch" LF /(.|\\n)+/\n%import common.LF\n',
};
export const PATCH = `*** Begin Patch\n*** Update File: a.c\n-"old\\n"\n+"Grüße 👩‍👩‍👧\\t"\n*** End Patch\n`;
export const OSLO = { call: 'get_weather', id: 'call_oslo00001', args: { city: 'Oslo' } };
export const ROME = { call: 'get_weather', id: 'call_rome00002', args: { city: 'Rome' } };
export const NOARGS = { call: 'get_time', id: 'call_time00003', args: '' };
export const SCHEMA = {
  name: 'person',
  schema: {
    type: 'object',
    properties: { name: { type: 'string' }, age: { type: 'integer' } },
    required: ['name', 'age'],
    additionalProperties: false,
  },
};
export const PERSON = '{"name":"Ada","age":36}';
export const REASONED = { reasoning: 'First I think about it.' };
export const ODD = 'Grüße 你好 👩‍👩‍👧 \u0001 "quotes" \\ back\nline\ttab \u2028 𝕏';

export const is = {
  chat: (c) => c.dialect === 'openai',
  responses: (c) => c.dialect === 'responses',
  anthropic: (c) => c.dialect === 'anthropic',
};
// What vendors lack, and so what a case does not ask of them.
export const LACKS = {
  images: { cohere: 'text alone' },
  imageUrls: { cohere: 'text alone', bedrock: 'a URL must be fetched first' },
  files: { cohere: 'no files' },
  seed: { responses: 'no seed', anthropic: 'no seed', bedrock: 'no seed' },
  stop: { responses: 'no stop sequences' },
  n: { responses: 'one answer', anthropic: 'one answer', bedrock: 'one answer', cohere: 'one answer' },
  temperature: { responses: 'this model has no sampling fields' },
  user: { gemini: 'no user field', cohere: 'no user field', bedrock: 'no user field' },
  signed: { openai: 'reasoning has no signature', cohere: 'reasoning has no signature' },
  refusalText: {
    anthropic: 'a refusal has no text',
    gemini: 'a refusal has no text',
    bedrock: 'a refusal has no text',
    cohere: 'no refusals',
  },
  filter: { cohere: 'no content filter' },
};
export const lacks =
  (what) =>
  ({ vendor }) =>
    LACKS[what]?.[vendor] ?? undefined;
export const without =
  (...tests) =>
  (t) => {
    for (const f of tests) {
      const why = f(t);
      if (why) return why;
    }
    return undefined;
  };
export const callerLacks =
  (names, why) =>
  ({ caller }) =>
    names.includes(caller.name) ? why : undefined;
export const notResponses =
  (why) =>
  ({ caller }) =>
    is.responses(caller) ? why : undefined;
export const notAnthropic =
  (why) =>
  ({ caller }) =>
    is.anthropic(caller) ? why : undefined;
export const onlyCallers =
  (names, why) =>
  ({ caller }) =>
    names.includes(caller.name) ? undefined : why;

export const ask1 = (t, more) => t.ask({ history: t.caller.user('Say hello.'), ...more });

export async function failure(promise) {
  let value;
  try {
    value = await promise;
  } catch (e) {
    return e;
  }
  return assert.fail(`the call should have failed, and gave ${JSON.stringify(value?.text ?? value)}`);
}
// What an SDK's error says, whichever wraps it.
export function told(e) {
  const inner = e.lastError ?? e.cause ?? e;
  return {
    status: e.status ?? e.statusCode ?? inner.status ?? inner.statusCode,
    message: String(e.message),
    code: e.code ?? e.data?.error?.code ?? undefined,
    type: e.type ?? e.error?.error?.type ?? e.data?.error?.type,
  };
}
export const counting = () => {
  const calls = { n: 0 };
  calls.fetch = async (...args) => {
    calls.n++;
    calls.last = await globalThis.fetch(...args);
    return calls.last;
  };
  return calls;
};
// Both ways of asking: as one body, as a stream.
export const both = (name, run, more = {}) => [
  { ...more, name, run: (t) => run({ ...t, streamed: false, ask: (o) => t.ask({ ...o }) }) },
  {
    ...more,
    name: `${name}, streamed`,
    run: (t) => run({ ...t, streamed: true, ask: (o) => t.ask({ ...o, stream: true }) }),
  },
];
export const sameCalls = (calls, wanted) =>
  deepEqual(
    calls.map((c) => [c.name, c.args]),
    wanted.map((w) => [w.call, w.args === '' ? {} : w.args]),
  );

// A call of tools, its results and the answer after them: what was called is what was answered.
export async function roundTrip(t, calls, tools, more = {}) {
  const history = t.caller.user('What is it like?');
  t.vendor.play({ parts: calls }, {});
  const first = await t.ask({ history, tools, ...more });
  sameCalls(first.calls, calls);
  equal(first.finish, 'tool_calls');
  equal(new Set(first.calls.map((c) => c.id)).size, calls.length, 'ids are distinct');
  const results = first.calls.map((c, i) => ({ id: c.id, name: c.name, text: `result ${i}` }));
  history.push(...first.turn, ...t.caller.results(results));
  const second = await t.ask({ history, tools, ...more });
  equal(second.text, HELLO);
  equal(second.finish, 'stop');
  const turns = t.heard().turns;
  const assistant = turns.findLast((x) => x.role === 'assistant');
  sameCalls(assistant.calls, calls);
  const answered = turns.filter((x) => x.role === 'tool').flatMap((x) => x.results);
  deepEqual(
    answered.map((r) => r.text.replace(/^.*(result \d).*$/s, '$1')),
    results.map((r) => r.text),
  );
  deepEqual(
    answered.map((r) => r.id),
    assistant.calls.map((c) => c.id),
  );
}
