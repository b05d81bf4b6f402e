// Linux's own TCP and ours are sent the same crafted segments in every state; both have to answer alike, but for a list of differences with their reasons.
// NEKIT_SHOW=word prints the scenarios with that word in their name.
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Namespace, unlessNamespaces } from '../helpers/namespace.js';
import { DIFFERENCES } from './comparison/differences.js';
import { type Comparison, compare, format } from './comparison/report.js';
import type { Answers } from './comparison/rig.js';

const RIG = fileURLToPath(new URL('comparison/rig.js', import.meta.url));

/** Scenarios are led by the clock: one that differs is asked again, by itself, before it is believed. */
const TRIES = 5;

const withoutFamily = (name: string): string => name.slice('IPv4 '.length);

/** Under what it is listed, if it is. */
function listedAs(name: string): string | null {
  return name in DIFFERENCES ? name : withoutFamily(name) in DIFFERENCES ? withoutFamily(name) : null;
}

async function runRig(t: Test, names: readonly string[]): Promise<Answers> {
  const namespace = await Namespace.make();
  try {
    const { code, stdout, stderr } = await namespace.run(process.execPath, [RIG, ...names], { ms: 60_000 });
    if (code !== 0) t.fail(`the rig ended with ${code}: ${stderr}`);
    return JSON.parse(stdout.toString()) as Answers;
  } finally {
    await namespace.close();
  }
}

/** Whether it differs where it should not, or does not where it should. */
function isOdd({ name, isDifferent }: Comparison): boolean {
  return isDifferent !== (listedAs(name) !== null);
}

t.test('crafted segments to Linux and to ours', { skip: unlessNamespaces('sysctl'), timeout: 240_000 }, async (t) => {
  const answers = await runRig(t, []);
  for (let tries = 1; tries < TRIES; tries++) {
    const odd = compare(answers).filter(isOdd);
    if (odd.length === 0) break;
    t.comment(`asked again: ${odd.map(({ name }) => name).join('; ')}`);
    const again = await runRig(t, [...new Set(odd.map(({ name }) => withoutFamily(name)))]);
    for (const { name } of odd) Object.assign(answers, { [name]: again[name] });
  }
  const all = compare(answers);
  t.ok(all.length > 500, `${all.length} scenarios`);
  const used = new Set<string>();
  for (const comparison of all) {
    const { name, isDifferent, ours } = comparison;
    const key = listedAs(name);
    const broken = ours.find(([label]) => label.startsWith('the scenario broke'));
    if (broken !== undefined) t.fail(`${name}: ${broken[0]}`);
    if (process.env.NEKIT_SHOW !== undefined && name.includes(process.env.NEKIT_SHOW)) t.comment(format(comparison));
    if (!isDifferent) continue;
    if (key === null) t.fail(`not listed: ${format(comparison)}`);
    else {
      t.comment(`${format(comparison)}\n  because: ${DIFFERENCES[key]}`);
      used.add(key);
    }
  }
  t.strictSame(
    Object.keys(DIFFERENCES).filter((key) => !used.has(key)),
    [],
    'every difference that is listed is one',
  );
  t.comment(`${all.filter(({ isDifferent }) => !isDifferent).length} of ${all.length} scenarios are answered alike`);
});
