import { endianness } from 'node:os';

const LITTLE = endianness() === 'LE';

const HEADER = 16;
const LINK = { new: 16, get: 18 };
const ROUTE = { new: 24, delete: 25, get: 26 };
const RULE = { new: 32, delete: 33, get: 34 };
const ADDRESS = { get: 22 };
const EXCLUSIVE = 0x200;
const DUMP = 0x300;

const ENOENT = 2;
const EEXIST = 17;
const ENODEV = 19;
const ESRCH = 3;

/** As much of Linux as keeps rules and routes: by the bytes that set them. */
export class FakeNetlink {
  /** Interfaces by name. */
  readonly links = new Map<string, { readonly index: number; readonly running: boolean; readonly loopback?: boolean; readonly master?: number }>();
  readonly rules: Uint8Array[] = [];
  readonly routes: Uint8Array[] = [];
  /** Types of the messages that came. */
  readonly heard: number[] = [];
  /** An errno for a message; 0: none. */
  refuse: (type: number, body: Uint8Array) => number = () => 0;

  readonly call = (request: Uint8Array): Uint8Array | number => {
    const view = new DataView(request.buffer, request.byteOffset, request.length);
    const type = view.getUint16(4, LITTLE);
    const flags = view.getUint16(6, LITTLE);
    const body = request.slice(HEADER);
    this.heard.push(type);
    const refused = this.refuse(type, body);
    if (refused !== 0) return answered(refused);
    if (type === LINK.get) return (flags & DUMP) === DUMP ? dumped([...this.links.keys()].map((name) => this.#link(name))) : this.#answerLink(body);
    if (type === RULE.get) return dumped(ofFamily(this.rules, body).map((rule) => message(RULE.new, rule)));
    if (type === ROUTE.get) return dumped(ofFamily(this.routes, body).map((route) => message(ROUTE.new, route)));
    if (type === ADDRESS.get) return dumped([]);
    if (type === RULE.new) return answered(set(this.rules, body, (flags & EXCLUSIVE) !== 0));
    if (type === ROUTE.new) return answered(set(this.routes, body, (flags & EXCLUSIVE) !== 0));
    if (type === RULE.delete) return answered(unset(this.rules, body) ? 0 : ENOENT);
    if (type === ROUTE.delete) return answered(unset(this.routes, body) ? 0 : ESRCH);
    return answered(ENODEV);
  };

  #answerLink(body: Uint8Array): Uint8Array {
    const name = Buffer.from(body.subarray(20)).toString().replace(/\0.*$/su, '');
    return this.links.has(name) ? Buffer.concat([this.#link(name), answered(0)]) : answered(ENODEV);
  }

  #link(name: string): Buffer {
    const { index = 0, running = false, loopback = false, master } = this.links.get(name) ?? {};
    const fixed = Buffer.alloc(16);
    new DataView(fixed.buffer, fixed.byteOffset, 16).setInt32(4, index, LITTLE);
    new DataView(fixed.buffer, fixed.byteOffset, 16).setUint32(8, (running ? 0x41 : 0x1) | (loopback ? 0x8 : 0), LITTLE);
    return message(LINK.new, Buffer.concat([fixed, attribute(3, Buffer.from(`${name}\0`)), ...(master === undefined ? [] : [attribute(10, number(master))])]));
  }
}

/** Of main or another table, as the system itself would have set it. */
export function systemRoute(family: 4 | 6, address: Uint8Array, prefix: number, index: number, metric: number, table = 254): Uint8Array {
  const fixed = Buffer.from([family === 4 ? 2 : 10, prefix, 0, 0, table, 3, 0, 1, 0, 0, 0, 0]);
  return Buffer.concat([
    fixed,
    attribute(15, number(table)),
    attribute(4, number(index)),
    attribute(6, number(metric)),
    ...(prefix === 0 ? [] : [attribute(1, address)]),
  ]);
}

function ofFamily(all: readonly Uint8Array[], asked: Uint8Array): Uint8Array[] {
  return all.filter((one) => one[0] === asked[0]);
}

function set(all: Uint8Array[], body: Uint8Array, exclusive: boolean): number {
  if (exclusive && all.some((one) => Buffer.compare(one, body) === 0)) return EEXIST;
  all.push(body);
  return 0;
}

function unset(all: Uint8Array[], body: Uint8Array): boolean {
  const index = all.findIndex((one) => Buffer.compare(one, body) === 0);
  if (index !== -1) all.splice(index, 1);
  return index !== -1;
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  new DataView(bytes.buffer, bytes.byteOffset, 4).setUint32(0, value, LITTLE);
  return bytes;
}

function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc((4 + value.length + 3) & ~3);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint16(0, 4 + value.length, LITTLE);
  view.setUint16(2, type, LITTLE);
  bytes.set(value, 4);
  return bytes;
}

function message(type: number, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc((HEADER + body.length + 3) & ~3);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint32(0, HEADER + body.length, LITTLE);
  view.setUint16(4, type, LITTLE);
  bytes.set(body, HEADER);
  return bytes;
}

function dumped(messages: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...messages, message(3, new Uint8Array(4))]);
}

function answered(errno: number): Buffer {
  const body = Buffer.alloc(20);
  new DataView(body.buffer, body.byteOffset, 4).setInt32(0, -errno, LITTLE);
  return message(2, body);
}
