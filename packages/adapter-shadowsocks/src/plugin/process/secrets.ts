import { escapeWord, parseOptions } from '../sip003-options.js';

/** Options that say nothing about who may use the server, and that help when a program complains about them. */
const OPEN: ReadonlySet<string> = new Set(['obfs', 'obfs-host', 'host', 'mode', 'mux', 'loglevel', 'tls', 'fast-open', 'mptcp', 'cert', 'server']);

/** The texts in a program's options that must not be quoted: every value but those of options known to be harmless, and the options as a whole. */
export function secretsIn(options: string): string[] {
  const parsed = [...parseOptions(options)];
  const values = parsed.flatMap(([key, value]) => (OPEN.has(key) || value === true ? [] : [value, escapeWord(value)]));
  return values.length === 0 ? [] : [options, ...values];
}
