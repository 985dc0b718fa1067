// Every case with every client at every vendor: each triple is one test, named for what it tries.
// A case that does not apply to a pair says why and is counted as no test. What each came to is
// written to the file STEELYARD_SDK_TABLE names, for the table of the summary.
import { appendFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { callers } from './callers/all.mjs';
import { cases } from './cases/all.mjs';
import { heard } from './heard.mjs';
import { Vendor } from './vendors/vendor.mjs';
import { dialects } from './vendors/all.mjs';

const ports = JSON.parse(process.env.STEELYARD_SDK_PORTS);
const only = process.env.STEELYARD_SDK_ONLY ? new RegExp(process.env.STEELYARD_SDK_ONLY) : null;
const table = process.env.STEELYARD_SDK_TABLE;

export async function matrix(offered = dialects.filter((d) => ports[d.name])) {
  const vendors = offered.map((d) => new Vendor(d));
  before(() => Promise.all(vendors.map((v) => v.start(ports[v.name]))));
  after(() => vendors.forEach((v) => v.stop()));
  // Vendors side by side; at each one test after the other, as what it answers is played to it.
  suite('matrix', { concurrency: vendors.length }, () => {
    for (const vendor of vendors) suite(vendor.name, { concurrency: 1 }, () => all(vendor));
  });
}

function all(vendor) {
  let used = 0;
  for (const caller of callers) {
    const same = caller.dialect === vendor.name;
    for (const c of cases) {
      const why = c.unless?.({ caller, vendor: vendor.name, same });
      const name = `${caller.name} at ${vendor.name}: ${c.name}`;
      if (only && !only.test(name)) continue;
      if (why) {
        note(c, caller, vendor, '-', why);
        continue;
      }
      test(name, { timeout: 20000 }, async () => {
        // What fails makes a deployment rest: such a case has one of its own.
        const model = c.spoils ? `${vendor.name}-${++used}` : `${vendor.name}-0`;
        const ask = (o) => caller.ask({ model, ...o });
        vendor.play({});
        try {
          const mark = await c.run({
            caller,
            vendor,
            model,
            ask,
            same,
            heard: (at = -1) => heard[vendor.name](vendor.seen.at(at).body),
          });
          note(c, caller, vendor, mark === 'refused' ? 'e' : '.');
        } catch (e) {
          const broken = vendor.seen.find((s) => s.broken);
          if (broken) e.message = `the vendor refused: ${broken.broken}\n${e.message}`;
          note(c, caller, vendor, 'F', e.message);
          throw e;
        }
      });
    }
  }
}

function note(c, caller, vendor, mark, why = '') {
  if (table)
    appendFileSync(
      table,
      JSON.stringify({ at: cases.indexOf(c), case: c.name, caller: caller.name, vendor: vendor.name, mark, why }) +
        '\n',
    );
}
