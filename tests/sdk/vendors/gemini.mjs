// generateContent of the Gemini API, for a model of the third generation.
import { argsObject, frame, isMedia, must, only, pieces, sse } from './vendor.mjs';

const FIELDS = [
  'contents',
  'systemInstruction',
  'generationConfig',
  'tools',
  'toolConfig',
  'safetySettings',
  'cachedContent',
  'serviceTier',
  'labels',
];
const GENERATION = [
  'maxOutputTokens',
  'temperature',
  'topP',
  'topK',
  'stopSequences',
  'seed',
  'candidateCount',
  'presencePenalty',
  'frequencyPenalty',
  'responseLogprobs',
  'logprobs',
  'responseMimeType',
  'responseSchema',
  'responseJsonSchema',
  'thinkingConfig',
  'responseModalities',
  'mediaResolution',
];
const DATA = ['text', 'inlineData', 'fileData', 'functionCall', 'functionResponse'];
const SCHEMA = [
  'type',
  'format',
  'title',
  'description',
  'nullable',
  'enum',
  'maxItems',
  'minItems',
  'properties',
  'required',
  'minProperties',
  'maxProperties',
  'minLength',
  'maxLength',
  'pattern',
  'example',
  'anyOf',
  'propertyOrdering',
  'items',
  'minimum',
  'maximum',
];
const SIGNATURE = 'gem-signature-';
const unknown = (where) => (name) =>
  `Invalid JSON payload received. Unknown name "${name}" at '${where}': Cannot find field.`;

function checkSchema(schema, where) {
  only(schema, SCHEMA, unknown(where));
  must(typeof schema.type === 'string' || schema.anyOf, `Invalid value at '${where}.type'`);
  for (const [name, inner] of Object.entries(schema.properties ?? {}))
    checkSchema(inner, `${where}.properties[${name}]`);
  if (schema.items) checkSchema(schema.items, `${where}.items`);
}

function checkContents(contents) {
  must(Array.isArray(contents) && contents.length > 0, 'GenerateContentRequest.contents: contents is not specified');
  let open = 0;
  contents.forEach((c, i) => {
    must(['user', 'model'].includes(c.role), 'Please use a valid role: user, model.');
    must(c.parts?.length > 0, `GenerateContentRequest.contents[${i}].parts: contents.parts must not be empty.`);
    for (const p of c.parts) {
      const kinds = DATA.filter((d) => d in p);
      must(
        kinds.length === 1,
        `GenerateContentRequest.contents[${i}].parts[0].data: required oneof field 'data' must have one initialized field`,
      );
      only(p, [...DATA, 'thought', 'thoughtSignature', 'mediaResolution'], unknown(`contents[${i}].parts`));
      must(
        kinds[0] !== 'text' || p.text !== '' || p.thoughtSignature,
        'Unable to submit request because it has an empty text parameter.',
      );
      if (p.inlineData)
        must(
          isMedia(p.inlineData.mimeType, p.inlineData.data),
          'Unable to process input image. Please retry or report in https://developers.generativeai.google/guide/troubleshooting',
        );
      if (p.functionResponse)
        must(
          p.functionResponse.name &&
            p.functionResponse.response &&
            typeof p.functionResponse.response === 'object' &&
            !Array.isArray(p.functionResponse.response),
          `Invalid value at 'contents[${i}].parts.function_response.response'`,
        );
      if (p.thoughtSignature)
        must(
          p.thoughtSignature.startsWith(SIGNATURE) || p.thoughtSignature === 'skip_thought_signature_validator',
          'Thought signature is not valid',
        );
    }
    const calls = c.parts.filter((p) => p.functionCall);
    const results = c.parts.filter((p) => p.functionResponse);
    must(
      results.length === open,
      'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.',
    );
    if (calls.length) {
      must(
        i > 0 && contents[i - 1].role === 'user',
        'Please ensure that function call turn comes immediately after a user turn or after a function response turn.',
      );
      must(
        calls[0].thoughtSignature,
        `Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, function call \`default_api:${calls[0].functionCall.name}\`, position ${i}.`,
      );
    }
    open = calls.length;
  });
  must(open === 0, 'Please ensure that function call turn is followed by a function response turn.');
}

function check({ body, headers }) {
  must(headers['x-goog-api-key'] === 'provider-secret', 'API key not valid. Please pass a valid API key.');
  only(body, FIELDS, unknown('request'));
  checkContents(body.contents);
  const g = body.generationConfig ?? {};
  only(g, GENERATION, unknown('generation_config'));
  must((g.stopSequences ?? []).length <= 5, 'The number of stop sequences must be at most 5.');
  must(
    g.temperature === undefined || (g.temperature >= 0 && g.temperature <= 2),
    'The temperature must be in the range [0, 2].',
  );
  must(!(g.responseSchema && g.responseJsonSchema), 'Only one of response_schema and response_json_schema can be set.');
  must(
    !(g.responseSchema ?? g.responseJsonSchema) || g.responseMimeType === 'application/json',
    'A response schema needs the response mime type application/json.',
  );
  if (g.thinkingConfig) {
    only(
      g.thinkingConfig,
      ['thinkingLevel', 'includeThoughts', 'thinkingBudget'],
      unknown('generation_config.thinking_config'),
    );
    must(
      !('thinkingLevel' in g.thinkingConfig && 'thinkingBudget' in g.thinkingConfig),
      'You can only set one of thinking_level and thinking_budget.',
    );
    must(
      ['minimal', 'low', 'medium', 'high', undefined].includes(g.thinkingConfig.thinkingLevel?.toLowerCase()),
      "Invalid value at 'thinking_level'",
    );
  }
  for (const t of body.tools ?? [])
    for (const f of t.functionDeclarations ?? []) {
      must(/^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$/.test(f.name), 'Invalid function name.');
      if (f.parameters) checkSchema(f.parameters, 'tools[0].function_declarations[0].parameters');
    }
  const c = body.toolConfig?.functionCallingConfig;
  must(!c || body.tools?.length, 'Function calling config is set without function_declarations.');
  must(
    !c?.allowedFunctionNames || ['ANY', 'VALIDATED'].includes(c.mode),
    'allowed_function_names can only be set when mode is ANY.',
  );
}

const FINISH = {
  stop: 'STOP',
  tool_calls: 'STOP',
  stop_sequence: 'STOP',
  length: 'MAX_TOKENS',
  content_filter: 'SAFETY',
};
const usageOf = (u) => ({
  promptTokenCount: u.input,
  candidatesTokenCount: u.output - u.reasoning,
  totalTokenCount: u.input + u.output,
  ...(u.reasoning ? { thoughtsTokenCount: u.reasoning } : {}),
  ...(u.cached ? { cachedContentTokenCount: u.cached } : {}),
  promptTokensDetails: [{ modality: 'TEXT', tokenCount: u.input }],
});

function partsOf(answer, split) {
  let signed = false;
  const thought = answer.parts.find((p) => p.reasoning)?.reasoning;
  return answer.parts
    .filter((p) => p.text !== '')
    .flatMap((p) => {
      if (p.reasoning) return split(p.reasoning).map((text) => ({ text, thought: true }));
      if (p.text) return split(p.text).map((text) => ({ text }));
      // Of parallel calls the first alone is signed.
      const signature = signed ? {} : { thoughtSignature: SIGNATURE + (thought?.length ?? 0) };
      signed = true;
      return [{ functionCall: { id: p.id, name: p.call, args: argsObject(p) }, ...signature }];
    });
}
const modelOf = (path) => /models\/([^:]+):/.exec(path)[1];

function whole(answer, { path, body }) {
  const parts = partsOf(answer, (t) => [t]);
  const candidates = Array.from({ length: body.generationConfig?.candidateCount ?? 1 }, (_, index) => ({
    content: { role: 'model', parts },
    finishReason: FINISH[answer.finish],
    index,
  }));
  return { candidates, usageMetadata: usageOf(answer.usage), modelVersion: modelOf(path), responseId: 'gem-up1' };
}

function frames(answer, { path, body }) {
  const say = (candidates, more = {}, says = true) =>
    frame(sse({ candidates, ...more, modelVersion: modelOf(path), responseId: 'gem-up2' }), says);
  const usage = { usageMetadata: usageOf(answer.usage) };
  const count = body.generationConfig?.candidateCount ?? 1;
  const out = [];
  for (let index = 0; index < count; index++) {
    for (const part of partsOf(answer, pieces))
      out.push(
        say([{ content: { role: 'model', parts: [part] }, index }], {
          usageMetadata: { promptTokenCount: answer.usage.input, totalTokenCount: answer.usage.input },
        }),
      );
    out.push(
      say(
        [{ content: { role: 'model', parts: [{ text: '' }] }, finishReason: FINISH[answer.finish], index }],
        index === count - 1 ? usage : {},
        false,
      ),
    );
  }
  return out;
}

const error = (code, status, message, details) => ({
  status: code,
  body: { error: { code, message, status, ...(details ? { details } : {}) } },
});
export default {
  name: 'gemini',
  provider: (port) =>
    `{type: gemini, base_url: "http://127.0.0.1:${port}/v1beta", private: true, abort_stops_billing: true, api_key: os.environ/VENDOR_KEY}`,
  route({ path }) {
    const kind = /^\/v1beta\/models\/[^/:]+:(generateContent|streamGenerateContent\?alt=sse)$/.exec(path)?.[1];
    return kind && { check, stream: kind !== 'generateContent' };
  },
  broken: (e) => error(400, 'INVALID_ARGUMENT', e.message),
  errors: (kind) =>
    ({
      bad: error(400, 'INVALID_ARGUMENT', 'The vendor does not like this value.'),
      context: error(
        400,
        'INVALID_ARGUMENT',
        'The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).',
      ),
      unprocessable: error(422, 'INVALID_ARGUMENT', 'The vendor cannot process this.'),
      auth: error(400, 'INVALID_ARGUMENT', 'API key not valid. Please pass a valid API key.', [
        { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID', domain: 'googleapis.com' },
      ]),
      missing: error(404, 'NOT_FOUND', 'models/x is not found for API version v1beta.'),
      limited: error(429, 'RESOURCE_EXHAUSTED', 'You exceeded your current quota.', [
        { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '7s' },
      ]),
      broken: error(500, 'INTERNAL', 'An internal error has occurred.'),
      overloaded: error(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.'),
      html: { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>bad gateway</html>' },
    })[kind],
  whole,
  frames,
  streamError: sse({ error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } }),
};
