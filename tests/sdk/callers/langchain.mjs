// `@langchain/openai`, by chat completions and by Responses.
import OpenAI from 'openai';
import { ChatOpenAI } from '@langchain/openai';
import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { chatChoice, chatPart, chatTool } from './chat.mjs';
import { base, key, only } from './kit.mjs';

export const langchain = (name, dialect, more) => {
  const make = (o) => {
    const chat = new ChatOpenAI(
      only({
        model: o.model,
        apiKey: o.key ?? key,
        configuration: only({ baseURL: `${base}/v1`, fetch: o.fetch, defaultHeaders: o.headers }),
        maxRetries: o.retries ?? 0,
        temperature: o.temperature,
        topP: o.topP,
        maxTokens: o.max,
        stop: o.stop,
        n: o.n,
        user: o.user,
        timeout: o.timeout,
        streamUsage: true,
        ...more,
        reasoning: o.effort && dialect === 'responses' ? { effort: o.effort, summary: 'auto' } : undefined,
        modelKwargs: only({
          metadata: o.metadata,
          reasoning_effort: dialect === 'openai' ? o.effort : undefined,
          seed: dialect === 'openai' ? o.seed : undefined,
          response_format: o.json && dialect === 'openai' ? { type: 'json_object' } : undefined,
          ...o.extra,
        }),
      }),
    );
    return o.tools
      ? chat.bindTools(
          o.tools.map(chatTool),
          only({ tool_choice: chatChoice(o.choice), parallel_tool_calls: o.parallel }),
        )
      : chat;
  };
  const history = (o) => [...(o.system ? [new SystemMessage(o.system)] : []), ...o.history];
  return {
    name,
    dialect,
    langchain: true,
    sdk: OpenAI,
    user: (parts) => [new HumanMessage({ content: typeof parts === 'string' ? parts : parts.map(chatPart) })],
    results: (list) => list.map((r) => new ToolMessage({ tool_call_id: r.id, content: r.text, name: r.name })),
    assistant: (text) => [new AIMessage(text)],
    async ask(o) {
      const model = make(o);
      let r;
      if (o.stream) {
        for await (const c of await model.stream(history(o), { signal: o.signal })) r = r ? r.concat(c) : c;
      } else r = await model.invoke(history(o), { signal: o.signal });
      const meta = r.response_metadata;
      const u = r.usage_metadata;
      const reason =
        meta.finish_reason ??
        (meta.incomplete_details?.reason === 'max_output_tokens' ? 'length' : meta.incomplete_details?.reason) ??
        (r.tool_calls?.length ? 'tool_calls' : 'stop');
      return {
        text: r.text,
        calls: (r.tool_calls ?? []).map((c) => ({ id: c.id, name: c.name, args: c.args })),
        finish: reason,
        usage: u && {
          input: u.input_tokens,
          output: u.output_tokens,
          total: u.total_tokens,
          cached: u.input_token_details?.cache_read,
          reasoning: u.output_token_details?.reasoning,
        },
        reasoning:
          r.additional_kwargs.reasoning_content ??
          (r.additional_kwargs.reasoning?.summary ?? []).map((s) => s.text).join(''),
        refusal: r.additional_kwargs.refusal ?? '',
        turn: [r],
        raw: r,
      };
    },
    object: (o, schema) =>
      make(o).withStructuredOutput(schema, { method: 'jsonSchema', name: 'answer' }).invoke(history(o)),
    async raw(o, take) {
      for await (const c of await make(o).stream(history(o), { signal: o.signal })) take(c.text);
    },
  };
};
