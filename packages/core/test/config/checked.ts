/** Texts of config files, checked against the types that these tests know. */
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import type { KernelConfig } from '../../dist/config/types.js';
import { knownTypes } from './known-types.js';

export const registry = knownTypes();

export function problemsOf(text: string, strict = false): string[] {
  return checkConfig(parseConfig(text, 'c.yaml'), registry, { strict }).problems.map(formatProblem);
}

/** A file without errors. */
export function good(text: string): KernelConfig {
  const { config, problems } = checkConfig(parseConfig(text, 'c.yaml'), registry);
  t.same(problems.map(formatProblem), [], `no problems in ${JSON.stringify(text).slice(0, 60)}`);
  if (config === null) throw new Error('no config');
  return config;
}
