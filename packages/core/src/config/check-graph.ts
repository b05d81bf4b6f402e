/** What entries say about each other: names, references, circles. */
import type { CheckedEntry } from './check-entries.js';
import { KnownNames } from './known-names.js';
import type { ProblemList } from './problem-list.js';
import { BUILT_INS } from './schema.js';

/** How many proxies and groups may lead to each other, one behind the other: each is another layer around every connection. */
export const MAX_CHAIN = 64;

/** Reports duplicates, unknown names, circles and chains that are too long. Returns every name that a rule may lead to. */
export function checkGraph(entries: readonly CheckedEntry[], problems: ProblemList): KnownNames {
  const byName = new Map<string, CheckedEntry>();
  for (const entry of entries) {
    const path = [...entry.path, 'name'];
    const other = byName.get(entry.name);
    if (other !== undefined) {
      const [first, second] = [problems.where([...other.path, 'name']), problems.where(path)];
      problems.error('DUPLICATE_NAME', `the name "${entry.name}" is given twice: ${first} and ${second}`, path);
    } else if (isBuiltIn(entry.name) && !(entry.name === 'GLOBAL' && entry.section === 'proxy-groups')) {
      problems.error('DUPLICATE_NAME', `"${entry.name}" is the name of a built-in adapter; choose another one`, path);
    } else byName.set(entry.name, entry);
  }
  const names = new KnownNames([...BUILT_INS, ...byName.keys()]);
  for (const entry of entries) checkReferences(entry, byName, names, problems);
  reportChains(byName, problems);
  return names;
}

function checkReferences(entry: CheckedEntry, byName: ReadonlyMap<string, CheckedEntry>, names: KnownNames, problems: ProblemList): void {
  for (const { name, path } of entry.references) {
    if (!names.has(name)) problems.error('UNKNOWN_NAME', `there is no proxy or group "${name}".${names.guess(name)}`, path);
    else if (name === 'GLOBAL' && !byName.has(name))
      problems.error('CYCLE', `"${entry.name}" names GLOBAL, which holds "${entry.name}": GLOBAL -> ${entry.name} -> GLOBAL`, path);
  }
}

function isBuiltIn(name: string): boolean {
  return BUILT_INS.some((builtIn) => builtIn === name);
}

/**
 * Depth first without recursion: a chain may be as long as the file. Each circle is reported once, at the reference that closes it, and each chain at
 * the one that makes it too long.
 */
function reportChains(byName: ReadonlyMap<string, CheckedEntry>, problems: ProblemList): void {
  /** Those that are done, each with the length of the longest chain that begins with it. */
  const done = new Map<string, number>();
  for (const start of byName.values()) {
    const trail: { entry: CheckedEntry; next: number }[] = [{ entry: start, next: 0 }];
    const onTrail = new Set([start.name]);
    if (done.has(start.name)) continue;
    for (let top = trail.at(-1); top !== undefined; top = trail.at(-1)) {
      const reference = top.entry.references[top.next++];
      if (reference === undefined) {
        done.set(top.entry.name, lengthOf(top.entry, done, problems));
        onTrail.delete(top.entry.name);
        trail.pop();
        continue;
      }
      const target = byName.get(reference.name);
      if (target === undefined || done.has(target.name)) continue;
      if (onTrail.has(target.name)) {
        const names = trail.map(({ entry }) => entry.name);
        const circle = [...names.slice(names.indexOf(target.name)), target.name];
        problems.error('CYCLE', `these use each other in a circle: ${circle.join(' -> ')}`, reference.path);
      } else {
        onTrail.add(target.name);
        trail.push({ entry: target, next: 0 });
      }
    }
  }
}

/** Of the longest chain that begins with the entry; what it refers to is done, but for circles. */
function lengthOf({ name, references }: CheckedEntry, done: ReadonlyMap<string, number>, problems: ProblemList): number {
  const behind = references.map((reference) => done.get(reference.name) ?? 0);
  const tooLong = references[behind.indexOf(MAX_CHAIN)];
  if (tooLong !== undefined) problems.error('TOO_DEEP', `"${name}" begins a chain of more than ${MAX_CHAIN} proxies and groups`, tooLong.path);
  return behind.reduce((longest, length) => Math.max(longest, length + 1), 1);
}
