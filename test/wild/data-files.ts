/** Writers of the two binary formats that rules read: geosite.dat (Protocol Buffers) and an MMDB (MaxMind DB File Format Specification 2.0). */
import { parseCidr } from '@nekit/core';
import type { GeositeList, SYSTEMS } from './files.js';

const TYPES = ['keyword', 'regex', 'domain', 'full'];

export function geositeFile(lists: readonly GeositeList[]): Buffer {
  return Buffer.concat(
    lists.map(({ code, entries }) => {
      const domains = entries.map(({ type, value, attributes = [] }) => {
        const marks = attributes.map((attribute) => field(3, Buffer.concat([field(1, Buffer.from(attribute)), varint(2 * 8), varint(1)])));
        return field(2, Buffer.concat([varint(8), varint(TYPES.indexOf(type)), field(2, Buffer.from(value)), ...marks]));
      });
      return field(1, Buffer.concat([field(1, Buffer.from(code)), ...domains]));
    }),
  );
}

function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

type Half = { node: number } | { data: number } | null;

/** A tree of records of 24 bits, IPv4 below ::/96; an entry's data is `{ autonomous_system_number }`. */
export function asnFile(systems: typeof SYSTEMS): Buffer {
  const nodes: [Half, Half][] = [[null, null]];
  const data: Buffer[] = [];
  for (const { network, number } of systems) {
    insert(nodes, bitsOf(network), Buffer.concat(data).length);
    data.push(map({ autonomous_system_number: uint(6, number) }));
  }
  const tree = Buffer.alloc(nodes.length * 6);
  nodes.forEach((halves, index) => {
    halves.forEach((half, side) => {
      const record = half === null ? nodes.length : 'node' in half ? half.node : nodes.length + 16 + half.data;
      tree.writeUIntBE(record, index * 6 + side * 3, 3);
    });
  });
  const facts = map({
    node_count: uint(6, nodes.length),
    record_size: uint(5, 24),
    ip_version: uint(5, 6),
    database_type: text('wild-asn'),
    languages: Buffer.from([0, 4]),
    binary_format_major_version: uint(5, 2),
    binary_format_minor_version: uint(5, 0),
    build_epoch: Buffer.from([4, 2, 0x68, 0, 0, 0]),
    description: map({ en: text('made by a test') }),
  });
  return Buffer.concat([tree, Buffer.alloc(16), ...data, Buffer.from('abcdef', 'hex'), Buffer.from('MaxMind.com'), facts]);
}

function bitsOf(network: string): number[] {
  const { address, prefix } = parseCidr(network);
  const bits = [...address].flatMap((byte) => Array.from({ length: 8 }, (_, i) => (byte >> (7 - i)) & 1)).slice(0, prefix);
  return address.length === 4 ? [...Array.from({ length: 96 }, () => 0), ...bits] : bits;
}

function insert(nodes: [Half, Half][], bits: readonly number[], data: number): void {
  let at = 0;
  bits.forEach((bit, depth) => {
    const node = nodes[at];
    if (node === undefined) throw new Error(`there is no node ${at}`);
    const side = bit === 0 ? 0 : 1;
    const half = node[side];
    if (depth === bits.length - 1) node[side] = { data };
    else if (half !== null && 'node' in half) at = half.node;
    else {
      at = nodes.push([null, null]) - 1;
      node[side] = { node: at };
    }
  });
}

/** Control byte: type in the upper three bits, size in the lower five (below 29). */
function map(entries: Readonly<Record<string, Buffer>>): Buffer {
  const pairs = Object.entries(entries);
  return Buffer.concat([Buffer.from([(7 << 5) | pairs.length]), ...pairs.flatMap(([key, value]) => [text(key), value])]);
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([(2 << 5) | value.length]), Buffer.from(value)]);
}

/** `type`: 5 (16 bits) or 6 (32 bits). */
function uint(type: 5 | 6, value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = (type << 5) | 4;
  bytes.writeUInt32BE(value, 1);
  return bytes;
}
