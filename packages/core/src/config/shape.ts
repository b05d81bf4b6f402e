/**
 * Brings a config value into the shape of its JSON Schema before the schema itself judges it: scalars are converted (weak.ts), keys that the
 * schema does not know are reported and left out, and so, as in Clash, are keys with nothing behind them (`username:` is null in YAML). The value
 * itself is never written to; what does not change is kept as it is.
 */
import { isRecord, own } from './record.js';
import { applicable, fits, isOpen, propertiesOf, type SchemaNode } from './schema-node.js';
import type { Path } from './source.js';
import { weakScalar } from './weak.js';
import { MAX_DEPTH } from './yaml-tree.js';

export interface ShapeOptions {
  readonly schema: SchemaNode;
  /** A scalar as written in the file, by its path. */
  text(path: Path): string | null;
  /** `path` ends in the unknown key. `known` are all keys that may stand there. */
  unknown(path: Path, known: readonly string[]): void;
}

export function shape(value: unknown, path: Path, options: ShapeOptions): unknown {
  return shapeNode(value, options.schema, path, options);
}

function shapeNode(value: unknown, node: unknown, path: Path, options: ShapeOptions): unknown {
  if (path.length > MAX_DEPTH) return value; // an embedder's object may hold itself
  const schemas = applicable(value, node, options.schema);
  if (Array.isArray(value)) return shapeList(value, schemas, path, options);
  if (isRecord(value)) return shapeRecord(value, schemas, path, options);
  return weakScalar(value, schemas, () => options.text(path));
}

function shapeList(value: readonly unknown[], schemas: readonly SchemaNode[], path: Path, options: ShapeOptions): unknown {
  const items = schemas.map((schema) => own(schema, 'items')).find(isRecord);
  const tuple = schemas.map((schema) => own(schema, 'prefixItems')).find(Array.isArray);
  if (items === undefined && tuple === undefined) return value;
  const shaped = value.map((item, index) => shapeNode(item, tuple?.[index] ?? items, [...path, index], options));
  return shaped.every((item, index) => item === value[index]) ? value : shaped;
}

function shapeRecord(value: Readonly<Record<string, unknown>>, schemas: readonly SchemaNode[], path: Path, options: ShapeOptions): unknown {
  const objects = schemas.filter((schema) => Object.hasOwn(schema, 'properties') || isOpen(schema));
  if (objects.length === 0) return value;
  const open = objects.some(isOpen);
  const shaped: Record<string, unknown> = {};
  let changed = false;
  for (const [key, item] of Object.entries(value)) {
    const property = objects.map((schema) => own(propertiesOf(schema), key)).find((found) => found !== undefined);
    if (item === undefined || (item === null && !(property === undefined ? open : takesNull(property, options.schema)))) {
      changed = true;
      continue;
    }
    if (property === undefined && !open) {
      options.unknown([...path, key], [...new Set(objects.flatMap((schema) => Object.keys(propertiesOf(schema))))]);
      changed = true;
      continue;
    }
    const rest = objects.map((schema) => own(schema, 'additionalProperties')).find(isRecord);
    const result = shapeNode(item, property ?? rest, [...path, key], options);
    if (result !== item) changed = true;
    if (key === '__proto__')
      changed = true; // an embedder's JSON.parse may bring one
    else shaped[key] = result;
  }
  return changed ? shaped : value;
}

/** A schema that says nothing of types takes anything. */
function takesNull(node: unknown, root: SchemaNode): boolean {
  const judges = applicable(null, node, root).filter((schema) => ['type', 'const', 'enum'].some((key) => Object.hasOwn(schema, key)));
  return judges.length === 0 || judges.some((schema) => fits(null, schema));
}
