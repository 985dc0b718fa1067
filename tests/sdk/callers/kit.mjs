// What all clients are given: where the node is, with which key; and small turns of words.
export const base = process.env.STEELYARD_URL;
export const key = process.env.STEELYARD_KEY;

export const dataUrl = (p) => `data:${p.mime};base64,${p.data}`;
export const only = (o) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));
export const parsed = (text) => (text === '' ? {} : JSON.parse(text));
export const options = (o) =>
  only({ maxRetries: o.retries ?? 0, timeout: o.timeout, fetch: o.fetch, defaultHeaders: o.headers });
