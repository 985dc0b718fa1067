// Chat completions, as a compatible server with OpenAI's own rules.
import { argsText, frame, isMedia, must, only, pieces, sse } from './vendor.mjs';

const FIELDS = [
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'stop',
  'n',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'logit_bias',
  'logprobs',
  'top_logprobs',
  'response_format',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'reasoning_effort',
  'user',
  'safety_identifier',
  'metadata',
  'store',
  'service_tier',
  'prompt_cache_key',
  'modalities',
  'verbosity',
  'prediction',
  'prompt_cache_retention',
];
const MESSAGE = {
  system: ['role', 'content', 'name'],
  developer: ['role', 'content', 'name'],
  user: ['role', 'content', 'name'],
  assistant: [
    'role',
    'content',
    'name',
    'tool_calls',
    'refusal',
    'audio',
    'reasoning_content',
    'reasoning_details',
    'annotations',
    'parsed',
  ],
  tool: ['role', 'content', 'tool_call_id', 'name'],
};
// What a gateway of this dialect signs, as OpenRouter has it: a part { reasoning, signed: true }.
const SIGNATURE = 'cmp-signature-';
const detail = (members) => ({ type: 'reasoning.text', format: 'anthropic-claude-v1', index: 0, ...members });
const signature = (p) => SIGNATURE + p.reasoning.length;

const PARTS = ['text', 'image_url', 'input_audio', 'file', 'refusal'];
const reasons = (model) => /^(o\d|gpt-5)/.test(model);

function checkPart(part, where) {
  must(
    PARTS.includes(part.type),
    `Invalid value: '${part.type}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'.`,
    { param: `${where}.type` },
  );
  if (part.type === 'text') must(typeof part.text === 'string', `Missing required parameter: '${where}.text'.`);
  if (part.type === 'image_url') {
    const data = /^data:([^;]*);base64,(.*)$/s.exec(part.image_url?.url ?? '');
    must(data || /^https?:/.test(part.image_url?.url ?? ''), `Invalid type for '${where}.image_url'.`);
    if (data)
      must(isMedia(data[1], data[2]), 'You uploaded an unsupported image. Please make sure your image is valid.');
  }
  if (part.type === 'file') {
    must(
      part.file?.file_id || /^data:application\/pdf;base64,/.test(part.file?.file_data ?? ''),
      `Invalid 'file_data' in '${where}'.`,
    );
    must(part.file.file_id || part.file.filename, `Missing required parameter: '${where}.file.filename'.`);
  }
}

function checkMessages(messages) {
  must(
    Array.isArray(messages) && messages.length > 0,
    "Invalid 'messages': empty array. Expected an array with minimum length 1.",
  );
  let open = new Set();
  messages.forEach((m, i) => {
    const where = `messages[${i}]`;
    must(MESSAGE[m.role], `Invalid value: '${m.role}'.`, { param: `${where}.role` });
    only(m, MESSAGE[m.role], (name) => `Additional properties are not allowed ('${name}' was unexpected) - '${where}'`);
    if (m.role === 'tool') {
      must(
        open.has(m.tool_call_id),
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
      );
      open.delete(m.tool_call_id);
      must(
        typeof m.content === 'string' || m.content.every((p) => p.type === 'text'),
        `Invalid content of '${where}'.`,
      );
      return;
    }
    must(
      open.size === 0,
      `An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: ${[...open]}`,
    );
    open = new Set((m.tool_calls ?? []).map((c) => c.id));
    for (const c of m.tool_calls ?? []) {
      must(c.type === 'function' && typeof c.function?.arguments === 'string', `Invalid '${where}.tool_calls'.`);
      must(
        c.id?.length > 0 && c.id.length <= 40,
        `Invalid '${where}.tool_calls[0].id': string too long. Expected a string with maximum length 40.`,
      );
      must(/^[a-zA-Z0-9_-]{1,64}$/.test(c.function.name), `Invalid '${where}.tool_calls[0].function.name'.`);
    }
    for (const d of m.reasoning_details ?? [])
      must(
        d.format === 'anthropic-claude-v1' && d.signature === SIGNATURE + d.text?.length,
        `${where}.reasoning_details: Invalid \`signature\``,
      );
    must(!m.tool_calls || m.tool_calls.length > 0, `Invalid '${where}.tool_calls': empty array.`);
    must(
      typeof m.content === 'string' || Array.isArray(m.content) || m.tool_calls || m.refusal,
      `Invalid value for 'content': expected a string, got null.`,
      { param: `${where}.content` },
    );
    if (Array.isArray(m.content)) m.content.forEach((p, k) => checkPart(p, `${where}.content[${k}]`));
  });
  must(
    open.size === 0,
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
  );
}

export function checkSchema(schema, where, param) {
  if (schema?.type !== 'object') return;
  must(
    schema.additionalProperties === false,
    `Invalid schema for ${where}: In context=(), 'additionalProperties' is required to be supplied and to be false.`,
    { param },
  );
  must(
    Object.keys(schema.properties ?? {}).every((name) => schema.required?.includes(name)),
    `Invalid schema for ${where}: 'required' is required to be supplied and to be an array including every key in properties.`,
    { param },
  );
  for (const inner of Object.values(schema.properties ?? {})) checkSchema(inner, where, param);
}

function check({ body, headers }) {
  must(/^Bearer provider-secret$/.test(headers.authorization ?? ''), 'Incorrect API key provided.', { status: 401 });
  only(body, FIELDS, (name) => `Unrecognized request argument supplied: ${name}`);
  must(typeof body.model === 'string' && body.model, "Missing required parameter: 'model'.");
  checkMessages(body.messages);
  if (body.tools !== undefined) {
    must(
      body.tools.length > 0,
      "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
    );
    for (const t of body.tools) {
      must(
        t.type === 'function' && /^[a-zA-Z0-9_-]{1,64}$/.test(t.function?.name ?? ''),
        "Invalid 'tools[0].function.name': string does not match pattern.",
      );
      if (t.function.strict)
        checkSchema(t.function.parameters, `function '${t.function.name}'`, 'tools[0].function.parameters');
    }
  } else {
    must(
      body.tool_choice === undefined,
      "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
    );
    must(
      body.parallel_tool_calls === undefined,
      "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified.",
    );
  }
  const choice = body.tool_choice;
  if (choice?.type === 'function')
    must(
      body.tools.some((t) => t.function.name === choice.function?.name),
      `Tool choice '${choice.function?.name}' not found in 'tools' parameter.`,
    );
  must(
    body.stream || body.stream_options === undefined,
    "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
  );
  const format = body.response_format;
  if (format)
    must(['text', 'json_object', 'json_schema'].includes(format.type), `Invalid value: '${format.type}'.`, {
      param: 'response_format.type',
    });
  if (format?.type === 'json_object')
    must(
      /json/i.test(JSON.stringify(body.messages)),
      "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    );
  if (format?.type === 'json_schema') {
    must(format.json_schema?.name, "Missing required parameter: 'response_format.json_schema.name'.");
    if (format.json_schema.strict)
      checkSchema(format.json_schema.schema, `response_format '${format.json_schema.name}'`, 'response_format');
  }
  must(
    !(body.max_tokens && body.max_completion_tokens),
    "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
  );
  must(
    body.temperature === undefined || (body.temperature >= 0 && body.temperature <= 2),
    "Invalid 'temperature': decimal above maximum value.",
  );
  must(
    !Array.isArray(body.stop) || body.stop.length <= 4,
    "Invalid 'stop': array too long. Expected an array with maximum length 4.",
  );
  if (reasons(body.model)) {
    must(
      body.max_tokens === undefined,
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    );
    for (const name of [
      'temperature',
      'top_p',
      'presence_penalty',
      'frequency_penalty',
      'logprobs',
      'top_logprobs',
      'logit_bias',
      'stop',
    ])
      must(body[name] === undefined, `Unsupported parameter: '${name}' is not supported with this model.`, {
        param: name,
      });
  }
}

const usageOf = (u) => ({
  prompt_tokens: u.input,
  completion_tokens: u.output,
  total_tokens: u.input + u.output,
  prompt_tokens_details: { cached_tokens: u.cached, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: u.reasoning, audio_tokens: 0 },
});
const finishOf = (f) => (f === 'stop_sequence' ? 'stop' : f);
const callOf = (p) => ({ id: p.id, type: 'function', function: { name: p.call, arguments: argsText(p) || '{}' } });

function messageOf(answer) {
  const texts = answer.parts
    .filter((p) => p.text !== undefined)
    .map((p) => p.text)
    .join('');
  const calls = answer.parts.filter((p) => p.call).map(callOf);
  const thoughts = answer.parts
    .filter((p) => p.reasoning)
    .map((p) => p.reasoning)
    .join('');
  const signed = answer.parts
    .filter((p) => p.signed)
    .map((p) => detail({ text: p.reasoning, signature: signature(p) }));
  return {
    role: 'assistant',
    content: answer.refusal || (!texts && calls.length) ? null : texts,
    refusal: answer.refusal ?? null,
    ...(thoughts && !signed.length ? { reasoning_content: thoughts } : {}),
    ...(signed.length ? { reasoning: thoughts, reasoning_details: signed } : {}),
    ...(calls.length ? { tool_calls: calls } : {}),
    annotations: [],
  };
}

function whole(answer, { body }) {
  const choices = Array.from({ length: body.n ?? 1 }, (_, index) => ({
    index,
    message: messageOf(answer),
    logprobs: null,
    finish_reason: finishOf(answer.finish),
  }));
  return {
    id: 'chatcmpl-up1',
    object: 'chat.completion',
    created: 1700000000,
    model: body.model,
    choices,
    usage: usageOf(answer.usage),
    service_tier: 'default',
    system_fingerprint: 'fp_1',
  };
}

function frames(answer, { body }) {
  const out = [];
  const base = {
    id: 'chatcmpl-up2',
    object: 'chat.completion.chunk',
    created: 1700000000,
    model: body.model,
    system_fingerprint: 'fp_1',
  };
  const wantsUsage = body.stream_options?.include_usage;
  for (let index = 0; index < (body.n ?? 1); index++) {
    const say = (delta, says = false, finish = null) =>
      out.push(
        frame(
          sse({
            ...base,
            choices: [{ index, delta, logprobs: null, finish_reason: finish }],
            ...(wantsUsage ? { usage: null } : {}),
          }),
          says,
        ),
      );
    say({ role: 'assistant', content: '', refusal: null });
    let at = 0;
    for (const p of answer.parts) {
      if (p.reasoning)
        for (const t of pieces(p.reasoning))
          say(p.signed ? { reasoning: t, reasoning_details: [detail({ text: t })] } : { reasoning_content: t }, true);
      if (p.signed) say({ reasoning_details: [detail({ signature: signature(p) })] });
      if (p.text) for (const t of pieces(p.text)) say({ content: t }, true);
      if (p.call) {
        say(
          { tool_calls: [{ index: at, id: p.id, type: 'function', function: { name: p.call, arguments: '' } }] },
          true,
        );
        for (const t of pieces(argsText(p) || '{}')) say({ tool_calls: [{ index: at, function: { arguments: t } }] });
        at++;
      }
    }
    if (answer.refusal) for (const t of pieces(answer.refusal)) say({ refusal: t }, true);
    say({}, false, finishOf(answer.finish));
  }
  if (wantsUsage) out.push(frame(sse({ ...base, choices: [], usage: usageOf(answer.usage) })));
  out.push(frame(sse('[DONE]')));
  return out;
}

const error = (status, message, type, code = null, param = null, headers = {}) => ({
  status,
  headers,
  body: { error: { message, type, param, code } },
});
export const openaiErrors = (kind) =>
  ({
    bad: error(400, 'The vendor does not like this value.', 'invalid_request_error', 'invalid_value', 'top_p'),
    context: error(
      400,
      "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
      'invalid_request_error',
      'context_length_exceeded',
      'messages',
    ),
    unprocessable: error(422, 'The vendor cannot process this.', 'invalid_request_error'),
    large: error(413, 'Request too large.', 'invalid_request_error', 'request_too_large'),
    auth: error(401, 'Incorrect API key provided: provider-secret.', 'invalid_request_error', 'invalid_api_key'),
    permission: error(403, 'You are not allowed to sample from this model.', 'invalid_request_error'),
    missing: error(
      404,
      'The model `x` does not exist or you do not have access to it.',
      'invalid_request_error',
      'model_not_found',
    ),
    limited: error(429, 'Rate limit reached for requests.', 'requests', 'rate_limit_exceeded', null, {
      'retry-after': '7',
    }),
    broken: error(500, 'The server had an error while processing your request.', 'server_error'),
    overloaded: error(503, 'The engine is currently overloaded, please try again later.', 'server_error'),
    html: { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>bad gateway</html>' },
  })[kind];

export default {
  name: 'openai',
  provider: (port) =>
    `{type: custom, base_url: "http://127.0.0.1:${port}/v1", private: true, abort_stops_billing: true, api_key: os.environ/VENDOR_KEY}`,
  route({ path, body }) {
    if (path === '/v1/chat/completions') return { check, stream: body.stream };
    if (path === '/v1/embeddings') return { reply: embeddings };
    return null;
  },
  broken: (e) => error(e.status ?? 400, e.message, 'invalid_request_error', null, e.param ?? null),
  errors: openaiErrors,
  whole,
  frames,
  streamError: sse({ error: { message: 'The server had an error.', type: 'server_error', param: null, code: null } }),
};

export function embeddings({ body }) {
  const inputs = Array.isArray(body.input) ? body.input : [body.input];
  const data = inputs.map((_, index) => ({
    object: 'embedding',
    index,
    embedding:
      body.encoding_format === 'base64'
        ? Buffer.from(new Float32Array([1, -0.5]).buffer).toString('base64')
        : [1, -0.5],
  }));
  return { object: 'list', data, model: body.model, usage: { prompt_tokens: 4, total_tokens: 4 } };
}
