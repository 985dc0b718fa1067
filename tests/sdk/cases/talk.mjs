// What is said and called: texts, tools, images, files.
import {
  ask1,
  both,
  callerLacks,
  clock,
  deepEqual,
  equal,
  HELLO,
  is,
  lacks,
  match,
  NOARGS,
  ODD,
  ok,
  onlyCallers,
  OSLO,
  PATCH,
  patch,
  PDF,
  PNG,
  ROME,
  roundTrip,
  sameCalls,
  weather,
  without,
} from './kit.mjs';

export const text = [
  ...both('text', async (t) => {
    const r = await ask1(t);
    equal(r.text, HELLO);
    equal(r.finish, 'stop');
    deepEqual(
      t.heard().turns.map((x) => [x.role, x.text]),
      [['user', 'Say hello.']],
    );
  }),
  ...both('system prompt', async (t) => {
    equal((await ask1(t, { system: 'You are terse.' })).text, HELLO);
    equal(t.heard().system, 'You are terse.');
  }),
  ...both('three turns', async (t) => {
    const { caller: c } = t;
    await t.ask({
      history: [
        ...c.user('One?'),
        ...c.assistant('One.'),
        ...c.user('Two?'),
        ...c.assistant('Two.'),
        ...c.user('Three?'),
      ],
    });
    deepEqual(
      t.heard().turns.map((x) => [x.role, x.text]),
      [
        ['user', 'One?'],
        ['assistant', 'One.'],
        ['user', 'Two?'],
        ['assistant', 'Two.'],
        ['user', 'Three?'],
      ],
    );
  }),
  ...both("the client's own turn goes back", async (t) => {
    const history = t.caller.user('One?');
    const first = await t.ask({ history });
    history.push(...first.turn, ...t.caller.user('Two?'));
    equal((await t.ask({ history })).text, HELLO);
    deepEqual(
      t.heard().turns.map((x) => x.text),
      ['One?', HELLO, 'Two?'],
    );
  }),
  ...both('several parts of text', async (t) => {
    await t.ask({ history: t.caller.user([{ text: 'First. ' }, { text: 'Second.' }]) });
    equal(t.heard().turns[0].text.replace(/\s+/g, ' '), 'First. Second.');
  }),
  {
    name: 'two turns of one role',
    run: async (t) => {
      await t.ask({ history: [...t.caller.user('One.'), ...t.caller.user('Two.')] });
      equal(
        t
          .heard()
          .turns.map((x) => x.text)
          .join('|')
          .replace(/\n+/g, '|')
          .replace('One.Two.', 'One.|Two.'),
        'One.|Two.',
      );
    },
  },
  {
    name: 'an empty text among others',
    unless: ({ same }) => (same ? 'passed through as it is' : undefined),
    run: async (t) => {
      equal((await t.ask({ history: t.caller.user([{ text: '' }, { text: 'Hi.' }]) })).text, HELLO);
      equal(t.heard().turns[0].text, 'Hi.');
    },
  },
  ...both('unicode and control characters', async (t) => {
    t.vendor.play({ parts: [{ text: ODD }] });
    equal((await t.ask({ history: t.caller.user(ODD) })).text, ODD);
    equal(t.heard().turns[0].text, ODD);
  }),
  {
    name: 'a stream torn at every few bytes',
    run: async (t) => {
      t.vendor.play({ parts: [{ text: ODD.repeat(3) }], torn: true });
      equal((await ask1(t, { stream: true })).text, ODD.repeat(3));
    },
  },
  ...both('a long text', async (t) => {
    const long = 'All work and no play. '.repeat(12000);
    t.vendor.play({ parts: [{ text: long }] });
    equal((await t.ask({ history: t.caller.user(long) })).text, long);
    equal(t.heard().turns[0].text, long);
  }),
  {
    name: 'the pieces of a stream come in order',
    run: async (t) => {
      const got = [];
      await t.caller.raw({ model: t.model, history: t.caller.user('Go.') }, (x) => x && got.push(x));
      equal(got.join(''), HELLO);
      ok(got.length >= 2, `as one piece: ${got}`);
    },
  },
];

// Its input is a text: as such at who has these tools, else the argument of a function.
async function customTool(t) {
  const id = 'call_patch00001';
  const native = t.vendor.name === 'responses';
  t.vendor.play({ parts: [native ? { custom: patch.name, id, input: PATCH } : { call: patch.name, id, args: { input: PATCH } }] }, {});
  const history = t.caller.user('Patch it.');
  const first = await t.ask({ history, tools: [patch, weather] });
  deepEqual(
    first.calls.map((c) => [c.name, c.args]),
    [[patch.name, PATCH]],
  );
  equal(first.finish, 'tool_calls');
  ok(JSON.stringify(t.vendor.last).includes('Begin Patch'), 'the grammar arrives');
  history.push(...first.turn, ...t.caller.results([{ id: first.calls[0].id, name: patch.name, text: 'Done.', custom: true }]));
  equal((await t.ask({ history, tools: [patch] })).text, HELLO);
  const turns = t.heard().turns;
  deepEqual(
    turns.flatMap((x) => x.calls).map((c) => [c.name, c.args]),
    [[patch.name, { input: PATCH }]],
  );
  deepEqual(
    turns.flatMap((x) => x.results).map((r) => r.text.replace(/^.*(Done\.).*$/s, '$1')),
    ['Done.'],
  );
}

export const tools = [
  ...both('a tool call and its result', (t) => roundTrip(t, [OSLO], [weather])),
  ...both('two parallel tool calls', (t) => roundTrip(t, [OSLO, ROME], [weather])),
  ...both('a tool call without arguments', (t) => roundTrip(t, [NOARGS], [clock])),
  ...both('text before a tool call', async (t) => {
    t.vendor.play({ parts: [{ text: 'Let me see.' }, OSLO] }, {});
    const history = t.caller.user('What is it like?');
    const first = await t.ask({ history, tools: [weather] });
    equal(first.text, 'Let me see.');
    sameCalls(first.calls, [OSLO]);
    history.push(
      ...first.turn,
      ...t.caller.results([{ id: first.calls[0].id, name: 'get_weather', text: 'result 0' }]),
    );
    equal((await t.ask({ history, tools: [weather] })).text, HELLO);
    equal(
      t
        .heard()
        .turns.filter((x) => x.role === 'assistant')
        .map((x) => x.text)
        .join(''),
      'Let me see.',
    );
  }),
  {
    name: 'results in the other order',
    run: async (t) => {
      t.vendor.play({ parts: [OSLO, ROME] }, {});
      const history = t.caller.user('What is it like?');
      const first = await t.ask({ history, tools: [weather] });
      history.push(
        ...first.turn,
        ...t.caller.results(first.calls.map((c) => ({ id: c.id, name: c.name, text: `of ${c.args.city}` })).reverse()),
      );
      equal((await t.ask({ history, tools: [weather] })).text, HELLO);
      const turns = t.heard().turns;
      const calls = turns.flatMap((x) => x.calls);
      const results = turns.flatMap((x) => x.results);
      equal(results.length, 2);
      for (const [i, c] of calls.entries())
        match((c.id ? results.find((r) => r.id === c.id) : results[i]).text, new RegExp(`of ${c.args.city}`));
    },
  },
  {
    name: 'results without the tools',
    unless: ({ same, caller, vendor }) => (same && vendor === 'anthropic' ? 'passed through as it is' : undefined),
    run: async (t) => {
      t.vendor.play({ parts: [OSLO] }, {});
      const history = t.caller.user('What is it like?');
      const first = await t.ask({ history, tools: [weather] });
      history.push(...first.turn, ...t.caller.results([{ id: first.calls[0].id, name: 'get_weather', text: 'Rain.' }]));
      equal((await t.ask({ history })).text, HELLO);
    },
  },
  {
    name: 'tool choice: a named one',
    run: async (t) => {
      t.vendor.play({ parts: [OSLO] });
      sameCalls((await ask1(t, { tools: [weather, clock], choice: { name: 'get_weather' } })).calls, [OSLO]);
      const { choice, tools: had } = t.heard();
      ok(choice === 'get_weather' || (choice === 'required' && had.length === 1), `${choice} of ${had}`);
    },
  },
  {
    name: 'tool choice: required',
    unless: callerLacks(['langchain responses'], 'the client does not send it'),
    run: async (t) => {
      t.vendor.play({ parts: [OSLO] });
      await ask1(t, { tools: [weather], choice: 'required' });
      equal(t.heard().choice, 'required');
    },
  },
  {
    name: 'tool choice: none',
    unless: callerLacks(['langchain responses'], 'the client does not send it'),
    run: async (t) => {
      equal((await ask1(t, { tools: [weather], choice: 'none' })).text, HELLO);
      const { choice, tools: had } = t.heard();
      ok(choice === 'none' || !had, `${choice} ${had}`);
    },
  },
  {
    name: 'no parallel tool calls',
    run: async (t) => {
      t.vendor.play({ parts: ['gemini', 'cohere'].includes(t.vendor.name) ? [OSLO, ROME] : [OSLO] });
      sameCalls((await ask1(t, { tools: [weather], parallel: false })).calls, [OSLO]);
      const body = t.vendor.last;
      if (['openai', 'responses'].includes(t.vendor.name)) equal(body.parallel_tool_calls, false);
      if (t.vendor.name === 'anthropic') equal(body.tool_choice.disable_parallel_tool_use, true);
      if (t.vendor.name === 'bedrock')
        equal(body.additionalModelRequestFields.tool_choice.disable_parallel_tool_use, true);
    },
  },
  ...both('long and odd arguments', async (t) => {
    const call = {
      call: 'get_weather',
      id: 'call_long000001',
      args: { city: ODD + 'x'.repeat(60000), deep: [[{ a: null, b: 1.5e-7, c: false }]] },
    };
    await roundTrip(t, [call], [weather]);
  }),
  ...both('two rounds of tools', async (t) => {
    const history = t.caller.user('Compare.');
    t.vendor.play({ parts: [OSLO] }, { parts: [ROME] }, {});
    for (const wanted of [OSLO, ROME]) {
      const r = await t.ask({ history, tools: [weather] });
      sameCalls(r.calls, [wanted]);
      history.push(...r.turn, ...t.caller.results([{ id: r.calls[0].id, name: 'get_weather', text: 'Rain.' }]));
    }
    equal((await t.ask({ history, tools: [weather] })).text, HELLO);
    deepEqual(
      t.heard().turns.map((x) => x.role),
      ['user', 'assistant', 'tool', 'assistant', 'tool'],
    );
  }),
  ...both('a custom tool', customTool, {
    unless: onlyCallers(['openai.responses', 'ai openai()'], 'the client has no custom tools, or not in streams'),
  }),
  {
    name: 'a custom tool of chat completions',
    unless: without(onlyCallers(['openai.chat'], 'another dialect'), ({ same }) =>
      same ? 'passed through as it is' : undefined,
    ),
    run: customTool,
  },
  {
    name: 'a nested schema of a tool arrives',
    run: async (t) => {
      const nested = {
        name: 'book',
        description: 'Book.',
        parameters: {
          type: 'object',
          properties: {
            who: {
              type: 'array',
              items: {
                type: 'object',
                properties: { kind: { type: 'string', enum: ['adult', 'child'] } },
                required: ['kind'],
                additionalProperties: false,
              },
            },
          },
          required: ['who'],
          additionalProperties: false,
        },
      };
      t.vendor.play({ parts: [{ call: 'book', id: 'call_book000001', args: { who: [{ kind: 'child' }] } }] });
      deepEqual((await ask1(t, { tools: [nested] })).calls[0].args, { who: [{ kind: 'child' }] });
      ok(JSON.stringify(t.vendor.last).includes('"enum":["adult","child"]'));
    },
  },
];

export const media = [
  ...both(
    'an image by data URL',
    async (t) => {
      await t.ask({ history: t.caller.user([{ text: 'What is it?' }, { image: { mime: 'image/png', data: PNG } }]) });
      deepEqual(t.heard().turns[0].images, [['image/png', PNG]]);
      equal(t.heard().turns[0].text, 'What is it?');
    },
    { unless: lacks('images') },
  ),
  {
    name: 'an image of the wrong type is named by its bytes',
    unless: without(lacks('images'), ({ same }) => (same ? 'passed through as it is' : undefined)),
    run: async (t) => {
      await t.ask({ history: t.caller.user([{ text: 'What is it?' }, { image: { mime: 'image/jpeg', data: PNG } }]) });
      deepEqual(t.heard().turns[0].images, [['image/png', PNG]]);
    },
  },
  {
    name: 'an image by URL',
    unless: without(lacks('imageUrls'), callerLacks(['ai compatible'], 'the client fetches it itself')),
    run: async (t) => {
      await t.ask({
        history: t.caller.user([{ text: 'What is it?' }, { image: { url: 'https://example.com/a.png' } }]),
      });
      equal(t.heard().turns[0].images[0]?.[1], 'https://example.com/a.png');
    },
  },
  {
    name: 'a PDF',
    unless: without(lacks('files'), callerLacks(['langchain responses'], 'the client does not send it')),
    run: async (t) => {
      await t.ask({
        history: t.caller.user([
          { text: 'Sum it up.' },
          { file: { name: 'report.pdf', mime: 'application/pdf', data: PDF } },
        ]),
      });
      const [file] = t.heard().turns[0].files;
      deepEqual(file.slice(1), ['application/pdf', PDF]);
    },
  },
];
