// The cases of the matrix, in the order of the table.
import { breaks, errors } from './faults.mjs';
import { fields, reasoning, refusals, structured, usage } from './fields.mjs';
import { others, passed } from './others.mjs';
import { media, text, tools } from './talk.mjs';

export const cases = [
  ...text,
  ...tools,
  ...media,
  ...fields,
  ...structured,
  ...reasoning,
  ...refusals,
  ...usage,
  ...errors,
  ...breaks,
  ...passed,
  ...others,
];
