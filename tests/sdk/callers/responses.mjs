// The `openai` package by Responses.
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { openai } from './chat.mjs';
import { dataUrl, only, parsed } from './kit.mjs';

const responsesPart = (p) => {
  if (p.image) return { type: 'input_image', detail: 'auto', image_url: p.image.url ?? dataUrl(p.image) };
  if (p.file) return { type: 'input_file', filename: p.file.name, file_data: dataUrl(p.file) };
  return { type: 'input_text', text: p.text };
};
const responsesTool = (t) =>
  t.custom
    ? {
        type: 'custom',
        name: t.name,
        description: t.description,
        format: { type: 'grammar', syntax: 'lark', definition: t.grammar },
      }
    : {
        type: 'function',
        name: t.name,
        description: t.description,
        parameters: t.parameters,
        strict: t.strict ?? false,
      };
function responsesParams(o) {
  return only({
    model: o.model,
    input: o.history,
    instructions: o.system,
    store: false,
    include: o.effort ? ['reasoning.encrypted_content'] : undefined,
    tools: o.tools?.map(responsesTool),
    tool_choice: o.choice?.name ? { type: 'function', name: o.choice.name } : o.choice,
    parallel_tool_calls: o.parallel,
    max_output_tokens: o.max,
    temperature: o.temperature,
    top_p: o.topP,
    reasoning: o.effort && { effort: o.effort, summary: 'auto' },
    metadata: o.metadata,
    user: o.user,
    text: o.schema
      ? {
          format: {
            type: 'json_schema',
            name: o.schema.name,
            schema: o.schema.schema,
            strict: o.schema.strict ?? true,
          },
        }
      : o.json
        ? { format: { type: 'json_object' } }
        : undefined,
    ...o.extra,
  });
}
function responsesResult(r) {
  const calls = r.output.filter((i) => i.type === 'function_call' || i.type === 'custom_tool_call');
  const reason = r.incomplete_details?.reason;
  const parts = r.output.filter((i) => i.type === 'message').flatMap((i) => i.content);
  return {
    text: parts
      .filter((p) => p.type === 'output_text')
      .map((p) => p.text)
      .join(''),
    calls: calls.map((c) => ({ id: c.call_id, name: c.name, args: c.input ?? parsed(c.arguments) })),
    finish:
      reason === 'max_output_tokens'
        ? 'length'
        : (reason ?? (r.status !== 'completed' ? r.status : calls.length ? 'tool_calls' : 'stop')),
    usage: r.usage && {
      input: r.usage.input_tokens,
      output: r.usage.output_tokens,
      total: r.usage.total_tokens,
      cached: r.usage.input_tokens_details?.cached_tokens,
      reasoning: r.usage.output_tokens_details?.reasoning_tokens,
    },
    reasoning: r.output
      .filter((i) => i.type === 'reasoning')
      .flatMap((i) => i.summary)
      .map((s) => s.text)
      .join(''),
    refusal: parts
      .filter((p) => p.type === 'refusal')
      .map((p) => p.refusal)
      .join(''),
    turn: r.output.map(({ parsed_arguments: _, ...i }) => i),
    raw: r,
  };
}
export const openaiResponses = {
  name: 'openai.responses',
  dialect: 'responses',
  sdk: OpenAI,
  user: (parts) => [{ role: 'user', content: typeof parts === 'string' ? parts : parts.map(responsesPart) }],
  results: (list) =>
    list.map((r) => ({
      type: r.custom ? 'custom_tool_call_output' : 'function_call_output',
      call_id: r.id,
      output: r.text,
    })),
  assistant: (text) => [{ role: 'assistant', content: text }],
  ask: async (o) =>
    responsesResult(
      o.stream
        ? await openai(o).responses.stream(responsesParams(o), { signal: o.signal }).finalResponse()
        : await openai(o).responses.create(responsesParams(o), { signal: o.signal }),
    ),
  async object(o, schema) {
    return (
      await openai(o).responses.parse({ ...responsesParams(o), text: { format: zodTextFormat(schema, 'answer') } })
    ).output_parsed;
  },
  async raw(o, take) {
    for await (const e of await openai(o).responses.create(
      { ...responsesParams(o), stream: true },
      { signal: o.signal },
    )) {
      if (e.type === 'response.output_text.delta') take(e.delta);
      // These clients hand the failure over as an event; their user reads it there.
      if (e.type === 'response.failed' || e.type === 'error')
        throw new OpenAI.APIError(undefined, e.response?.error ?? e, 'failed', undefined);
    }
  },
};
