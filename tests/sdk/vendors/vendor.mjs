// A provider to test against: one HTTP server that speaks one vendor's dialect. What it answers is
// played to it beforehand, in the words of no vendor; every request is first judged as the vendor would
// (`check` of the dialect), and answered with the vendor's own error where it breaks a rule.
//
// An answer: { parts, finish, stopSequence, usage, refusal, choices, fault, error, hang }
//   parts: { text } | { reasoning, signature } | { call, id, args } | { custom, id, input }   args: an object, or '' for none
//   finish: stop, length, tool_calls, content_filter, stop_sequence
//   fault: cut (the connection dies), eof (a clean end too early), error (the dialect's error in the
//   stream); each after the first piece of text. error: a kind of `errors` below.
import http from 'node:http';

const USAGE = { input: 11, cached: 0, written: 0, output: 7, reasoning: 0 };

export function completed(answer) {
  const parts = answer.parts ?? [{ text: answer.text ?? 'Hello wörld' }];
  const calls = parts.some((p) => p.call || p.custom);
  return {
    ...answer,
    parts,
    finish: answer.finish ?? (calls ? 'tool_calls' : 'stop'),
    usage: { ...USAGE, ...answer.usage },
  };
}

// Text as a stream brings it: three pieces, never amid a code point.
export function pieces(text) {
  const points = [...text];
  const third = Math.max(1, Math.ceil(points.length / 3));
  const out = [];
  for (let i = 0; i < points.length; i += third) out.push(points.slice(i, i + third).join(''));
  return out;
}

export const sse = (value, name) =>
  (name ? `event: ${name}\n` : '') + `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;

export const argsText = (call) =>
  call.args === '' || call.args === undefined
    ? ''
    : typeof call.args === 'string'
      ? call.args
      : JSON.stringify(call.args);
export const argsObject = (call) =>
  typeof call.args === 'object' ? call.args : call.args ? JSON.parse(call.args) : {};

// The first thing that is wrong, of rules that throw. A rule's message is the vendor's.
export class Broken extends Error {
  constructor(message, more = {}) {
    super(message);
    Object.assign(this, more);
  }
}
export function must(condition, message, more) {
  if (!condition) throw new Broken(message, more);
}
export function only(object, names, say) {
  for (const name of Object.keys(object)) must(names.includes(name), say(name), { param: name });
}

const MAGIC = {
  'image/png': '89504e47',
  'image/jpeg': 'ffd8ff',
  'image/gif': '47494638',
  'image/webp': '52494646',
  'application/pdf': '25504446',
};
export function isMedia(type, base64) {
  const bytes = Buffer.from(base64, 'base64').toString('hex');
  return MAGIC[type] !== undefined && bytes.startsWith(MAGIC[type]);
}

export class Vendor {
  constructor(dialect) {
    this.dialect = dialect;
    this.name = dialect.name;
    this.seen = [];
    this.answers = [];
    this.server = http.createServer((request, reply) => this.receive(request, reply));
    this.server.keepAliveTimeout = 60000;
  }

  start(port) {
    return new Promise((resolve) => this.server.listen(port, '127.0.0.1', () => resolve(this)));
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  // What the next requests get, in turn; the last one is repeated.
  play(...answers) {
    this.seen = [];
    this.answers = answers.map(completed);
    this.gone = new Promise((resolve) => {
      this.tellGone = resolve;
    });
    this.asked = new Promise((resolve) => {
      this.tellAsked = resolve;
    });
  }

  get last() {
    return this.seen.at(-1)?.body;
  }

  receive(request, reply) {
    const parts = [];
    request.on('data', (d) => parts.push(d));
    request.on('end', () => {
      const raw = Buffer.concat(parts).toString();
      const ask = { path: request.url, headers: request.headers, raw, body: raw ? JSON.parse(raw) : null };
      this.seen.push(ask);
      this.tellAsked?.(ask);
      reply.on('close', () => {
        if (!reply.writableFinished) this.tellGone?.(ask);
      });
      this.answer(ask, reply);
    });
  }

  answer(ask, reply) {
    const send = ({ status, headers = {}, body }) => {
      reply.writeHead(status, { 'content-type': 'application/json', ...headers });
      reply.end(typeof body === 'string' ? body : JSON.stringify(body));
    };
    let route;
    try {
      route = this.dialect.route(ask);
      must(route, `no such path: ${ask.path}`);
      route.check?.(ask);
    } catch (e) {
      if (!(e instanceof Broken)) console.error(e);
      ask.broken = e.message;
      return send(this.dialect.broken(e, ask));
    }
    if (route.reply) return send({ status: 200, body: route.reply(ask) });
    const answer = this.answers.length > 1 ? this.answers.shift() : (this.answers[0] ?? completed({}));
    if (answer.hang) return undefined;
    if (answer.error) return send(answer.error.status ? answer.error : this.dialect.errors(answer.error));
    if (!route.stream)
      return send({ status: 200, headers: this.dialect.headers ?? {}, body: this.dialect.whole(answer, ask) });
    reply.writeHead(200, { 'content-type': this.dialect.streamType ?? 'text/event-stream', ...this.dialect.headers });
    let frames = this.dialect.frames(answer, ask);
    if (answer.fault) {
      const first = frames.findIndex((f) => f.says) + 1;
      frames = frames.slice(0, first);
      if (answer.fault === 'error') frames.push({ bytes: this.dialect.streamError });
    }
    const bytes = Buffer.concat(frames.map((f) => Buffer.from(f.bytes)));
    if (answer.fault === 'cut') {
      reply.write(bytes, () => reply.destroy());
      return undefined;
    }
    if (answer.fault === 'stall') {
      reply.write(bytes);
      return undefined;
    }
    if (!answer.torn) return reply.end(bytes);
    const tear = (at, size) => {
      if (at >= bytes.length) return reply.end();
      return reply.write(bytes.subarray(at, at + size), () => setImmediate(tear, at + size, (size % 13) + 1));
    };
    return tear(0, 1);
  }
}

// One frame; `says` marks the first that carries content to the caller.
export const frame = (bytes, says = false) => ({ bytes, says });
