// OpenAI's Responses, for a model that has nothing else.
import { argsText, frame, isMedia, must, only, pieces, sse } from './vendor.mjs';
import { checkSchema, embeddings, openaiErrors } from './openai.mjs';

const FIELDS = [
  'model',
  'input',
  'instructions',
  'stream',
  'stream_options',
  'max_output_tokens',
  'max_tool_calls',
  'temperature',
  'top_p',
  'top_logprobs',
  'text',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'reasoning',
  'include',
  'metadata',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'store',
  'previous_response_id',
  'service_tier',
  'truncation',
  'background',
  'conversation',
  'prompt',
];
const ROLES = ['user', 'assistant', 'system', 'developer'];
const OPAQUE = 'oai-encrypted-';

function checkContent(item, where) {
  if (typeof item.content === 'string') return;
  must(Array.isArray(item.content), `Invalid type for '${where}.content'.`);
  item.content.forEach((p, k) => {
    const at = `${where}.content[${k}]`;
    const allowed =
      item.role === 'assistant' ? ['output_text', 'refusal'] : ['input_text', 'input_image', 'input_file'];
    must(
      allowed.includes(p.type),
      `Invalid value: '${p.type}'. Supported values are: ${allowed.map((a) => `'${a}'`).join(' and ')}.`,
      { param: at },
    );
    if (p.type === 'input_image') {
      must(
        p.file_id || typeof p.image_url === 'string',
        `Invalid type for '${at}.image_url': expected an image URL, but got an object instead.`,
      );
      const data = /^data:([^;]*);base64,(.*)$/s.exec(p.image_url ?? '');
      if (data) must(isMedia(data[1], data[2]), 'The image data you provided does not represent a valid image.');
    }
    if (p.type === 'input_file')
      must(p.file_id || p.file_url || (p.filename && /^data:/.test(p.file_data ?? '')), `Invalid '${at}.file_data'.`);
  });
}

function checkInput(body) {
  if (typeof body.input === 'string') return;
  must(Array.isArray(body.input) && body.input.length > 0, "Missing required parameter: 'input'.");
  const calls = new Set(),
    customs = new Set(),
    answered = new Set();
  body.input.forEach((item, i) => {
    const where = `input[${i}]`;
    const type = item.type ?? 'message';
    if (type === 'message') {
      must(ROLES.includes(item.role), `Invalid value: '${item.role}'.`, { param: `${where}.role` });
      checkContent(item, where);
    } else if (type === 'function_call') {
      must(item.call_id && typeof item.arguments === 'string', `Missing required parameter: '${where}.call_id'.`);
      must(
        item.call_id.length <= 64,
        `Invalid '${where}.call_id': string too long. Expected a string with maximum length 64.`,
      );
      must(
        !item.id || /^fc_/.test(item.id),
        `Invalid '${where}.id': '${item.id}'. Expected an ID that begins with 'fc'.`,
      );
      must(/^[a-zA-Z0-9_-]{1,64}$/.test(item.name ?? ''), `Invalid '${where}.name'.`);
      calls.add(item.call_id);
    } else if (type === 'custom_tool_call') {
      must(item.call_id && typeof item.input === 'string', `Missing required parameter: '${where}.input'.`);
      must(/^ctc/.test(item.id ?? 'ctc'), `Invalid '${where}.id': Expected an ID that begins with 'ctc'.`);
      customs.add(item.call_id);
    } else if (type === 'custom_tool_call_output') {
      must(customs.delete(item.call_id), `No tool call found for custom tool call output with call_id ${item.call_id}.`);
    } else if (type === 'function_call_output') {
      must(calls.has(item.call_id), `No tool call found for function call output with call_id ${item.call_id}.`);
      must(typeof item.output === 'string' || Array.isArray(item.output), `Invalid type for '${where}.output'.`);
      answered.add(item.call_id);
    } else if (type === 'reasoning') {
      must(/^rs_/.test(item.id ?? 'rs_'), `Invalid '${where}.id'. Expected an ID that begins with 'rs'.`);
      must(Array.isArray(item.summary), `Missing required parameter: '${where}.summary'.`);
      must(
        item.encrypted_content?.startsWith(OPAQUE),
        `The encrypted content for item ${item.id} could not be verified.`,
      );
    } else
      must(type === 'item_reference' && body.store !== false, `Invalid value: '${type}'.`, { param: `${where}.type` });
  });
  for (const id of calls) must(answered.has(id), `No tool output found for function call ${id}.`);
  must(customs.size === 0, 'No tool output found for custom tool call.');
}

function check({ body, headers }) {
  must(headers.authorization === 'Bearer provider-secret', 'Incorrect API key provided.', { status: 401 });
  only(body, FIELDS, (name) => `Unknown parameter: '${name}'.`);
  checkInput(body);
  for (const name of ['temperature', 'top_p'])
    must(body[name] === undefined, `Unsupported parameter: '${name}' is not supported with this model.`, {
      param: name,
    });
  must(
    body.max_output_tokens === undefined || body.max_output_tokens >= 16,
    `Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got ${body.max_output_tokens} instead.`,
    { param: 'max_output_tokens' },
  );
  for (const [i, t] of (body.tools ?? []).entries()) {
    must(['function', 'custom'].includes(t.type) && t.name, `Missing required parameter: 'tools[${i}].name'.`);
    if (t.type === 'custom') only(t, ['type', 'name', 'description', 'format'], (name) => `Unknown parameter: '${name}'.`);
    if (t.strict) checkSchema(t.parameters, `function '${t.name}'`, `tools[${i}].parameters`);
  }
  if (body.tool_choice?.type === 'function')
    must(
      body.tools?.some((t) => t.name === body.tool_choice.name),
      `Tool choice 'function' not found in 'tools' parameter.`,
    );
  must(
    body.tools?.length || [undefined, 'auto', 'none'].includes(body.tool_choice),
    "Tool choice 'required' must be specified with 'tools' parameter.",
  );
  const format = body.text?.format;
  if (format?.type === 'json_schema') {
    must(format.name && format.schema, "Missing required parameter: 'text.format.name'.");
    if (format.strict) checkSchema(format.schema, `response_format '${format.name}'`, 'text.format.schema');
  }
  if (format?.type === 'json_object')
    must(
      /json/i.test(JSON.stringify(body.input)),
      "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
    );
  if (body.reasoning?.effort)
    must(
      ['minimal', 'low', 'medium', 'high', 'none', 'xhigh'].includes(body.reasoning.effort),
      "Invalid 'reasoning.effort'.",
    );
  if (body.metadata)
    must(
      Object.values(body.metadata).every((v) => typeof v === 'string'),
      "Invalid type for 'metadata'.",
    );
}

const usageOf = (u) => ({
  input_tokens: u.input,
  input_tokens_details: { cached_tokens: u.cached },
  output_tokens: u.output,
  output_tokens_details: { reasoning_tokens: u.reasoning },
  total_tokens: u.input + u.output,
});

function itemsOf(answer) {
  const items = answer.parts
    .filter((p) => p.text !== '')
    .map((p, i) => {
      if (p.reasoning)
        return {
          id: `rs_up${i}`,
          type: 'reasoning',
          summary: [{ type: 'summary_text', text: p.reasoning }],
          encrypted_content: OPAQUE + p.reasoning.length,
        };
      if (p.call)
        return {
          id: `fc_up${i}`,
          type: 'function_call',
          status: 'completed',
          call_id: p.id,
          name: p.call,
          arguments: argsText(p) || '{}',
        };
      if (p.custom)
        return {
          id: `ctc_up${i}`,
          type: 'custom_tool_call',
          status: 'completed',
          call_id: p.id,
          name: p.custom,
          input: p.input,
        };
      return {
        id: `msg_up${i}`,
        type: 'message',
        status: 'completed',
        role: 'assistant',
        content: [{ type: 'output_text', text: p.text, annotations: [], logprobs: [] }],
      };
    });
  if (answer.refusal)
    items.push({
      id: 'msg_upr',
      type: 'message',
      status: 'completed',
      role: 'assistant',
      content: [{ type: 'refusal', refusal: answer.refusal }],
    });
  return items;
}

const DETAILS = { length: { reason: 'max_output_tokens' }, content_filter: { reason: 'content_filter' } };
function responseOf(answer, body, status, output) {
  return {
    id: 'resp_up1',
    object: 'response',
    created_at: 1700000000,
    status,
    background: false,
    error: null,
    incomplete_details: status === 'incomplete' ? DETAILS[answer.finish] : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model: body.model,
    output,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    service_tier: 'default',
    store: body.store ?? true,
    temperature: 1,
    text: body.text ?? { format: { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: 1,
    truncation: 'disabled',
    usage: status === 'in_progress' ? null : usageOf(answer.usage),
    user: null,
  };
}
const endOf = (answer) => (DETAILS[answer.finish] ? 'incomplete' : 'completed');
const whole = (answer, { body }) => responseOf(answer, body, endOf(answer), itemsOf(answer));

function frames(answer, { body }) {
  const out = [];
  let n = 0;
  const say = (type, more, says = false) => out.push(frame(sse({ type, sequence_number: n++, ...more }, type), says));
  say('response.created', { response: responseOf(answer, body, 'in_progress', []) });
  say('response.in_progress', { response: responseOf(answer, body, 'in_progress', []) });
  const items = itemsOf(answer);
  items.forEach((item, output_index) => {
    const at = { item_id: item.id, output_index };
    if (item.type === 'message') {
      const part = item.content[0];
      const [kind, key] = part.type === 'refusal' ? ['refusal', 'refusal'] : ['output_text', 'text'];
      say('response.output_item.added', { output_index, item: { ...item, status: 'in_progress', content: [] } });
      say('response.content_part.added', { ...at, content_index: 0, part: { ...part, [key]: '' } });
      for (const t of pieces(part[key]))
        say(
          `response.${kind}.delta`,
          { ...at, content_index: 0, delta: t, ...(kind === 'refusal' ? {} : { logprobs: [] }) },
          true,
        );
      say(`response.${kind}.done`, {
        ...at,
        content_index: 0,
        [key]: part[key],
        ...(kind === 'refusal' ? {} : { logprobs: [] }),
      });
      say('response.content_part.done', { ...at, content_index: 0, part });
    } else if (item.type === 'function_call') {
      say(
        'response.output_item.added',
        { output_index, item: { ...item, arguments: '', status: 'in_progress' } },
        true,
      );
      for (const t of pieces(item.arguments)) say('response.function_call_arguments.delta', { ...at, delta: t });
      say('response.function_call_arguments.done', { ...at, name: item.name, arguments: item.arguments });
    } else if (item.type === 'custom_tool_call') {
      say('response.output_item.added', { output_index, item: { ...item, input: '', status: 'in_progress' } }, true);
      for (const t of pieces(item.input)) say('response.custom_tool_call_input.delta', { ...at, delta: t });
      say('response.custom_tool_call_input.done', { ...at, input: item.input });
    } else {
      const part = item.summary[0];
      say('response.output_item.added', { output_index, item: { ...item, summary: [] } });
      say('response.reasoning_summary_part.added', { ...at, summary_index: 0, part: { ...part, text: '' } });
      for (const t of pieces(part.text))
        say('response.reasoning_summary_text.delta', { ...at, summary_index: 0, delta: t }, true);
      say('response.reasoning_summary_text.done', { ...at, summary_index: 0, text: part.text });
      say('response.reasoning_summary_part.done', { ...at, summary_index: 0, part });
    }
    say('response.output_item.done', { output_index, item });
  });
  say(`response.${endOf(answer)}`, { response: responseOf(answer, body, endOf(answer), items) });
  return out;
}

export default {
  name: 'responses',
  provider: (port) =>
    `{type: openai, base_url: "http://127.0.0.1:${port}/v1", private: true, abort_stops_billing: true, api_key: os.environ/VENDOR_KEY}`,
  route({ path, body }) {
    if (path === '/v1/responses') return { check, stream: body.stream };
    if (path === '/v1/embeddings') return { reply: embeddings };
    return null;
  },
  broken: (e) => ({
    status: e.status ?? 400,
    body: { error: { message: e.message, type: 'invalid_request_error', param: e.param ?? null, code: null } },
  }),
  errors: openaiErrors,
  whole,
  frames,
  streamError: sse(
    { type: 'error', sequence_number: 99, code: 'server_error', message: 'The server had an error.', param: null },
    'error',
  ),
};
