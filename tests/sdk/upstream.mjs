// An OpenAI-dialect provider for the SDK tests: what it does follows from the model it is asked for.
// It keeps every request it got, so that a test can see what really went upstream.
import http from 'node:http';

export const seen = [];

const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };

function completion(body, message, finish = 'stop') {
  return {
    id: 'chatcmpl-up1', object: 'chat.completion', created: 1700000000, model: body.model,
    choices: [{ index: 0, message: { role: 'assistant', refusal: null, ...message }, finish_reason: finish, logprobs: null }],
    usage,
  };
}

function chunk(body, delta, finish = null) {
  return {
    id: 'chatcmpl-up2', object: 'chat.completion.chunk', created: 1700000000, model: body.model,
    choices: [{ index: 0, delta, finish_reason: finish }],
  };
}

const toolCall = { id: 'call_1', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Oslo"}' } };

function sendStream(reply, body, chunks, end = 'done') {
  reply.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const c of chunks) reply.write(`data: ${JSON.stringify(c)}\n\n`);
  if (end === 'cut') return setTimeout(() => reply.destroy(), 20);
  if (end === 'eof') return reply.end();
  if (body.stream_options?.include_usage) {
    reply.write(`data: ${JSON.stringify({ ...chunk(body, {}), choices: [], usage })}\n\n`);
  }
  reply.end('data: [DONE]\n\n');
}

const text = ['Hel', 'lo ', 'wörld'];

function streamed(reply, body) {
  const start = chunk(body, { role: 'assistant', content: '' });
  const parts = text.map((t) => chunk(body, { content: t }));
  const stop = chunk(body, {}, 'stop');
  switch (body.model) {
    case 'up-tools':
      return sendStream(reply, body, [
        chunk(body, { role: 'assistant', content: null }),
        chunk(body, { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'get_weather', arguments: '' } }] }),
        chunk(body, { tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] }),
        chunk(body, { tool_calls: [{ index: 0, function: { arguments: '"Oslo"}' } }] }),
        chunk(body, {}, 'tool_calls'),
      ]);
    case 'up-cut': return sendStream(reply, body, [start, parts[0]], 'cut');
    case 'up-eof': return sendStream(reply, body, [start, parts[0]], 'eof');
    case 'up-miderror': return sendStream(reply, body, [start, parts[0], { error: { message: 'boom', type: 'server_error', param: null, code: null } }], 'eof');
    default: return sendStream(reply, body, [start, ...parts, stop]);
  }
}

function json(reply, status, value, headers = {}) {
  reply.writeHead(status, { 'content-type': 'application/json', ...headers });
  reply.end(JSON.stringify(value));
}

function whole(reply, body) {
  switch (body.model) {
    case 'up-tools': return json(reply, 200, completion(body, { content: null, tool_calls: [toolCall] }, 'tool_calls'));
    case 'up-500': return json(reply, 500, { error: { message: 'broken', type: 'server_error', param: null, code: null } });
    case 'up-html': reply.writeHead(502, { 'content-type': 'text/html' }); return reply.end('<html>bad gateway</html>');
    case 'up-429': return json(reply, 429, { error: { message: 'slow down', type: 'requests', param: null, code: 'rate_limit_exceeded' } }, { 'retry-after': '7' });
    case 'up-401': return json(reply, 401, { error: { message: 'bad provider key', type: 'invalid_request_error', param: null, code: 'invalid_api_key' } });
    case 'up-context': return json(reply, 400, { error: { message: "This model's maximum context length is 8192 tokens.", type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' } });
    default: return json(reply, 200, completion(body, { content: text.join('') }));
  }
}

export function start(port) {
  const server = http.createServer((request, reply) => {
    const parts = [];
    request.on('data', (d) => parts.push(d));
    request.on('end', () => {
      const raw = Buffer.concat(parts).toString();
      const body = JSON.parse(raw);
      seen.push({ path: request.url, headers: request.headers, raw, body });
      if (body.stream && !/^up-(500|html|429|401|context)$/.test(body.model)) streamed(reply, body);
      else whole(reply, body);
    });
  });
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}
