import { type Cidr, parseCidr } from '@nekit/core';

/** What a record may hold here. Numbers are uint32. */
export type Content = string | number | boolean | readonly Content[] | { readonly [key: string]: Content };

export interface WriterOptions {
  readonly recordBits?: 24 | 28 | 32;
  readonly family?: 4 | 6;
  readonly type?: string;
}

type Node = [Branch, Branch];
/** A node, a place in the data section, or nothing known. */
type Branch = Node | number | null;

/** A MaxMind DB: networks to records, later ones over earlier ones. IPv4 networks lie below ::/96 of a tree of IPv6. */
export function writeMmdb(networks: Readonly<Record<string, Content>>, { recordBits = 24, family = 6, type = 'Test' }: WriterOptions = {}): Buffer {
  const places = new Map<string, number>();
  const data: Buffer[] = [];
  let size = 0;
  const root: Node = [null, null];
  for (const [network, content] of Object.entries(networks)) {
    const key = JSON.stringify(content);
    let place = places.get(key);
    if (place === undefined) {
      place = size;
      places.set(key, place);
      const bytes = encode(content);
      data.push(bytes);
      size += bytes.length;
    }
    insert(root, bitsOf(parseCidr(network), family), place);
  }
  const nodes = numbered(root);
  return Buffer.concat([tree(nodes, recordBits), Buffer.alloc(16), ...data, metadata(nodes.size, recordBits, family, type)]);
}

/** The marker and what stands behind it. */
export function metadata(nodeCount: number, recordBits: number, family: number, type = 'Test'): Buffer {
  const content = {
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1,
    database_type: type,
    description: { en: 'made by a test' },
    ip_version: family,
    languages: ['en'],
    node_count: nodeCount,
    record_size: recordBits,
  };
  return Buffer.concat([Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1'), encode(content)]);
}

function bitsOf({ address, prefix }: Cidr, family: 4 | 6): number[] {
  const bits = [...address].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((shift) => (byte >> shift) & 1)).slice(0, prefix);
  return family === 6 && address.length === 4 ? [...new Array<number>(96).fill(0), ...bits] : bits;
}

function insert(root: Node, bits: readonly number[], place: number): void {
  let node = root;
  bits.forEach((bit, i) => {
    const side = bit === 0 ? 0 : 1;
    if (i === bits.length - 1) {
      node[side] = place;
      return;
    }
    const next = node[side];
    const below: Node = Array.isArray(next) ? next : [next, next];
    node[side] = below;
    node = below;
  });
}

function numbered(root: Node): Map<Node, number> {
  const numbers = new Map<Node, number>([[root, 0]]);
  for (const node of numbers.keys()) for (const branch of node) if (Array.isArray(branch)) numbers.set(branch, numbers.size);
  return numbers;
}

function tree(nodes: Map<Node, number>, recordBits: 24 | 28 | 32): Buffer {
  const bytes = Buffer.alloc((nodes.size * recordBits) / 4);
  for (const [node, index] of nodes) {
    const at = (index * recordBits) / 4;
    const [left, right] = node.map((branch) => {
      if (branch === null) return nodes.size;
      return Array.isArray(branch) ? (nodes.get(branch) ?? 0) : nodes.size + 16 + branch;
    }) as [number, number];
    if (recordBits === 28) {
      bytes.writeUIntBE(left & 0xff_ffff, at, 3);
      bytes[at + 3] = ((left >>> 24) << 4) | (right >>> 24);
      bytes.writeUIntBE(right & 0xff_ffff, at + 4, 3);
    } else {
      bytes.writeUIntBE(left, at, recordBits / 8);
      bytes.writeUIntBE(right, at + recordBits / 8, recordBits / 8);
    }
  }
  return bytes;
}

export function encode(content: Content): Buffer {
  if (typeof content === 'string') return Buffer.concat([control(2, Buffer.byteLength(content)), Buffer.from(content)]);
  if (typeof content === 'boolean') return control(14, content ? 1 : 0);
  if (typeof content === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(content);
    return Buffer.concat([control(6, 4), bytes]);
  }
  if (Array.isArray(content)) return Buffer.concat([control(11, content.length), ...content.map(encode)]);
  const entries = Object.entries(content as { readonly [key: string]: Content });
  return Buffer.concat([control(7, entries.length), ...entries.flatMap(([key, value]) => [encode(key), encode(value)])]);
}

/** Type and size. */
export function control(type: number, size: number): Buffer {
  const [short, more] = size < 29 ? [size, []] : size < 285 ? [29, [size - 29]] : [30, [(size - 285) >> 8, (size - 285) & 0xff]];
  return Buffer.from(type > 7 ? [short, type - 7, ...more] : [(type << 5) | short, ...more]);
}
