/** Reading a JSON Schema (draft 2020-12, as zod writes it): just what the checks need of it. */
import { isRecord, own } from './record.js';

export type SchemaNode = Readonly<Record<string, unknown>>;

/** A plugin may write a schema that refers to itself. */
const MAX_HOPS = 16;

/** The leaf schemas that may speak for `value`: references followed, `allOf` opened, of `anyOf`/`oneOf` those that fit (all, when none does). */
export function applicable(value: unknown, node: unknown, root: SchemaNode, hops = 0): SchemaNode[] {
  if (!isRecord(node) || hops > MAX_HOPS) return [];
  const reference = own(node, '$ref');
  if (typeof reference === 'string') return applicable(value, follow(reference, root), root, hops + 1);
  const leaves: SchemaNode[] = [node];
  for (const part of list(own(node, 'allOf'))) leaves.push(...applicable(value, part, root, hops + 1));
  const branches = [...list(own(node, 'anyOf')), ...list(own(node, 'oneOf'))].flatMap((branch) => applicable(value, branch, root, hops + 1));
  const fitting = branches.filter((branch) => fits(value, branch));
  return [...leaves, ...(fitting.length > 0 ? fitting : branches)];
}

function follow(reference: string, root: SchemaNode): unknown {
  if (!reference.startsWith('#')) return undefined;
  let node: unknown = root;
  for (const part of reference.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    node = isRecord(node) ? own(node, key) : undefined;
  }
  return node;
}

/** Whether `value` is of the schema's type and has its constants; nothing deeper. */
export function fits(value: unknown, node: SchemaNode): boolean {
  const types = typesOf(node);
  if (types.length > 0 && !types.some((type) => isOfType(value, type))) return false;
  if (Object.hasOwn(node, 'const') && node.const !== value) return false;
  const values = own(node, 'enum');
  if (Array.isArray(values) && !values.includes(value)) return false;
  if (!isRecord(value)) return true;
  return Object.entries(propertiesOf(node)).every(
    ([key, property]) => !isRecord(property) || !Object.hasOwn(property, 'const') || own(value, key) === property.const,
  );
}

export function typesOf(node: SchemaNode): readonly string[] {
  const type = own(node, 'type');
  return typeof type === 'string' ? [type] : list(type).filter((name) => typeof name === 'string');
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'object':
      return isRecord(value);
    case 'array':
      return Array.isArray(value);
    case 'null':
      return value === null;
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

export function propertiesOf(node: SchemaNode): SchemaNode {
  const properties = own(node, 'properties');
  return isRecord(properties) ? properties : {};
}

/** True for a schema of objects that takes any key. */
export function isOpen(node: SchemaNode): boolean {
  const rest = own(node, 'additionalProperties');
  return rest === true || isRecord(rest) || isRecord(own(node, 'patternProperties'));
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
