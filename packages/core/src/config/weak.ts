/** Weak typing at the edge, as Clash's loader has it: what a scalar may be taken for when its schema wants another type. */
import type { SchemaNode } from './schema-node.js';
import { fits, typesOf } from './schema-node.js';

const YES: ReadonlySet<unknown> = new Set(['true', 'yes', 'on', 'y', '1', 1]);
const NO: ReadonlySet<unknown> = new Set(['false', 'no', 'off', 'n', '0', 0]);
const DECIMAL = /^[-+]?[0-9]+(?:\.[0-9]+)?$/;

/**
 * `"443"` as 443, `"yes"` as true, 123 as `"123"`: the value that the schemas want, or the value as it is when they take it already or
 * nothing can be done. `text` is the scalar as it stands in the file, so that a password 0123 stays "0123".
 */
export function weakScalar(value: unknown, schemas: readonly SchemaNode[], text: () => string | null): unknown {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return value;
  const typed = schemas.filter((schema) => typesOf(schema).length > 0);
  if (typed.length === 0 || typed.some((schema) => fits(value, schema))) return value;
  for (const type of typed.flatMap(typesOf)) {
    const converted = convert(value, type, text);
    if (converted !== undefined) return converted;
  }
  return value;
}

function convert(value: string | number | boolean, type: string, text: () => string | null): unknown {
  if (type === 'string') return typeof value === 'string' ? undefined : (text() ?? String(value));
  if (type === 'boolean') {
    const word = typeof value === 'string' ? value.trim().toLowerCase() : value;
    return YES.has(word) ? true : NO.has(word) ? false : undefined;
  }
  if ((type === 'integer' || type === 'number') && typeof value === 'string' && DECIMAL.test(value.trim())) {
    const number = Number(value.trim());
    return type === 'number' || Number.isSafeInteger(number) ? number : undefined;
  }
  return undefined;
}
