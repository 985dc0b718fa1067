// Every object of the given manifests against the schemas of its kind; prints all objects as JSON for further checks.
//   node validate.mjs OUT.json FILE.yaml...
// Twice, because each way sees what the other does not: the generated validators (required fields, patterns,
// enumerations, ranges; they pass over unknown fields), and the type checker (unknown fields, wrong types) on the
// objects as literals of the kinds' types. A kind without a schema is an error.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import YAML from "yaml";

const here = path.dirname(fileURLToPath(import.meta.url));
const PACKAGES = [
  [/^gateway\.networking\.k8s\.io\//, "@kubernetes-models/gateway-api/"],
  [/^monitoring\.coreos\.com\//, "@kubernetes-models/prometheus-operator/"],
  [/^keda\.sh\//, "@kubernetes-models/keda/"],
  [/^cert-manager\.io\//, "@kubernetes-models/cert-manager/"],
  [/./, "kubernetes-models/"],
];

const moduleOf = (o) => PACKAGES.find(([p]) => p.test(o.apiVersion))[1] + o.apiVersion + "/" + o.kind;

const problems = [];
const objects = {};
const [out, ...files] = process.argv.slice(2);
for (const file of files) {
  objects[file] = [];
  for (const document of YAML.parseAllDocuments(fs.readFileSync(file, "utf8"), { version: "1.1", merge: false })) {
    for (const e of [...document.errors, ...document.warnings]) problems.push(`${file}: ${e.message}`);
    const object = document.toJS();
    if (object === null) continue;
    if (typeof object.apiVersion !== "string" || typeof object.kind !== "string" || !object.metadata?.name)
      problems.push(`${file}: an object without apiVersion, kind or name`);
    else objects[file].push(object);
  }
}

const source = [];
const places = [];
let count = 0;
for (const [file, list] of Object.entries(objects))
  for (const object of list) {
    const place = `${file}: ${object.kind}/${object.metadata.name}`;
    const from = moduleOf(object);
    try {
      const model = (await import(from))[object.kind];
      new model(object).validate();
    } catch (e) {
      problems.push(`${place}: ${e.code === "ERR_MODULE_NOT_FOUND" ? "no schema for " + object.apiVersion : e.message}`);
      continue;
    }
    source.push(`export const o${count}: import(${JSON.stringify(from)}).I${object.kind} = ${JSON.stringify(object)};`);
    places.push(place);
    count++;
  }

const name = path.join(here, "node_modules", ".objects.ts");
fs.writeFileSync(name, source.join("\n") + "\n");
const program = ts.createProgram([name], {
  noEmit: true, strict: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
});
for (const d of ts.getPreEmitDiagnostics(program)) {
  const text = ts.flattenDiagnosticMessageText(d.messageText, "; ").slice(0, 600);
  const line = d.file ? d.file.getLineAndCharacterOfPosition(d.start).line : -1;
  problems.push(`${places[line] ?? "types"}: ${text}`);
}
fs.writeFileSync(out, JSON.stringify(objects));
for (const p of problems) console.log(p);
console.log(`${count} objects, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);
