/** A plain object of unknown contents, as YAML and JSON give it. Read it with string keys of its own only (`Object.hasOwn` where the key is foreign). */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An own property, or undefined: never something of a prototype. */
export function own(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
