import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Geodata } from '../rule/tools.js';
import type { ProblemList } from './problem-list.js';

const FILES = ['country', 'asn', 'geosite'] as const satisfies readonly (keyof Geodata)[];

/** `geodata`: absolute paths of files that are there. What is in them is looked at by the rules that need them. */
export function checkGeodata(given: { readonly [K in keyof Geodata]?: string | undefined }, folder: string, problems: ProblemList): Geodata {
  const found: { -readonly [K in keyof Geodata]: Geodata[K] } = { country: null, asn: null, geosite: null };
  for (const key of FILES) {
    const text = given[key];
    if (text === undefined) continue;
    const path = resolve(folder, text);
    found[key] = path;
    const wrong = whyNot(path);
    if (wrong !== null) problems.error('BAD_VALUE', `${wrong}: ${path}`, ['geodata', key]);
  }
  return found;
}

/** What is wrong with a file that is to be read, or null. */
export function whyNot(path: string): string | null {
  try {
    return statSync(path).isFile() ? null : 'this is no file';
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    return code === 'ENOENT' ? 'there is no such file' : `this file cannot be read (${code})`;
  }
}
