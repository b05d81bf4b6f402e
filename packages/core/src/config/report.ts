import type { Problem } from './problem.js';
import { maskUris } from './secrets.js';

/** `config.yaml:5:9 error: "prot" is no key of an ss proxy. Did you mean "port"?`, and below it the offending text. */
export function formatProblem(problem: Problem): string {
  const head = `${formatPlace(problem)}${problem.severity}: ${clean(maskUris(problem.message))}`;
  return problem.excerpt === null ? head : `${head}\n    ${clean(maskUris(problem.excerpt))}`;
}

function formatPlace(problem: Problem): string {
  if (problem.file !== null && problem.line !== null) return `${clean(problem.file)}:${problem.line}:${problem.column ?? 1} `;
  if (problem.file !== null) return `${clean(problem.file)}: `;
  return problem.path.length === 0 ? '' : `${clean(formatPath(problem.path))}: `;
}

/** `proxies[0].port` */
export function formatPath(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  return text;
}

/** Text of a config may hold anything, and a terminal must not act on it: controls, line separators, marks that turn the direction of text. */
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

export function clean(text: string): string {
  return text.replace(CONTROL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
