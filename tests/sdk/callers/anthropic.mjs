// `@anthropic-ai/sdk`.
import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { base, key, only, options } from './kit.mjs';

const anthropicPart = (p) => {
  const source = (m) => (m.url ? { type: 'url', url: m.url } : { type: 'base64', media_type: m.mime, data: m.data });
  if (p.image) return { type: 'image', source: source(p.image) };
  if (p.file) return { type: 'document', title: p.file.name, source: source(p.file) };
  return only({ type: 'text', text: p.text, cache_control: p.cache ? { type: 'ephemeral' } : undefined });
};
const anthropicChoice = (o) => {
  if (o.choice === undefined && o.parallel === undefined) return undefined;
  const kind = o.choice?.name
    ? { type: 'tool', name: o.choice.name }
    : { type: { required: 'any', none: 'none' }[o.choice] ?? 'auto' };
  return o.parallel === false ? { ...kind, disable_parallel_tool_use: true } : kind;
};
export const BUDGET = { low: 2048, medium: 4096, high: 8192 };
function anthropicParams(o) {
  return only({
    model: o.model,
    max_tokens: o.max ?? (o.effort ? 16000 : 1024),
    system: o.system,
    messages: o.history,
    tools: o.tools?.map((t) => ({ name: t.name, description: t.description, input_schema: t.parameters })),
    tool_choice: anthropicChoice(o),
    stop_sequences: o.stop,
    thinking: o.effort ? { type: 'enabled', budget_tokens: BUDGET[o.effort] } : undefined,
    output_config: o.schema ? { format: { type: 'json_schema', schema: o.schema.schema } } : undefined,
    metadata: o.user ? { user_id: o.user } : undefined,
    ...(o.temperature !== undefined ? { temperature: o.temperature } : {}),
    ...o.extra,
  });
}
const STOPS = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
};
export const anthropicClient = (o) => new Anthropic({ apiKey: o.key ?? key, baseURL: base, ...options(o) });
function anthropicResult(r) {
  const u = r.usage;
  const cached = u.cache_read_input_tokens ?? 0;
  const input = u.input_tokens + cached + (u.cache_creation_input_tokens ?? 0);
  return {
    text: r.content
      .filter((b) => b.type === 'text')
      .map((b) => b.text)
      .join(''),
    calls: r.content.filter((b) => b.type === 'tool_use').map((b) => ({ id: b.id, name: b.name, args: b.input })),
    finish: STOPS[r.stop_reason],
    usage: { input, output: u.output_tokens, total: input + u.output_tokens, cached },
    stopSequence: r.stop_sequence,
    reasoning: r.content
      .filter((b) => b.type === 'thinking')
      .map((b) => b.thinking)
      .join(''),
    refusal: '',
    turn: [{ role: 'assistant', content: r.content.map(({ parsed_output: _, ...b }) => b) }],
    raw: r,
  };
}
export const anthropic = {
  name: 'anthropic',
  dialect: 'anthropic',
  sdk: Anthropic,
  user: (parts) => [{ role: 'user', content: typeof parts === 'string' ? parts : parts.map(anthropicPart) }],
  results: (list) => [
    { role: 'user', content: list.map((r) => ({ type: 'tool_result', tool_use_id: r.id, content: r.text })) },
  ],
  assistant: (text) => [{ role: 'assistant', content: text }],
  ask: async (o) =>
    anthropicResult(
      o.stream
        ? await anthropicClient(o).messages.stream(anthropicParams(o), { signal: o.signal }).finalMessage()
        : await anthropicClient(o).messages.create(anthropicParams(o), { signal: o.signal }),
    ),
  async object(o, schema) {
    return (
      await anthropicClient(o).messages.parse({
        ...anthropicParams(o),
        output_config: { format: zodOutputFormat(schema) },
      })
    ).parsed_output;
  },
  async raw(o, take) {
    for await (const e of await anthropicClient(o).messages.create(
      { ...anthropicParams(o), stream: true },
      { signal: o.signal },
    ))
      if (e.type === 'content_block_delta' && e.delta.type === 'text_delta') take(e.delta.text);
  },
};
