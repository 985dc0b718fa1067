// Cohere's chat, version 2.
import { argsText, frame, must, only, pieces, sse } from './vendor.mjs';

const FIELDS = [
  'model',
  'messages',
  'stream',
  'tools',
  'tool_choice',
  'strict_tools',
  'documents',
  'citation_options',
  'response_format',
  'safety_mode',
  'max_tokens',
  'stop_sequences',
  'temperature',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'k',
  'p',
  'logprobs',
  'thinking',
  'priority',
];
const MESSAGE = {
  system: ['role', 'content'],
  user: ['role', 'content'],
  assistant: ['role', 'content', 'tool_calls', 'tool_plan', 'citations'],
  tool: ['role', 'content', 'tool_call_id'],
};

function checkMessages(messages) {
  must(Array.isArray(messages) && messages.length > 0, 'invalid request: messages must have at least one element');
  let open = new Set();
  messages.forEach((m, i) => {
    must(MESSAGE[m.role], `invalid request: message at index ${i} has an invalid role`);
    only(m, MESSAGE[m.role], (name) => `unknown field: parameter 'messages[${i}].${name}' is not a valid field`);
    if (m.role === 'tool') {
      must(
        open.has(m.tool_call_id),
        `invalid request: tool call id '${m.tool_call_id}' not found in previous tool calls`,
      );
      open.delete(m.tool_call_id);
    } else {
      must(open.size === 0, 'invalid request: tool calls must be followed by their results');
      open = new Set((m.tool_calls ?? []).map((c) => c.id));
      for (const c of m.tool_calls ?? [])
        must(typeof c.function.arguments === 'string', 'invalid request: tool call arguments must be a string');
    }
    if (Array.isArray(m.content))
      for (const p of m.content) {
        must(
          ['text', 'image_url', 'document', 'thinking'].includes(p.type),
          `invalid request: content type '${p.type}'`,
        );
        must(p.type !== 'image_url', 'image content is not supported for this model');
        must(p.type !== 'text' || p.text !== '', `invalid request: message at index ${i} must have non-empty content`);
      }
    else
      must(
        (typeof m.content === 'string' && m.content !== '') || m.tool_calls?.length,
        `invalid request: message at index ${i} must have non-empty content or tool calls`,
      );
  });
  must(
    ['user', 'tool'].includes(messages.at(-1).role) || messages.at(-1).role === 'system',
    'invalid request: last message must be a user or tool message',
  );
}

function check({ body, headers }) {
  must(headers.authorization === 'Bearer provider-secret', 'invalid api token', { status: 401 });
  only(body, FIELDS, (name) => `unknown field: parameter '${name}' is not a valid field`);
  checkMessages(body.messages);
  must(body.tools === undefined || body.tools.length > 0, 'invalid request: tools must not be empty');
  must(
    [undefined, 'REQUIRED', 'NONE'].includes(body.tool_choice),
    `invalid request: tool_choice must be one of REQUIRED, NONE`,
  );
  must(!body.tool_choice || body.tools, 'invalid request: tool_choice requires tools');
  must((body.stop_sequences ?? []).length <= 5, 'invalid request: at most 5 stop sequences');
  must(
    body.p === undefined || (body.p >= 0.01 && body.p <= 0.99),
    'invalid request: p must be between 0.01 and 0.99 inclusive',
  );
  must(!body.response_format || !body.tools, 'invalid request: response_format is not supported with tools');
  must(
    [undefined, 'text', 'json_object'].includes(body.response_format?.type),
    'invalid request: invalid response_format type',
  );
}

const FINISH = { stop: 'COMPLETE', length: 'MAX_TOKENS', tool_calls: 'TOOL_CALL', stop_sequence: 'STOP_SEQUENCE' };
const usageOf = (u) => ({
  billed_units: { input_tokens: u.input, output_tokens: u.output },
  tokens: { input_tokens: u.input, output_tokens: u.output },
  ...(u.cached ? { cached_tokens: u.cached } : {}),
});
const callOf = (p) => ({ id: p.id, type: 'function', function: { name: p.call, arguments: argsText(p) || 'null' } });
const textual = (p) => p.reasoning || p.text;

function whole(answer) {
  const content = answer.parts
    .filter(textual)
    .map((p) => (p.reasoning ? { type: 'thinking', thinking: p.reasoning } : { type: 'text', text: p.text }));
  const calls = answer.parts.filter((p) => p.call).map(callOf);
  return {
    id: 'coh-up1',
    finish_reason: FINISH[answer.finish],
    message: {
      role: 'assistant',
      ...(content.length ? { content } : {}),
      ...(calls.length ? { tool_calls: calls } : {}),
    },
    usage: usageOf(answer.usage),
  };
}

function frames(answer) {
  const out = [];
  const say = (type, more, says = false) => out.push(frame(sse({ type, ...more }, type), says));
  say('message-start', {
    id: 'coh-up2',
    delta: { message: { role: 'assistant', content: [], tool_plan: '', tool_calls: [], citations: [] } },
  });
  answer.parts.filter(textual).forEach((p, index) => {
    const [type, key] = p.reasoning ? ['thinking', 'thinking'] : ['text', 'text'];
    say('content-start', { index, delta: { message: { content: { type, [key]: '' } } } });
    for (const t of pieces(p[type === 'text' ? 'text' : 'reasoning']))
      say('content-delta', { index, delta: { message: { content: { [key]: t } } } }, true);
    say('content-end', { index });
  });
  answer.parts
    .filter((p) => p.call)
    .forEach((p, index) => {
      say(
        'tool-call-start',
        { index, delta: { message: { tool_calls: { ...callOf(p), function: { name: p.call, arguments: '' } } } } },
        true,
      );
      for (const t of pieces(argsText(p)))
        say('tool-call-delta', { index, delta: { message: { tool_calls: { function: { arguments: t } } } } });
      say('tool-call-end', { index });
    });
  say('message-end', { delta: { finish_reason: FINISH[answer.finish], usage: usageOf(answer.usage) } });
  return out;
}

const error = (status, message, headers) => ({ status, headers, body: { id: 'coh-err', message } });
export default {
  name: 'cohere',
  provider: (port) =>
    `{type: cohere, base_url: "http://127.0.0.1:${port}", private: true, abort_stops_billing: true, api_key: os.environ/VENDOR_KEY}`,
  route: ({ path, body }) => (path === '/v2/chat' ? { check, stream: body.stream } : null),
  broken: (e) => error(e.status ?? 400, e.message),
  errors: (kind) =>
    ({
      bad: error(400, 'The vendor does not like this value.'),
      context: error(400, 'too many tokens: size limit exceeded by 4000 tokens.'),
      unprocessable: error(422, 'The vendor cannot process this.'),
      auth: error(401, 'invalid api token'),
      missing: error(404, "model 'x' not found"),
      limited: error(429, 'trial token rate limit exceeded', { 'retry-after': '7' }),
      broken: error(500, 'internal server error'),
      overloaded: error(503, 'service unavailable'),
      html: { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>bad gateway</html>' },
    })[kind],
  whole,
  frames,
  // A stream has no error of its own: it ends so.
  streamError: sse(
    { type: 'message-end', delta: { finish_reason: 'ERROR', usage: usageOf({ input: 1, output: 1 }) } },
    'message-end',
  ),
};
