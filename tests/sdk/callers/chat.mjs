// The `openai` package by chat completions.
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { base, dataUrl, key, only, parsed, options } from './kit.mjs';

export const openai = (o) => new OpenAI({ apiKey: o.key ?? key, baseURL: `${base}/v1`, ...options(o) });

export const chatPart = (p) => {
  if (p.image) return { type: 'image_url', image_url: { url: p.image.url ?? dataUrl(p.image) } };
  if (p.file) return { type: 'file', file: { filename: p.file.name, file_data: dataUrl(p.file) } };
  return { type: 'text', text: p.text };
};
export const chatTool = (t) =>
  t.custom
    ? {
        type: 'custom',
        custom: {
          name: t.name,
          description: t.description,
          format: { type: 'grammar', grammar: { syntax: 'lark', definition: t.grammar } },
        },
      }
    : {
        type: 'function',
        function: only({ name: t.name, description: t.description, parameters: t.parameters, strict: t.strict }),
      };
export const chatChoice = (c) => (c?.name ? { type: 'function', function: { name: c.name } } : c);
const chatSchema = (s) => ({
  type: 'json_schema',
  json_schema: { name: s.name, schema: s.schema, strict: s.strict ?? true },
});

function chatParams(o) {
  return only({
    model: o.model,
    messages: [...(o.system ? [{ role: 'system', content: o.system }] : []), ...o.history],
    tools: o.tools?.map(chatTool),
    tool_choice: chatChoice(o.choice),
    parallel_tool_calls: o.parallel,
    max_completion_tokens: o.max,
    temperature: o.temperature,
    top_p: o.topP,
    stop: o.stop,
    seed: o.seed,
    n: o.n,
    reasoning_effort: o.effort,
    response_format: o.schema ? chatSchema(o.schema) : o.json ? { type: 'json_object' } : undefined,
    user: o.user,
    metadata: o.metadata,
    ...o.extra,
  });
}

function chatResult(r) {
  const { message: m, finish_reason } = r.choices[0];
  return {
    text: m.content ?? '',
    calls: (m.tool_calls ?? []).map((c) =>
      c.type === 'custom'
        ? { id: c.id, name: c.custom.name, args: c.custom.input }
        : { id: c.id, name: c.function.name, args: parsed(c.function.arguments) },
    ),
    finish: finish_reason,
    usage: r.usage && {
      input: r.usage.prompt_tokens,
      output: r.usage.completion_tokens,
      total: r.usage.total_tokens,
      cached: r.usage.prompt_tokens_details?.cached_tokens,
      reasoning: r.usage.completion_tokens_details?.reasoning_tokens,
    },
    reasoning: m.reasoning_content ?? '',
    refusal: m.refusal ?? '',
    turn: [m],
    texts: r.choices.map((c) => c.message.content),
    raw: r,
  };
}

// The SDK's own helper assembles the stream; what it leaves out (fields it does not know) is collected beside it.
async function chatStream(o) {
  const stream = openai(o).chat.completions.stream(
    { ...chatParams(o), stream_options: { include_usage: true } },
    { signal: o.signal },
  );
  const extra = { reasoning_content: '', blocks: [] };
  stream.on('chunk', (c) => {
    const d = c.choices[0]?.delta;
    extra.reasoning_content += d?.reasoning_content ?? '';
    for (const b of d?.thinking_blocks ?? []) extra.blocks.push(b);
  });
  const final = await stream.finalChatCompletion();
  const m = final.choices[0].message;
  delete m.parsed;
  for (const c of m.tool_calls ?? []) delete c.function.parsed_arguments;
  if (extra.reasoning_content) m.reasoning_content = extra.reasoning_content;
  if (extra.blocks.length) m.thinking_blocks = joined(extra.blocks);
  return chatResult(final);
}

// Pieces of thinking blocks as a stream brings them: text, then the signature that closes a block.
function joined(blocks) {
  const out = [];
  let open = null;
  for (const b of blocks) {
    if (!open) out.push((open = { ...b, ...(b.type === 'thinking' ? { thinking: b.thinking ?? '' } : {}) }));
    else {
      open.thinking = (open.thinking ?? '') + (b.thinking ?? '');
      if (b.signature) open.signature = b.signature;
    }
    if (b.signature || b.type === 'redacted_thinking') open = null;
  }
  return out;
}

const chatUser = (parts) => [{ role: 'user', content: typeof parts === 'string' ? parts : parts.map(chatPart) }];
const chatResults = (list) => list.map((r) => ({ role: 'tool', tool_call_id: r.id, content: r.text }));

export const openaiChat = {
  name: 'openai.chat',
  dialect: 'openai',
  sdk: OpenAI,
  user: chatUser,
  results: chatResults,
  assistant: (text) => [{ role: 'assistant', content: text }],
  ask: async (o) =>
    o.stream ? chatStream(o) : chatResult(await openai(o).chat.completions.create(chatParams(o), { signal: o.signal })),
  async object(o, schema) {
    const r = await openai(o).chat.completions.parse({
      ...chatParams(o),
      response_format: zodResponseFormat(schema, 'answer'),
    });
    return r.choices[0].message.parsed;
  },
  async raw(o, take) {
    for await (const c of await openai(o).chat.completions.create(
      { ...chatParams(o), stream: true },
      { signal: o.signal },
    ))
      take(c.choices[0]?.delta?.content ?? '');
  },
};
