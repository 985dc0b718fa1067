// Bedrock's Converse, for a Claude there; its streams are frames of AWS's event stream.
import { crc32 } from 'node:zlib';
import { argsObject, argsText, frame, must, only, pieces } from './vendor.mjs';

const FIELDS = [
  'messages',
  'system',
  'inferenceConfig',
  'toolConfig',
  'guardrailConfig',
  'additionalModelRequestFields',
  'additionalModelResponseFieldPaths',
  'requestMetadata',
  'performanceConfig',
  'promptVariables',
  'serviceTier',
  'outputConfig',
];
const BLOCKS = [
  'text',
  'image',
  'document',
  'toolUse',
  'toolResult',
  'reasoningContent',
  'cachePoint',
  'guardContent',
  'video',
  'audio',
];
const SIGNATURE = 'bed-signature-';

function checkMessages(body) {
  must(
    Array.isArray(body.messages) && body.messages.length > 0,
    'A conversation must start with a user message. Try again with a conversation that starts with a user message.',
  );
  must(
    body.messages[0].role === 'user',
    'A conversation must start with a user message. Try again with a conversation that starts with a user message.',
  );
  let open = [];
  body.messages.forEach((m, i) => {
    must(
      m.role === (i % 2 ? 'assistant' : 'user'),
      'A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.',
    );
    must(
      m.content?.length > 0,
      `The content field in the Message object at messages.${i} is empty. Add a ContentBlock object to the content field and try again.`,
    );
    for (const [k, b] of m.content.entries()) {
      const kinds = Object.keys(b);
      must(
        kinds.length === 1 && BLOCKS.includes(kinds[0]),
        `messages.${i}.content.${k}: the ContentBlock must have one member.`,
      );
      if (b.text !== undefined)
        must(
          /\S/.test(b.text),
          `The text field in the ContentBlock object at messages.${i}.content.${k} is blank. Add text to the text field, and try again.`,
        );
      if (b.image)
        must(
          ['png', 'jpeg', 'gif', 'webp'].includes(b.image.format) && b.image.source.bytes,
          'The model returned the following errors: image source',
        );
      if (b.document) {
        must(
          /^[a-zA-Z0-9\s()[\]-]{1,200}$/.test(b.document.name ?? ''),
          'The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets.',
        );
        must(
          m.content.some((c) => c.text),
          'A text block is required when a document is given.',
        );
      }
      if (b.toolUse)
        must(
          /^[a-zA-Z0-9_-]{1,64}$/.test(b.toolUse.toolUseId) &&
            /^[a-zA-Z0-9_-]{1,64}$/.test(b.toolUse.name) &&
            typeof b.toolUse.input === 'object',
          `Value at 'messages.${i}.member.content.${k}.member.toolUse' failed to satisfy constraint`,
        );
      if (b.toolResult)
        must(
          open.includes(b.toolResult.toolUseId),
          `The toolResult at messages.${i} has no toolUse in the previous turn.`,
        );
      if (b.reasoningContent?.reasoningText)
        must(
          b.reasoningContent.reasoningText.signature?.startsWith(SIGNATURE),
          `messages.${i}.content.${k}: Invalid \`signature\` in \`thinking\` block`,
        );
    }
    if (m.role === 'user') {
      const results = m.content.filter((b) => b.toolResult).map((b) => b.toolResult.toolUseId);
      must(
        open.every((id) => results.includes(id)),
        `Expected toolResult blocks at messages.${i}.content for the following Ids: ${open}`,
      );
      open = [];
    } else open = m.content.filter((b) => b.toolUse).map((b) => b.toolUse.toolUseId);
  });
  must(open.length === 0, `Expected toolResult blocks for the following Ids: ${open}`);
}

function check({ body, headers }) {
  must(headers.authorization === 'Bearer provider-secret', 'The security token included in the request is invalid.', {
    status: 403,
  });
  only(body, FIELDS, (name) => `${name}: extraneous key [${name}] is not permitted`);
  checkMessages(body);
  must(
    (body.system ?? []).every((s) => s.text || s.cachePoint),
    'The text field in the SystemContentBlock object is blank.',
  );
  only(
    body.inferenceConfig ?? {},
    ['maxTokens', 'temperature', 'topP', 'stopSequences'],
    (name) => `extraneous key [${name}] is not permitted`,
  );
  const i = body.inferenceConfig ?? {};
  must(
    i.temperature === undefined || (i.temperature >= 0 && i.temperature <= 1),
    "Value at 'inferenceConfig.temperature' failed to satisfy constraint: Member must have value less than or equal to 1",
  );
  must(
    i.temperature === undefined || i.topP === undefined,
    'The model returned the following errors: `temperature` and `top_p` cannot both be specified for this model. Please use only one.',
  );
  const usesTools = body.messages.some((m) => m.content.some((b) => b.toolUse || b.toolResult));
  must(
    !usesTools || body.toolConfig,
    'The toolConfig field must be defined when using toolUse and toolResult content blocks.',
  );
  if (body.toolConfig) {
    must(
      body.toolConfig.tools?.length > 0,
      "Value '[]' at 'toolConfig.tools' failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
    for (const t of body.toolConfig.tools)
      if (t.toolSpec)
        must(
          /^[a-zA-Z0-9_-]{1,64}$/.test(t.toolSpec.name) && t.toolSpec.inputSchema?.json?.type === 'object',
          'toolSpec failed to satisfy constraint',
        );
  }
  const thinking = body.additionalModelRequestFields?.thinking;
  if (thinking?.type === 'enabled') {
    must(
      thinking.budget_tokens >= 1024 && thinking.budget_tokens < i.maxTokens,
      'The model returned the following errors: `max_tokens` must be greater than `thinking.budget_tokens`.',
    );
    must(
      i.temperature === undefined,
      'The model returned the following errors: `temperature` may only be set to 1 when thinking is enabled.',
    );
    const last = body.messages.findLast((m) => m.role === 'assistant');
    if (last?.content.some((b) => b.toolUse))
      must(
        last.content[0].reasoningContent,
        'The model returned the following errors: messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`.',
      );
  }
}

const FINISH = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'content_filtered',
  stop_sequence: 'stop_sequence',
};
const usageOf = (u) => ({
  inputTokens: u.input - u.cached - u.written,
  outputTokens: u.output,
  totalTokens: u.input + u.output,
  cacheReadInputTokens: u.cached,
  cacheWriteInputTokens: u.written,
});

function whole(answer) {
  const content = answer.parts
    .filter((p) => p.text !== '')
    .map((p) => {
      if (p.reasoning)
        return {
          reasoningContent: { reasoningText: { text: p.reasoning, signature: SIGNATURE + p.reasoning.length } },
        };
      if (p.call) return { toolUse: { toolUseId: p.id, name: p.call, input: argsObject(p) } };
      return { text: p.text };
    });
  return {
    output: { message: { role: 'assistant', content } },
    stopReason: FINISH[answer.finish],
    usage: usageOf(answer.usage),
    metrics: { latencyMs: 12 },
  };
}

// u32 total, u32 headers, u32 crc of these, headers, payload, u32 crc of all before.
function eventFrame(kind, name, payload) {
  const header = (key, value) =>
    Buffer.concat([
      Buffer.from([key.length]),
      Buffer.from(key),
      Buffer.from([7, value.length >> 8, value.length & 255]),
      Buffer.from(value),
    ]);
  const headers = Buffer.concat([
    header(kind === 'exception' ? ':exception-type' : ':event-type', name),
    header(':content-type', 'application/json'),
    header(':message-type', kind),
  ]);
  const body = Buffer.from(JSON.stringify({ ...payload, p: 'abcdefghij' }));
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(16 + headers.length + body.length, 0);
  prelude.writeUInt32BE(headers.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const front = Buffer.concat([prelude, headers, body]);
  const tail = Buffer.alloc(4);
  tail.writeUInt32BE(crc32(front), 0);
  return Buffer.concat([front, tail]);
}

function frames(answer) {
  const out = [];
  const say = (name, payload, says = false) => out.push(frame(eventFrame('event', name, payload), says));
  say('messageStart', { role: 'assistant' });
  answer.parts
    .filter((p) => p.text !== '')
    .forEach((p, contentBlockIndex) => {
      const delta = (d) => say('contentBlockDelta', { contentBlockIndex, delta: d }, true);
      if (p.call) {
        say('contentBlockStart', { contentBlockIndex, start: { toolUse: { toolUseId: p.id, name: p.call } } }, true);
        for (const t of pieces(argsText(p))) delta({ toolUse: { input: t } });
      } else if (p.reasoning) {
        for (const text of pieces(p.reasoning)) delta({ reasoningContent: { text } });
        delta({ reasoningContent: { signature: SIGNATURE + p.reasoning.length } });
      } else for (const text of pieces(p.text)) delta({ text });
      say('contentBlockStop', { contentBlockIndex });
    });
  say('messageStop', { stopReason: FINISH[answer.finish] });
  say('metadata', { usage: usageOf(answer.usage), metrics: { latencyMs: 12 } });
  return out;
}

const error = (status, type, message, more = {}) => ({
  status,
  headers: { 'x-amzn-errortype': `${type}:http://internal.amazon.com/coral/com.amazon.bedrock/`, ...more },
  body: { message },
});
export default {
  name: 'bedrock',
  provider: (port) =>
    `{type: bedrock, base_url: "http://127.0.0.1:${port}", region: us-east-1, private: true, abort_stops_billing: true, api_key: os.environ/VENDOR_KEY}`,
  route({ path }) {
    const kind = /^\/model\/[^/:]+\/(converse|converse-stream)$/.exec(path)?.[1];
    return kind && { check, stream: kind === 'converse-stream' };
  },
  streamType: 'application/vnd.amazon.eventstream',
  broken: (e) => error(e.status ?? 400, e.status ? 'UnrecognizedClientException' : 'ValidationException', e.message),
  errors: (kind) =>
    ({
      bad: error(400, 'ValidationException', 'The vendor does not like this value.'),
      context: error(400, 'ValidationException', 'Input is too long for requested model.'),
      unprocessable: error(422, 'ValidationException', 'The vendor cannot process this.'),
      auth: error(403, 'UnrecognizedClientException', 'The security token included in the request is invalid.'),
      missing: error(
        404,
        'ResourceNotFoundException',
        'Could not resolve the foundation model from the provided model identifier.',
      ),
      limited: error(429, 'ThrottlingException', 'Too many requests, please wait before trying again.', {
        'retry-after': '7',
      }),
      broken: error(500, 'InternalServerException', 'The system encountered an unexpected error.'),
      overloaded: error(503, 'ServiceUnavailableException', 'Bedrock is unable to process your request.'),
      html: { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>bad gateway</html>' },
    })[kind],
  whole,
  frames,
  streamError: eventFrame('exception', 'modelStreamErrorException', { message: 'The model stream failed.' }),
};
