// `ai` (Vercel) with each of its providers.
import { generateText, jsonSchema, Output, streamText, tool } from 'ai';
import { createOpenAI, openai } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createAnthropic } from '@ai-sdk/anthropic';
import { BUDGET } from './anthropic.mjs';
import { base, dataUrl, key, only } from './kit.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

const aiPart = (p) => {
  if (p.image) return { type: 'image', image: p.image.url ? new URL(p.image.url) : dataUrl(p.image) };
  if (p.file) return { type: 'file', filename: p.file.name, mediaType: p.file.mime, data: p.file.data };
  return { type: 'text', text: p.text };
};
const aiTool = (t) =>
  t.custom
    ? openai.tools.customTool({
        name: t.name,
        description: t.description,
        format: { type: 'grammar', syntax: 'lark', definition: t.grammar },
      })
    : tool({ description: t.description, inputSchema: jsonSchema(t.parameters) });
function aiParams(o, model, providerOptions) {
  return only({
    model,
    messages: o.history,
    system: o.system,
    maxOutputTokens: o.max,
    temperature: o.temperature,
    topP: o.topP,
    stopSequences: o.stop,
    seed: o.seed,
    tools:
      o.tools &&
      Object.fromEntries(
        o.tools.map((t) => [t.name, aiTool(t)]),
      ),
    toolChoice: o.choice?.name ? { type: 'tool', toolName: o.choice.name } : o.choice,
    maxRetries: o.retries ?? 0,
    abortSignal: o.signal,
    providerOptions,
    headers: o.headers,
    output: o.schema ? Output.object({ schema: jsonSchema(o.schema.schema), name: o.schema.name }) : undefined,
  });
}
async function aiAsk(o, model, providerOptions) {
  const params = aiParams(o, model, providerOptions);
  let r;
  if (!o.stream) r = await generateText(params);
  else {
    let error;
    r = streamText({
      ...params,
      onError: (e) => {
        error = e.error;
      },
    });
    await r.consumeStream({ onError() {} });
    if (error) throw error;
  }
  const [text, calls, finish, usage, reasoning, response] = await Promise.all([
    r.text,
    r.toolCalls,
    r.finishReason,
    r.totalUsage,
    r.reasoningText,
    r.response,
  ]);
  return {
    text,
    calls: calls.map((c) => ({ id: c.toolCallId, name: c.toolName, args: c.input })),
    finish: { 'tool-calls': 'tool_calls', 'content-filter': 'content_filter' }[finish] ?? finish,
    usage: {
      input: usage.inputTokens,
      output: usage.outputTokens,
      total: usage.totalTokens,
      cached: usage.inputTokenDetails?.cacheReadTokens,
      reasoning: usage.outputTokenDetails?.reasoningTokens,
    },
    reasoning: reasoning ?? '',
    refusal: '',
    turn: response.messages,
    raw: r,
  };
}
const ai = (name, dialect, make, wishes) => ({
  name,
  dialect,
  ai: true,
  user: (parts) => [{ role: 'user', content: typeof parts === 'string' ? parts : parts.map(aiPart) }],
  results: (list) => [
    {
      role: 'tool',
      content: list.map((r) => ({
        type: 'tool-result',
        toolCallId: r.id,
        toolName: r.name,
        output: { type: 'text', value: r.text },
      })),
    },
  ],
  assistant: (text) => [{ role: 'assistant', content: text }],
  ask: (o) => aiAsk(o, make(o), wishes(o)),
  async object(o, schema) {
    return (await generateText({ ...aiParams(o, make(o), wishes(o)), output: Output.object({ schema }) })).output;
  },
  async raw(o, take) {
    let error;
    const r = streamText({
      ...aiParams(o, make(o), wishes(o)),
      onError: (e) => {
        error = e.error;
      },
    });
    for await (const t of r.textStream) take(t);
    if (error) throw error;
  },
});
const aiSettings = (o) => only({ apiKey: o.key ?? key, baseURL: `${base}/v1`, fetch: o.fetch });
export const aiResponses = ai(
  'ai openai()',
  'responses',
  (o) => createOpenAI(aiSettings(o))(o.model),
  (o) => ({
    openai: only({
      store: o.store ?? false,
      reasoningEffort: o.effort,
      reasoningSummary: o.effort ? 'auto' : undefined,
      parallelToolCalls: o.parallel,
      user: o.user,
      metadata: o.metadata,
      forceReasoning: o.effort ? true : undefined,
      ...(o.effort ? { include: ['reasoning.encrypted_content'] } : {}),
    }),
  }),
);
export const aiChat = ai(
  'ai openai.chat()',
  'openai',
  (o) => createOpenAI(aiSettings(o)).chat(o.model),
  (o) => ({
    openai: only({
      reasoningEffort: o.effort,
      parallelToolCalls: o.parallel,
      user: o.user,
      metadata: o.metadata,
      forceReasoning: o.effort ? true : undefined,
    }),
  }),
);
export const aiCompatible = ai(
  'ai compatible',
  'openai',
  (o) =>
    createOpenAICompatible({
      name: 'steelyard',
      ...aiSettings(o),
      includeUsage: true,
      supportsStructuredOutputs: true,
    })(o.model),
  (o) => ({
    steelyard: only({ reasoningEffort: o.effort, user: o.user, parallel_tool_calls: o.parallel, metadata: o.metadata }),
  }),
);
export const aiAnthropic = ai(
  'ai anthropic',
  'anthropic',
  (o) => createAnthropic(aiSettings(o))(o.model),
  (o) => ({
    anthropic: only({
      thinking: o.effort ? { type: 'enabled', budgetTokens: BUDGET[o.effort] } : undefined,
      disableParallelToolUse: o.parallel === false ? true : undefined,
      metadata: o.user ? { userId: o.user } : undefined,
      structuredOutputMode: 'outputFormat',
    }),
  }),
);
