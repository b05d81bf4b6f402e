// Looks at each packet that comes out of a TUN's stacks, with code of its own, and throws at the first that should not be.

export interface Whole {
  readonly version: 4 | 6;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  /** Behind the IP header. */
  readonly body: Uint8Array;
}

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const FRAGMENT = 44;
const ICMPV6 = 58;
const NO_NEXT_HEADER = 59;

/** The longest error: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c. */
const LONGEST_ERROR = { 4: 576, 6: 1280 } as const;

export class Judge {
  /** Packets, by what they are. */
  readonly seen = new Map<string, number>();
  readonly #mtu: number;
  readonly #take: (packet: Whole) => void;
  /** Fragments come in order and one packet at a time: what there is of it. */
  #parts: Uint8Array[] = [];
  #length = 0;
  #identification = -1;

  /** `take` gets what has passed, fragments put together. */
  constructor(mtu: number, take: (packet: Whole) => void) {
    this.#mtu = mtu;
    this.#take = take;
  }

  /** A packet as it left. */
  look(packet: Uint8Array): void {
    try {
      this.#look(packet);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}: ${Buffer.from(packet.subarray(0, 120)).toString('hex')}`, { cause: error });
    }
  }

  #look(packet: Uint8Array): void {
    if (packet.length < 20 || packet.length > this.#mtu) throw new Error(`${packet.length} bytes`);
    const version = at(packet, 0) >>> 4;
    if (version === 4) this.#look4(packet);
    else if (version === 6) this.#look6(packet);
    else throw new Error('neither IPv4 nor IPv6');
  }

  #look4(packet: Uint8Array): void {
    if (at(packet, 0) !== 0x45 || word(packet, 2) !== packet.length || sum(packet.subarray(0, 20)) !== 0xffff) throw new Error('IPv4 header');
    if (at(packet, 8) === 0) throw new Error('no TTL');
    const head = { version: 4, source: packet.slice(12, 16), destination: packet.slice(16, 20), protocol: at(packet, 9) } as const;
    const field = word(packet, 6);
    const body = packet.slice(20);
    if ((field & 0x3fff) === 0) this.#whole({ ...head, body });
    else this.#fragment(head, body, (field & 0x1fff) * 8, (field & 0x2000) !== 0, word(packet, 4));
  }

  #look6(packet: Uint8Array): void {
    if (packet.length < 40 || word(packet, 4) !== packet.length - 40 || at(packet, 7) === 0) throw new Error('IPv6 header');
    const head = { version: 6, source: packet.slice(8, 24), destination: packet.slice(24, 40), protocol: at(packet, 6) } as const;
    if (head.protocol !== FRAGMENT) {
      this.#whole({ ...head, body: packet.slice(40) });
      return;
    }
    const field = word(packet, 42);
    this.#fragment({ ...head, protocol: at(packet, 40) }, packet.slice(48), field & 0xfff8, (field & 1) !== 0, word(packet, 44) * 65_536 + word(packet, 46));
  }

  #fragment(head: Omit<Whole, 'body'>, body: Uint8Array, offset: number, more: boolean, identification: number): void {
    checkAddresses(head);
    if (body.length === 0 || (more && body.length % 8 !== 0) || offset + body.length > 65_535) throw new Error('fragment');
    if (offset === 0) {
      this.#parts = [];
      this.#length = 0;
      this.#identification = identification;
    } else if (identification !== this.#identification || offset !== this.#length) throw new Error(`a fragment of ${offset} on after ${this.#length}`);
    this.#parts.push(body);
    this.#length += body.length;
    if (!more) this.#whole({ ...head, body: Buffer.concat(this.#parts.splice(0)) });
  }

  #whole(packet: Whole): void {
    checkAddresses(packet);
    const { version, protocol, body } = packet;
    this.#count(nameOf(packet));
    if (protocol === UDP) {
      if (body.length < 8 || word(body, 4) !== body.length || word(body, 6) === 0) throw new Error('UDP header');
    } else if (protocol === TCP) {
      if (body.length < 20 || at(body, 12) >>> 4 < 5 || (at(body, 12) >>> 4) * 4 > body.length) throw new Error('TCP header');
    } else if (protocol === (version === 4 ? ICMP : ICMPV6)) {
      if (body.length < 8) throw new Error('ICMP header');
      checkIcmp(packet);
    } else throw new Error(`protocol ${protocol}`);
    if (sum(body, protocol === ICMP ? 0 : pseudo(packet)) !== 0xffff) throw new Error('checksum');
    this.#take(packet);
  }

  #count(name: string): void {
    this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
  }
}

function nameOf({ version, protocol, body }: Whole): string {
  if (protocol === UDP) return `udp${version}`;
  return protocol === TCP ? `tcp${version}` : `icmp${version} ${at(body, 0)}`;
}

function at(bytes: Uint8Array, index: number): number {
  const byte = bytes[index];
  if (byte === undefined) throw new Error(`no byte ${index}`);
  return byte;
}

function word(bytes: Uint8Array, index: number): number {
  return at(bytes, index) * 256 + at(bytes, index + 1);
}

/** One's complement; of what carries a right checksum it is 0xffff. */
function sum(bytes: Uint8Array, from = 0): number {
  let total = from;
  for (let i = 0; i < bytes.length; i++) total += (bytes[i] ?? 0) << (i % 2 === 0 ? 8 : 0);
  while (total > 0xffff) total = (total % 65_536) + Math.floor(total / 65_536);
  return total;
}

function pseudo({ source, destination, protocol, body }: Whole): number {
  return sum(source) + sum(destination) + protocol + body.length;
}

/** One that a packet may come from and go to: no multicast, no broadcast, no martian but 240/4, which some networks use. */
function isHost(address: Uint8Array): boolean {
  const first = address[0] ?? 0;
  if (address.length === 4) return first > 0 && (first < 224 || first >= 240) && first !== 127 && address.some((byte) => byte !== 255);
  const text = Buffer.from(address).toString('hex');
  return first !== 0xff && !/^0{31}[01]$/.test(text) && !text.startsWith('00000000000000000000ffff');
}

function checkAddresses({ source, destination }: Omit<Whole, 'body'>): void {
  if (!isHost(source) || !isHost(destination)) throw new Error('an address that is no host');
  if (Buffer.compare(source, destination) === 0) throw new Error('from and to the same address');
}

/** Answers to pings, and errors about what may be answered with one: RFC 1122 section 3.2.2, RFC 4443 section 2.4 e. */
function checkIcmp({ version, source, destination, body }: Whole): void {
  const type = at(body, 0);
  if (type === (version === 4 ? 0 : 129)) return;
  const isLate = type === (version === 4 ? 11 : 3) && at(body, 1) === 1;
  const isUnknown = version === 4 ? type === 3 && at(body, 1) === 2 : type === 4 && at(body, 1) === 1;
  if (!isLate && !isUnknown && type !== (version === 4 ? 3 : 1)) throw new Error(`ICMP type ${type}`);
  const room = LONGEST_ERROR[version] - (version === 4 ? 20 : 40) - body.length;
  if (room < 0) throw new Error(`an error of ${body.length} bytes`);
  const quoted = body.subarray(8);
  if (at(quoted, 0) >>> 4 !== version) throw new Error('an error about another version');
  const [from, to] = version === 4 ? [quoted.subarray(12, 16), quoted.subarray(16, 20)] : [quoted.subarray(8, 24), quoted.subarray(24, 40)];
  if (Buffer.compare(from, destination) !== 0 || Buffer.compare(to, source) !== 0) throw new Error('an error about a packet of others');
  const behind = version === 4 ? behind4(quoted) : behind6(quoted);
  // So many extension headers that there was no room for more.
  if (behind === null && room === 0) return;
  const isPing = behind !== null && behind.protocol === (version === 4 ? ICMP : ICMPV6) && at(quoted, behind.transport) === (version === 4 ? 8 : 128);
  if (isLate && (behind === null || isPing)) return;
  if (isUnknown) {
    const known = version === 4 ? [ICMP, TCP, UDP] : [ICMPV6, TCP, UDP, FRAGMENT, NO_NEXT_HEADER];
    const named = version === 4 ? at(quoted, 9) : at(quoted, word(body, 4) * 65_536 + word(body, 6));
    if (known.includes(named) || (behind !== null && behind.protocol !== named)) throw new Error(`protocol ${named} is said to be unknown`);
    return;
  }
  if (behind === null) throw new Error('an error that does not say which port');
  if (behind.protocol !== UDP && behind.protocol !== TCP) throw new Error(`an error about protocol ${behind.protocol}`);
}

interface Behind {
  readonly protocol: number;
  readonly transport: number;
}

/** What is quoted behind its IP headers; null: its ports are not. */
function behind4(quoted: Uint8Array): Behind | null {
  if ((word(quoted, 6) & 0x1fff) !== 0) throw new Error('an error about a fragment that is not the first');
  const transport = (at(quoted, 0) & 15) * 4;
  return transport + 8 > quoted.length ? null : { protocol: at(quoted, 9), transport };
}

function behind6(quoted: Uint8Array): Behind | null {
  let protocol = at(quoted, 6);
  let transport = 40;
  while (protocol === 0 || protocol === 43 || protocol === 60 || protocol === FRAGMENT) {
    if (transport + 8 > quoted.length) return null;
    if (protocol === FRAGMENT && (word(quoted, transport + 2) & 0xfff8) !== 0) throw new Error('an error about a fragment that is not the first');
    const length = protocol === FRAGMENT ? 8 : (at(quoted, transport + 1) + 1) * 8;
    protocol = at(quoted, transport);
    transport += length;
  }
  return transport + 8 > quoted.length ? null : { protocol, transport };
}
