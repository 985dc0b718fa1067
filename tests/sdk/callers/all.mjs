// The official clients, each behind the same few functions, so that a case is written once. What a
// client returns as its turn is what goes back to it: `turn` is the native form, as users keep it.
//
//   user(parts), results(list), assistant(text): native messages
//   ask(o): { text, calls, finish, usage, reasoning, refusal, turn, raw }; throws the client's own errors
//   object(o, schema): what the client's helper for structured output makes of a zod schema
//
// o: model, history, system, tools, choice, parallel, max, temperature, topP, stop, seed, n, effort, json,
//    schema, user, metadata, stream, signal, headers, retries, timeout, fetch, extra
import { aiAnthropic, aiChat, aiCompatible, aiResponses } from './ai.mjs';
import { anthropic } from './anthropic.mjs';
import { openaiChat } from './chat.mjs';
import { langchain } from './langchain.mjs';
import { openaiResponses } from './responses.mjs';

export const callers = [
  openaiChat,
  openaiResponses,
  anthropic,
  aiResponses,
  aiChat,
  aiCompatible,
  aiAnthropic,
  langchain('langchain', 'openai', {}),
  langchain('langchain responses', 'responses', { useResponsesApi: true, zdrEnabled: true }),
];
