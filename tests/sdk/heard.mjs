// What a vendor was asked, in the words of no vendor, so that a case can say once what must have arrived:
// { system, turns, max, temperature, topP, stop, seed, n, tools, choice, format, thinks, user }
//   turns: { role: user|assistant|tool, text, calls: [{id, name, args}], results: [{id, text}], images, files, thoughts }
const turn = (role, more = {}) => ({
  role,
  text: '',
  calls: [],
  results: [],
  images: [],
  files: [],
  thoughts: [],
  ...more,
});
const parsed = (text) => (text ? JSON.parse(text) : {});
const plain = (content) => (typeof content === 'string' ? content : (content ?? []).map((p) => p.text ?? '').join(''));
const data = (url) => /^data:([^;]+);base64,(.*)$/s.exec(url)?.slice(1) ?? [null, url];

function openai(body) {
  const system = [],
    turns = [];
  for (const m of body.messages) {
    if (m.role === 'system' || m.role === 'developer') {
      system.push(plain(m.content));
      continue;
    }
    const t = turn(m.role);
    if (m.role === 'tool') t.results.push({ id: m.tool_call_id, text: plain(m.content) });
    else t.text = plain(m.content);
    for (const p of Array.isArray(m.content) ? m.content : []) {
      if (p.type === 'image_url') t.images.push(data(p.image_url.url));
      if (p.type === 'file') t.files.push([p.file.filename, ...data(p.file.file_data)]);
    }
    t.calls = (m.tool_calls ?? []).map((c) => ({
      id: c.id,
      name: c.function.name,
      args: parsed(c.function.arguments),
    }));
    if (m.reasoning_content) t.thoughts.push(m.reasoning_content);
    for (const d of m.reasoning_details ?? []) t.thoughts.push(d.signature);
    turns.push(t);
  }
  const c = body.tool_choice;
  return {
    system: system.join('\n'),
    turns,
    max: body.max_completion_tokens ?? body.max_tokens,
    temperature: body.temperature,
    topP: body.top_p,
    stop: body.stop && [body.stop].flat(),
    seed: body.seed,
    n: body.n,
    tools: body.tools?.map((t) => t.function.name),
    choice: c?.function?.name ?? c,
    format: body.response_format?.json_schema?.schema ?? body.response_format?.type,
    thinks: body.reasoning_effort,
    user: body.safety_identifier ?? body.user,
  };
}

function responses(body) {
  const system = body.instructions ? [body.instructions] : [],
    turns = [];
  const last = (role) => {
    if (turns.at(-1)?.role !== role) turns.push(turn(role));
    return turns.at(-1);
  };
  for (const item of typeof body.input === 'string' ? [{ role: 'user', content: body.input }] : body.input) {
    if (item.type === 'function_call')
      last('assistant').calls.push({ id: item.call_id, name: item.name, args: parsed(item.arguments) });
    else if (item.type === 'custom_tool_call')
      last('assistant').calls.push({ id: item.call_id, name: item.name, args: { input: item.input } });
    else if (item.type === 'function_call_output' || item.type === 'custom_tool_call_output')
      last('tool').results.push({ id: item.call_id, text: plain(item.output) });
    else if (item.type === 'reasoning') last('assistant').thoughts.push(item.encrypted_content);
    else if (item.role === 'system' || item.role === 'developer') system.push(plain(item.content));
    else {
      const t = last(item.role);
      t.text += plain(item.content);
      for (const p of Array.isArray(item.content) ? item.content : []) {
        if (p.type === 'input_image') t.images.push(data(p.image_url));
        if (p.type === 'input_file') t.files.push([p.filename, ...data(p.file_data)]);
      }
    }
  }
  const f = body.text?.format;
  return {
    system: system.join('\n'),
    turns,
    max: body.max_output_tokens,
    temperature: body.temperature,
    topP: body.top_p,
    tools: body.tools?.map((t) => t.name),
    choice: body.tool_choice?.name ?? body.tool_choice,
    format: f?.schema ?? f?.type,
    thinks: body.reasoning?.effort,
    user: body.safety_identifier ?? body.user,
  };
}

function anthropic(body) {
  const turns = [];
  for (const m of body.messages) {
    const blocks = typeof m.content === 'string' ? [{ type: 'text', text: m.content }] : m.content;
    const results = blocks
      .filter((b) => b.type === 'tool_result')
      .map((b) => ({ id: b.tool_use_id, text: plain(b.content) }));
    if (results.length) turns.push(turn('tool', { results }));
    const rest = blocks.filter((b) => b.type !== 'tool_result');
    if (!rest.length) continue;
    const media = (type) => rest.filter((b) => b.type === type);
    turns.push(
      turn(m.role, {
        text: plain(rest.filter((b) => b.type === 'text')),
        calls: media('tool_use').map((b) => ({ id: b.id, name: b.name, args: b.input })),
        images: media('image').map((b) => [b.source.media_type ?? null, b.source.data ?? b.source.url]),
        files: media('document').map((b) => [b.title, b.source.media_type, b.source.data]),
        thoughts: media('thinking').map((b) => b.signature),
      }),
    );
  }
  const c = body.tool_choice;
  return {
    system: plain(body.system ?? ''),
    turns,
    max: body.max_tokens,
    temperature: body.temperature,
    topP: body.top_p,
    stop: body.stop_sequences,
    tools: body.tools?.map((t) => t.name),
    choice: c?.name ?? { any: 'required' }[c?.type] ?? c?.type,
    format: (body.output_config?.format ?? body.output_format)?.schema,
    thinks: body.thinking?.type ?? body.output_config?.effort,
    user: body.metadata?.user_id,
  };
}

function gemini(body) {
  const turns = [];
  for (const c of body.contents) {
    const of = (key) => c.parts.filter((p) => p[key]);
    const results = of('functionResponse').map(({ functionResponse: f }) => ({
      id: f.id,
      name: f.name,
      text: typeof f.response.content === 'string' ? f.response.content : JSON.stringify(f.response),
    }));
    if (results.length) turns.push(turn('tool', { results }));
    const rest = c.parts.filter((p) => !p.functionResponse);
    if (!rest.length) continue;
    const media = rest.filter((p) => p.inlineData).map((p) => [p.inlineData.mimeType, p.inlineData.data]);
    turns.push(
      turn(c.role === 'model' ? 'assistant' : 'user', {
        text: plain(rest.filter((p) => p.text && !p.thought)),
        calls: of('functionCall').map(({ functionCall: f }) => ({ id: f.id, name: f.name, args: f.args ?? {} })),
        images: [
          ...media.filter((m) => m[0].startsWith('image/')),
          ...of('fileData').map((p) => [p.fileData.mimeType ?? null, p.fileData.fileUri]),
        ],
        files: media.filter((m) => m[0] === 'application/pdf').map((m) => [undefined, ...m]),
        thoughts: of('thoughtSignature').map((p) => p.thoughtSignature),
      }),
    );
  }
  const g = body.generationConfig ?? {};
  const c = body.toolConfig?.functionCallingConfig;
  return {
    system: plain(body.systemInstruction?.parts ?? ''),
    turns,
    max: g.maxOutputTokens,
    temperature: g.temperature,
    topP: g.topP,
    stop: g.stopSequences,
    seed: g.seed,
    n: g.candidateCount,
    tools: body.tools?.flatMap((t) => t.functionDeclarations.map((f) => f.name)),
    choice: c?.allowedFunctionNames?.[0] ?? { ANY: 'required', NONE: 'none', AUTO: 'auto' }[c?.mode],
    format:
      g.responseJsonSchema ??
      g.responseSchema ??
      (g.responseMimeType === 'application/json' ? 'json_object' : undefined),
    thinks: g.thinkingConfig?.thinkingLevel ?? g.thinkingConfig?.thinkingBudget,
  };
}

function bedrock(body) {
  const turns = [];
  for (const m of body.messages) {
    const of = (key) => m.content.filter((b) => b[key] !== undefined).map((b) => b[key]);
    const results = of('toolResult').map((r) => ({ id: r.toolUseId, text: plain(r.content) }));
    if (results.length) turns.push(turn('tool', { results }));
    if (m.content.every((b) => b.toolResult)) continue;
    turns.push(
      turn(m.role, {
        text: plain(m.content.filter((b) => b.text !== undefined)),
        calls: of('toolUse').map((t) => ({ id: t.toolUseId, name: t.name, args: t.input })),
        images: of('image').map((i) => [`image/${i.format}`, i.source.bytes]),
        files: of('document').map((d) => [d.name, `application/${d.format}`, d.source.bytes]),
        thoughts: of('reasoningContent').map((r) => r.reasoningText?.signature ?? r.redactedContent),
      }),
    );
  }
  const i = body.inferenceConfig ?? {};
  const apart = body.additionalModelRequestFields?.tool_choice?.type;
  const c = body.toolConfig?.toolChoice;
  return {
    system: plain(body.system ?? ''),
    turns,
    max: i.maxTokens,
    temperature: i.temperature,
    topP: i.topP,
    stop: i.stopSequences,
    tools: body.toolConfig?.tools.filter((t) => t.toolSpec).map((t) => t.toolSpec.name),
    choice: c?.tool?.name ?? (c?.any ? 'required' : c?.auto ? 'auto' : apart),
    format: parsed(body.outputConfig?.textFormat?.structure?.jsonSchema?.schema),
    thinks:
      body.additionalModelRequestFields?.thinking?.type ?? body.additionalModelRequestFields?.output_config?.effort,
  };
}

function cohere(body) {
  const said = openai({
    messages: body.messages.map((m) => {
      const content = Array.isArray(m.content) ? m.content.filter((p) => p.type !== 'thinking') : m.content;
      return { ...m, content: m.tool_plan ? m.tool_plan + plain(content) : content };
    }),
  });
  return {
    ...said,
    max: body.max_tokens,
    temperature: body.temperature,
    topP: body.p,
    stop: body.stop_sequences,
    seed: body.seed,
    tools: body.tools?.map((t) => t.function.name),
    choice: { REQUIRED: 'required', NONE: 'none' }[body.tool_choice],
    format: body.response_format?.json_schema ?? body.response_format?.type,
    thinks: body.thinking?.type,
  };
}

export const heard = { openai, responses, anthropic, gemini, bedrock, cohere };
