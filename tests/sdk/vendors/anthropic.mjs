// Messages, with the rules of Anthropic's API for a model of the 4.5 generation.
import { argsObject, argsText, frame, isMedia, must, only, pieces, sse } from './vendor.mjs';

const FIELDS = [
  'model',
  'messages',
  'max_tokens',
  'system',
  'stream',
  'stop_sequences',
  'temperature',
  'top_p',
  'top_k',
  'tools',
  'tool_choice',
  'thinking',
  'metadata',
  'service_tier',
  'output_config',
  'output_format',
  'cache_control',
  'container',
  'context_management',
  'mcp_servers',
  'speed',
  'inference_geo',
];
const IMAGES = ['image/jpeg', 'image/png', 'image/gif', 'image/webp'];
const SIGNATURE = 'ant-signature-';

function checkBlock(b, where, role, state) {
  const known = {
    user: ['text', 'image', 'document', 'tool_result'],
    assistant: ['text', 'thinking', 'redacted_thinking', 'tool_use'],
    result: ['text', 'image', 'document'],
  }[role];
  must(
    known.includes(b.type),
    `${where}: Input tag '${b.type}' found using 'type' does not match any of the expected tags: ${known.map((k) => `'${k}'`).join(', ')}`,
  );
  if (b.cache_control) state.marks++;
  if (b.type === 'text') {
    must(typeof b.text === 'string', `${where}.text: Field required`);
    must(b.text !== '', 'messages: text content blocks must be non-empty');
    must(/\S/.test(b.text), 'messages: text content blocks must contain non-whitespace text');
  }
  if (b.type === 'image') {
    if (b.source?.type === 'base64') {
      must(
        IMAGES.includes(b.source.media_type),
        `${where}.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'`,
      );
      must(
        isMedia(b.source.media_type, b.source.data),
        `${where}.source.base64.data: Image does not match the provided media type ${b.source.media_type}`,
      );
    } else must(b.source?.type === 'url' && /^https?:/.test(b.source.url), `${where}.source: Input tag does not match`);
  }
  if (b.type === 'document') {
    if (b.source?.type === 'base64')
      must(
        isMedia('application/pdf', b.source.data) && b.source.media_type === 'application/pdf',
        `${where}: The PDF specified was not valid.`,
      );
    else must(['url', 'text', 'content', 'file'].includes(b.source?.type), `${where}.source: Input tag does not match`);
  }
  if (b.type === 'thinking')
    must(b.signature?.startsWith(SIGNATURE), `${where}: Invalid \`signature\` in \`thinking\` block`);
  if (b.type === 'tool_use') {
    must(/^[a-zA-Z0-9_-]+$/.test(b.id ?? ''), `${where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'`);
    must(!state.ids.has(b.id), 'messages: `tool_use` ids must be unique');
    state.ids.add(b.id);
    must(
      b.input !== null && typeof b.input === 'object' && !Array.isArray(b.input),
      `${where}.tool_use.input: Input should be a valid dictionary`,
    );
  }
  if (b.type === 'tool_result' && Array.isArray(b.content))
    b.content.forEach((c, i) => checkBlock(c, `${where}.tool_result.content.${i}`, 'result', state));
}

function checkMessages(body, state) {
  must(Array.isArray(body.messages) && body.messages.length > 0, 'messages: at least one message is required');
  must(body.messages[0].role === 'user', 'messages: first message must use the "user" role');
  let open = [];
  // Neighbours of one role are one turn for the server.
  const turns = [];
  body.messages.forEach((m, i) => {
    must(['user', 'assistant'].includes(m.role), `messages.${i}.role: Input should be 'user' or 'assistant'`);
    only(m, ['role', 'content'], (name) => `messages.${i}.${name}: Extra inputs are not permitted`);
    const blocks = typeof m.content === 'string' ? [{ type: 'text', text: m.content }] : m.content;
    must(
      Array.isArray(blocks) && blocks.length > 0,
      `messages.${i}: all messages must have non-empty content except for the optional final assistant message`,
    );
    blocks.forEach((b, k) => checkBlock(b, `messages.${i}.content.${k}`, m.role, state));
    if (turns.at(-1)?.role === m.role) turns.at(-1).blocks.push(...blocks);
    else turns.push({ role: m.role, blocks: [...blocks] });
  });
  turns.forEach((t, i) => {
    if (t.role === 'user') {
      const results = t.blocks.filter((b) => b.type === 'tool_result');
      for (const r of results)
        must(
          open.includes(r.tool_use_id),
          `messages.${i}.content.0: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${r.tool_use_id}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`,
        );
      must(
        open.every((id) => results.some((r) => r.tool_use_id === id)),
        `messages.${i - 1}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${open.join(', ')}.`,
      );
      must(
        t.blocks.slice(0, results.length).every((b) => b.type === 'tool_result'),
        `messages.${i}: \`tool_result\` blocks must come first`,
      );
      open = [];
    } else open = t.blocks.filter((b) => b.type === 'tool_use').map((b) => b.id);
  });
  must(
    open.length === 0,
    `messages.${turns.length - 1}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${open}.`,
  );
  const last = turns.at(-1);
  if (last.role === 'assistant' && last.blocks.at(-1).type === 'text')
    must(!/\s$/.test(last.blocks.at(-1).text), 'messages: final assistant content cannot end with trailing whitespace');
  return turns;
}

function checkSchema(schema) {
  if (!schema || typeof schema !== 'object') return;
  if (schema.type === 'object')
    must(
      schema.additionalProperties === false,
      "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
    );
  for (const name of ['minimum', 'maximum', 'minLength', 'maxLength', 'pattern', 'multipleOf', 'oneOf'])
    must(
      !(name in schema),
      `output_config.format.schema: For '${schema.type}' type, property '${name}' is not supported`,
    );
  for (const inner of Object.values(schema.properties ?? {})) checkSchema(inner);
  checkSchema(schema.items);
}

function checkThinking(body, turns) {
  const budget = body.thinking.budget_tokens;
  if (body.thinking.type === 'enabled') {
    must(budget >= 1024, 'thinking.enabled.budget_tokens: Input should be greater than or equal to 1024');
    must(budget < body.max_tokens, '`max_tokens` must be greater than `thinking.budget_tokens`');
  }
  must(
    body.temperature === undefined || body.temperature === 1,
    '`temperature` may only be set to 1 when thinking is enabled.',
  );
  must(body.top_k === undefined, '`top_k` must be unset when thinking is enabled.');
  must(
    !['any', 'tool'].includes(body.tool_choice?.type),
    'Thinking may not be enabled when tool_choice forces tool use.',
  );
  const at = turns.findLastIndex((t) => t.role === 'assistant');
  if (at >= 0 && turns[at].blocks.some((b) => b.type === 'tool_use'))
    must(
      /thinking/.test(turns[at].blocks[0].type),
      `messages.${at}.content.0.type: Expected \`thinking\` or \`redacted_thinking\`, but found \`${turns[at].blocks[0].type}\`. When \`thinking\` is enabled, a final \`assistant\` message must start with a thinking block.`,
    );
}

function check({ body, headers }) {
  must(headers['x-api-key'] === 'provider-secret', 'invalid x-api-key', { status: 401, type: 'authentication_error' });
  must(headers['anthropic-version'], 'anthropic-version: header is required');
  only(body, FIELDS, (name) => `${name}: Extra inputs are not permitted`);
  must(Number.isInteger(body.max_tokens) && body.max_tokens > 0, 'max_tokens: Field required');
  must(
    body.max_tokens <= 64000,
    `max_tokens: ${body.max_tokens} > 64000, which is the maximum allowed number of output tokens for ${body.model}`,
  );
  const state = { ids: new Set(), marks: 0 };
  if (body.system !== undefined) {
    const blocks = typeof body.system === 'string' ? [{ type: 'text', text: body.system }] : body.system;
    must(
      Array.isArray(blocks) && blocks.every((b) => b.type === 'text' && b.text),
      'system: text content blocks must be non-empty',
    );
    state.marks += blocks.filter((b) => b.cache_control).length;
  }
  const turns = checkMessages(body, state);
  for (const t of body.tools ?? []) {
    must(
      /^[a-zA-Z0-9_-]{1,128}$/.test(t.name ?? ''),
      "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    );
    must(t.input_schema?.type === 'object', 'tools.0.custom.input_schema.type: Field required');
    if (t.cache_control) state.marks++;
  }
  must(state.marks <= 4, `A maximum of 4 blocks with cache_control may be provided. Found ${state.marks}.`);
  must(!body.tool_choice || body.tools?.length, 'tool_choice: may only be specified while providing tools');
  if (body.temperature !== undefined) {
    must(body.temperature >= 0 && body.temperature <= 1, 'temperature: range: 0..1');
    must(
      body.top_p === undefined,
      '`temperature` and `top_p` cannot both be specified for this model. Please use only one.',
    );
  }
  for (const s of body.stop_sequences ?? [])
    must(/\S/.test(s), 'stop_sequences: each stop sequence must contain non-whitespace');
  if (body.output_config?.format) {
    must(body.output_config.format.type === 'json_schema', "output_config.format.type: Input should be 'json_schema'");
    checkSchema(body.output_config.format.schema);
  }
  if (body.output_config?.effort)
    must(
      ['low', 'medium', 'high', 'xhigh', 'max'].includes(body.output_config.effort),
      'output_config.effort: Input should be low, medium, high',
    );
  if (body.metadata) only(body.metadata, ['user_id'], (name) => `metadata.${name}: Extra inputs are not permitted`);
  if (['enabled', 'adaptive'].includes(body.thinking?.type)) checkThinking(body, turns);
}

const usageOf = (u) => ({
  input_tokens: u.input - u.cached - u.written,
  cache_read_input_tokens: u.cached,
  cache_creation_input_tokens: u.written,
  cache_creation: { ephemeral_5m_input_tokens: u.written, ephemeral_1h_input_tokens: 0 },
  output_tokens: u.output,
  service_tier: 'standard',
  ...(u.reasoning ? { output_tokens_details: { thinking_tokens: u.reasoning } } : {}),
});
const FINISH = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
  stop_sequence: 'stop_sequence',
};

function blockOf(p) {
  if (p.reasoning) return { type: 'thinking', thinking: p.reasoning, signature: SIGNATURE + p.reasoning.length };
  if (p.call) return { type: 'tool_use', id: p.id, name: p.call, input: argsObject(p) };
  return { type: 'text', text: p.text };
}

const ending = (answer) => ({ stop_reason: FINISH[answer.finish], stop_sequence: answer.stopSequence ?? null });
const blocksOf = (answer) => answer.parts.filter((p) => p.text !== '');

function whole(answer, { body }) {
  return {
    id: 'msg_up1',
    type: 'message',
    role: 'assistant',
    model: body.model,
    content: blocksOf(answer).map(blockOf),
    ...ending(answer),
    usage: usageOf(answer.usage),
  };
}

function frames(answer, { body }) {
  const out = [];
  const say = (event, says = false) => out.push(frame(sse(event, event.type), says));
  say({
    type: 'message_start',
    message: {
      id: 'msg_up2',
      type: 'message',
      role: 'assistant',
      model: body.model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { ...usageOf(answer.usage), output_tokens: 1 },
    },
  });
  blocksOf(answer).forEach((p, index) => {
    const block = blockOf(p);
    const empty = p.call
      ? { ...block, input: {} }
      : p.reasoning
        ? { type: 'thinking', thinking: '', signature: '' }
        : { type: 'text', text: '' };
    say({ type: 'content_block_start', index, content_block: empty }, Boolean(p.call));
    if (index === 0) say({ type: 'ping' });
    const delta = (d) => say({ type: 'content_block_delta', index, delta: d }, true);
    if (p.reasoning) {
      for (const t of pieces(p.reasoning)) delta({ type: 'thinking_delta', thinking: t });
      delta({ type: 'signature_delta', signature: block.signature });
    } else if (p.call)
      for (const t of ['', ...pieces(argsText(p))]) delta({ type: 'input_json_delta', partial_json: t });
    else for (const t of pieces(p.text)) delta({ type: 'text_delta', text: t });
    say({ type: 'content_block_stop', index });
  });
  say({ type: 'message_delta', delta: ending(answer), usage: usageOf(answer.usage) });
  say({ type: 'message_stop' });
  return out;
}

const error = (status, type, message, headers = {}) => ({
  status,
  headers: { 'request-id': 'req_up', ...headers },
  body: { type: 'error', error: { type, message }, request_id: 'req_up' },
});

export default {
  name: 'anthropic',
  provider: (port) =>
    `{type: anthropic, base_url: "http://127.0.0.1:${port}", private: true, abort_stops_billing: true, api_key: os.environ/VENDOR_KEY}`,
  route({ path, body }) {
    const [where] = path.split('?');
    if (where === '/v1/messages') return { check, stream: body.stream };
    if (where === '/v1/messages/count_tokens') return { reply: () => ({ input_tokens: 2095 }) };
    return null;
  },
  broken: (e) => error(e.status ?? 400, e.type ?? 'invalid_request_error', e.message),
  errors: (kind) =>
    ({
      bad: error(400, 'invalid_request_error', 'The vendor does not like this value.'),
      context: error(400, 'invalid_request_error', 'prompt is too long: 210000 tokens > 200000 maximum'),
      unprocessable: error(422, 'invalid_request_error', 'The vendor cannot process this.'),
      large: error(413, 'request_too_large', 'Request exceeds the maximum size'),
      auth: error(401, 'authentication_error', 'invalid x-api-key'),
      permission: error(
        403,
        'permission_error',
        'Your API key does not have permission to use the specified resource.',
      ),
      missing: error(404, 'not_found_error', 'model: x'),
      limited: error(429, 'rate_limit_error', 'This request would exceed your rate limit.', { 'retry-after': '7' }),
      broken: error(500, 'api_error', 'Internal server error'),
      overloaded: error(529, 'overloaded_error', 'Overloaded'),
      html: { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>bad gateway</html>' },
    })[kind],
  whole,
  frames,
  streamError: sse({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 'error'),
};
