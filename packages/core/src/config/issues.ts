/** What a schema's `parse` threw, as problems of single keys. */
import { isRecord, own } from './record.js';
import type { Path } from './source.js';

export interface Finding {
  readonly path: Path;
  readonly message: string;
}

type Issue = Readonly<Record<string, unknown>>;

/** `base` is the path of the value that was parsed. An error without `issues` is one finding about the whole. */
export function findingsOf(error: unknown, value: unknown, base: Path): Finding[] {
  const issues: unknown = isRecord(error) ? error.issues : undefined;
  if (!Array.isArray(issues) || issues.length === 0) return [{ path: base, message: error instanceof Error ? error.message : String(error) }];
  return issues
    .filter(isRecord)
    .flatMap(opened)
    .map((issue) => {
      const inner = pathOf(issue.path);
      return { path: [...base, ...inner], message: describe(issue, inner, valueAt(value, inner)) };
    });
}

/** Of a union, what the branch says that takes values of this type: "TLS" is a section of keys, and one of them is wrong. Itself, where none does. */
function opened(issue: Issue): Issue[] {
  const branches = issue.code === 'invalid_union' && issue.message === 'Invalid input' && Array.isArray(issue.errors) ? issue.errors : [];
  const fitting = branches
    .map((branch: unknown) => (Array.isArray(branch) ? branch.filter(isRecord) : []))
    .find((branch) => branch.length > 0 && fitsType(branch));
  return fitting?.flatMap((inner) => opened({ ...inner, path: [...pathOf(issue.path), ...pathOf(inner.path)] })) ?? [issue];
}

function fitsType(branch: readonly Issue[]): boolean {
  return !branch.some(({ path, code }) => pathOf(path).length === 0 && ['invalid_type', 'invalid_value', 'invalid_union'].includes(String(code)));
}

function pathOf(path: unknown): Path {
  return Array.isArray(path) ? path.filter((part): part is string | number => typeof part === 'string' || typeof part === 'number') : [];
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const part of path) at = Array.isArray(at) ? at[Number(part)] : isRecord(at) ? own(at, String(part)) : undefined;
  return at;
}

function describe(issue: Issue, path: Path, value: unknown): string {
  const name = path.length === 0 ? '' : `"${labelOf(path)}" `;
  const message = typeof issue.message === 'string' ? issue.message : 'is not valid';
  if (value === undefined && path.length > 0 && issue.code !== 'custom') return `${name}is missing`;
  const wanted = expected(issue);
  if (wanted !== null) return name === '' ? `this must be ${wanted}` : `${name}must be ${wanted}`;
  return name === '' ? message : `${name.trimEnd()}: ${message}`;
}

/** The last key of a path, with the places in its lists. */
function labelOf(path: Path): string {
  const key = path.findLastIndex((part) => typeof part === 'string');
  return path
    .slice(Math.max(0, key))
    .map((part) => (typeof part === 'number' ? `[${part}]` : part))
    .join('');
}

/** What zod wanted, in words that do not speak of "input". null: its own message, or that of a refinement, is best. */
function expected(issue: Issue): string | null {
  const { code, message } = issue;
  if (typeof message === 'string' && !/^(?:Invalid (?:input|option)|Too (?:small|big))\b/.test(message)) return null; // written by the schema's author
  if (code === 'invalid_type') return NOUNS[String(issue.expected)] ?? String(issue.expected);
  if (code === 'invalid_value' && Array.isArray(issue.values)) {
    const values = issue.values.map((value) => JSON.stringify(value));
    return values.length === 1 ? `${values[0]}` : `one of ${values.join(', ')}`;
  }
  if (code === 'too_big' || code === 'too_small') return bound(issue, code === 'too_big' ? 'maximum' : 'minimum');
  if (code === 'invalid_union' && issue.message === 'Invalid input' && Array.isArray(issue.errors)) {
    const first = issue.errors.flatMap((errors: unknown) =>
      Array.isArray(errors) && errors.length > 0 && isRecord(errors[0]) && pathOf(errors[0].path).length === 0 ? [expected(errors[0])] : [],
    );
    const wanted = [...new Set(first.filter((text) => text !== null))];
    return wanted.length > 0 ? wanted.join(' or ') : null;
  }
  return null;
}

const NOUNS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a section of keys',
  record: 'a section of keys',
};

function bound(issue: Issue, which: 'maximum' | 'minimum'): string | null {
  const limit = issue[which];
  if (typeof limit !== 'number' && typeof limit !== 'bigint') return null;
  const word = which === 'maximum' ? 'at most' : 'at least';
  const unit = issue.origin === 'string' ? ' characters long' : issue.origin === 'array' ? ' entries long' : '';
  if (unit === ' characters long' && which === 'minimum' && Number(limit) === 1) return 'given (it is empty)';
  return `${word} ${limit}${unit}`;
}
