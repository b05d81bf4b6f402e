export interface WrittenEntry {
  /** 0 keyword, 1 regular expression, 2 name and all below, 3 full. */
  readonly type: number;
  readonly value: string;
  readonly attributes?: readonly string[];
}

/** A geosite.dat: lists under their codes. */
export function writeGeosite(lists: Readonly<Record<string, readonly WrittenEntry[]>>): Buffer {
  return Buffer.concat(
    Object.entries(lists).map(([code, entries]) => field(1, Buffer.concat([field(1, Buffer.from(code)), ...entries.map((entry) => field(2, entryOf(entry)))]))),
  );
}

function entryOf({ type, value, attributes = [] }: WrittenEntry): Buffer {
  const kind = type === 0 ? Buffer.alloc(0) : Buffer.concat([varint(8), varint(type)]);
  const written = attributes.map((name) => field(3, Buffer.concat([field(1, Buffer.from(name)), varint(2 * 8), varint(1)])));
  return Buffer.concat([kind, field(2, Buffer.from(value)), ...written]);
}

/** Bytes with their number and length. */
export function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}
