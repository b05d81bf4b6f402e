/**
 * Answers to questions, whichever way they came. What needs no look-up (a fake address, nothing, an error, what the cache has) is answered at once, into a buffer of the
 * caller's and without an object; the rest later.
 *
 * In this order: errors, ANY, localhost, hosts, names of fake addresses (PTR), fake addresses, servers.
 */
import { addressFamily, type Hosts, lookUpHosts, type NameTest, NetError, never, parseAddress } from '@nekit/core';
import type { FakeIpPool } from '../fake-ip/fake-ip-pool.js';
import { type Aged, type DnsClient, STALE_TTL } from '../upstream/dns-client.js';
import { type Answer, addressesOf, ageTtls, readAnswer } from '../wire/answer.js';
import { CLASS_IN, EDNS_UDP, HEADER, MAX_MESSAGE, PLAIN_UDP, RCODE, TYPE } from '../wire/message.js';
import { Query, SILENCE, UNDERSTOOD } from '../wire/query.js';
import { queryMessage, questionFor, questionOf } from '../wire/question.js';
import { type DnsRecord, recordBytes } from '../wire/records.js';
import { addressReply, copiedReply, emptyReply, recordsReply, truncate } from '../wire/reply.js';
import type { Hooks } from './hooks.js';
import { addressOfReverseName } from './reverse-name.js';

/** How an answer is sent: UDP has room for what the client says, and no more than EDNS_UDP; TCP for 64 KiB. */
export type Transport = 'udp' | 'tcp';

/** Seconds that what stands in `hosts` may be remembered: a config is changed now and then. */
const HOSTS_TTL = 10;
export interface DnsServerOptions {
  readonly client: DnsClient;
  readonly hosts: () => Hosts;
  /** false: questions for AAAA are answered empty. */
  readonly ipv6: boolean;
  /** null: every name has its real address. */
  readonly fakes: FakeIpPool | null;
  /** Names that have their real address all the same. */
  readonly isReal: NameTest;
  /** Of fake answers, in seconds. */
  readonly fakeTtl: number;
  /** Whether the rules lead a name to a direct adapter, so that it has its real address as well; null: nobody asks them. */
  readonly isDirect?: ((name: string) => boolean | Promise<boolean>) | null;
  readonly hooks?: Hooks | null;
  /** A client is told the real addresses of a name. */
  readonly learn?: (name: string, addresses: readonly string[]) => void;
}

/** In place of a length: it has to be looked up; the rules have to be waited for. */
const LATER = -1;
const UNDECIDED = -2;

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #query = new Query();
  /** The address that is written into a fake answer. */
  #index = 0;
  #range: FakeIpPool['range4'] | null = null;
  /** What UNDECIDED waits for. */
  #deciding: Promise<boolean> = Promise.resolve(false);
  /** What answers from the cache have, so that it is read once. */
  readonly #addresses = new WeakMap<Answer, readonly string[]>();
  readonly #writeFake = (out: Uint8Array, at: number): void => this.#range?.write(this.#index, out, at);

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  /**
   * The answer to `bytes[start, end)`, written to the start of `out` (MAX_MESSAGE bytes): its length, 0 for none. A promise gives the message itself, or null for none; it never
   * rejects. The bytes are not needed any more when this returns.
   */
  respond(bytes: Uint8Array, start: number, end: number, transport: Transport, out: Uint8Array): number | Promise<Uint8Array | null> {
    const query = this.#query;
    const verdict = query.read(bytes, start, end);
    if (verdict === SILENCE) return 0;
    if (verdict !== UNDERSTOOD) return emptyReply(out, query, bytes, start, verdict);
    const { hooks = null } = this.#options;
    if (hooks !== null && hooks.size > 0 && query.isHostName) return this.#hooked(hooks, query, bytes, start, end, transport, out);
    return this.#plain(query, bytes, start, end, transport, out);
  }

  #plain(query: Query, bytes: Uint8Array, start: number, end: number, transport: Transport, out: Uint8Array): number | Promise<Uint8Array | null> {
    const length = this.#atOnce(query, bytes, start, transport, out);
    if (length >= 0) return length;
    const message = Uint8Array.from(bytes.subarray(start, end));
    return length === LATER ? this.#later(message, transport) : this.#decided(this.#deciding, message, transport);
  }

  #hooked(
    hooks: Hooks,
    query: Query,
    bytes: Uint8Array,
    start: number,
    end: number,
    transport: Transport,
    out: Uint8Array,
  ): number | Promise<Uint8Array | null> {
    const question = { name: textOf(query), type: query.type };
    const message = Uint8Array.from(bytes.subarray(start, end));
    const reply = hooks.question(question);
    let length: number | Promise<Uint8Array | null>;
    if (reply === null) length = this.#plain(query, bytes, start, end, transport, out);
    else if ('rcode' in reply) length = emptyReply(out, query, bytes, start, reply.rcode & 0xf);
    else if ('addresses' in reply) length = this.#limited(this.#fromAddresses(reply.addresses, query, bytes, start, out), query, transport, out);
    else length = this.#renamed(reply.name, message, transport);
    if (typeof length !== 'number') return length.then((answer) => (answer === null ? null : changed(hooks.answer(question, answer), answer, message)));
    if (length === 0) return 0;
    const answer = out.slice(0, length);
    const other = changed(hooks.answer(question, answer), answer, message);
    if (other !== answer) out.set(other);
    return other.length;
  }

  /** What another name has, behind an alias. */
  async #renamed(name: string, message: Uint8Array, transport: Transport): Promise<Uint8Array | null> {
    const query = new Query();
    return query.read(message, 0, message.length) === UNDERSTOOD ? this.#aliased(name, query, message, transport) : null;
  }

  /** When the rules have looked up what they needed. */
  async #decided(deciding: Promise<boolean>, message: Uint8Array, transport: Transport): Promise<Uint8Array | null> {
    const isDirect = await deciding.catch(() => false);
    if (isDirect) return this.#later(message, transport);
    const query = new Query();
    const { fakes } = this.#options;
    if (fakes === null || query.read(message, 0, message.length) !== UNDERSTOOD) return null; // they were, a moment ago
    const out = new Uint8Array(message.length + EDNS_UDP);
    return out.subarray(0, this.#fake(fakes, query, message, 0, out));
  }

  /** The same for one message of its own. Never rejects. */
  async answer(message: Uint8Array, transport: Transport = 'tcp'): Promise<Uint8Array | null> {
    const out = new Uint8Array(MAX_MESSAGE);
    const length = await this.respond(message, 0, message.length, transport, out);
    return typeof length === 'number' ? (length === 0 ? null : out.slice(0, length)) : length;
  }

  /** An error, whatever was asked; its length, 0 for none. */
  refuse(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number {
    const query = this.#query;
    return query.read(bytes, start, end) === SILENCE ? 0 : emptyReply(out, query, bytes, start, RCODE.REFUSED);
  }

  /** LATER, UNDECIDED: not at once. */
  #atOnce(query: Query, bytes: Uint8Array, start: number, transport: Transport, out: Uint8Array): number {
    const { type } = query;
    if (type === TYPE.ANY) return recordsReply(out, query, bytes, start, 1, ANY_RECORD);
    if (query.isHostName) {
      const known = this.#ownAnswer(query, bytes, start, transport, out);
      if (known !== LATER) return known;
    }
    const aged = this.#options.client.cached(questionOf(query, bytes, start));
    return aged === null ? LATER : this.#copy(aged, query, bytes, start, transport, out);
  }

  /** What we know ourselves about the name of a host; LATER: nothing. */
  #ownAnswer(query: Query, bytes: Uint8Array, start: number, transport: Transport, out: Uint8Array): number {
    const { type } = query;
    const { fakes, ipv6 } = this.#options;
    const isAddress = type === TYPE.A || type === TYPE.AAAA;
    if (isAddress && endsInNumber(query)) return emptyReply(out, query, bytes, start, RCODE.NXDOMAIN);
    const name = textOf(query);
    const hosts = this.#options.hosts();
    if (isLocalhost(name)) return this.#fromAddresses(['127.0.0.1', '::1'], query, bytes, start, out);
    if (hosts.size > 0 && hosts.has(name)) return this.#fromHosts(hosts, name, query, bytes, start, transport, out);
    if (type === TYPE.PTR && fakes !== null) {
      const address = addressOfReverseName(name);
      if (address !== null && fakes.contains(address)) return this.#fakeName(fakes, address, query, bytes, start, out);
    }
    if (type === TYPE.AAAA && !ipv6) return emptyReply(out, query, bytes, start, RCODE.NOERROR);
    if (fakes === null || (!isAddress && type !== TYPE.HTTPS && type !== TYPE.SVCB) || this.#options.isReal(name)) return LATER;
    const isDirect = this.#options.isDirect?.(name) ?? false;
    if (typeof isDirect !== 'boolean') {
      this.#deciding = isDirect;
      return UNDECIDED;
    }
    return isDirect ? LATER : this.#fake(fakes, query, bytes, start, out);
  }

  #fake(fakes: FakeIpPool, query: Query, bytes: Uint8Array, start: number, out: Uint8Array): number {
    const { type } = query;
    // A hint of a real address in HTTPS would go past the fake one, and NXDOMAIN would end the name (RFC 8020).
    const range = type === TYPE.A ? fakes.range4 : type === TYPE.AAAA ? fakes.range6 : null;
    if (range === null) return emptyReply(out, query, bytes, start, RCODE.NOERROR);
    this.#index = fakes.assignBytes(query.name, 0, query.nameLength);
    this.#range = range;
    return addressReply(out, query, bytes, start, this.#options.fakeTtl, type === TYPE.A ? 4 : 16, this.#writeFake);
  }

  #fakeName(fakes: FakeIpPool, address: string, query: Query, bytes: Uint8Array, start: number, out: Uint8Array): number {
    const domain = fakes.domainOf(address);
    if (domain === null) return emptyReply(out, query, bytes, start, RCODE.NXDOMAIN);
    const record: DnsRecord = { type: 'PTR', name: textOf(query), ttl: this.#options.fakeTtl, data: domain };
    return recordsReply(out, query, bytes, start, 1, recordBytes([record]));
  }

  #fromHosts(hosts: Hosts, name: string, query: Query, bytes: Uint8Array, start: number, transport: Transport, out: Uint8Array): number {
    let found: ReturnType<typeof lookUpHosts>;
    try {
      found = lookUpHosts(hosts, name);
    } catch (error) {
      if (error instanceof NetError) return emptyReply(out, query, bytes, start, RCODE.SERVFAIL); // a loop, which the check of the config has told
      throw error;
    }
    if (found === null) return LATER;
    // Another name: the client gets it as an alias, and what it stands for behind it.
    if ('alias' in found) return addressFamily(found.alias) === 0 ? LATER : this.#fromAddresses([found.alias], query, bytes, start, out);
    return this.#limited(this.#fromAddresses(found.addresses, query, bytes, start, out), query, transport, out);
  }

  /** NODATA for a type that addresses do not have. */
  #fromAddresses(addresses: readonly string[], query: Query, bytes: Uint8Array, start: number, out: Uint8Array): number {
    const family = query.type === TYPE.A ? 4 : query.type === TYPE.AAAA && this.#options.ipv6 ? 6 : 0;
    const records = addresses
      .filter((address) => addressFamily(address) === family && parseAddress(address) !== null)
      .map((address): DnsRecord => {
        const bare = address.split('%', 1)[0] ?? address;
        return { type: family === 4 ? 'A' : 'AAAA', name: textOf(query), ttl: HOSTS_TTL, data: bare };
      });
    if (family === 0 || records.length === 0) return emptyReply(out, query, bytes, start, RCODE.NOERROR);
    return recordsReply(out, query, bytes, start, records.length, recordBytes(records));
  }

  /** Asks the servers. `message` is ours. */
  async #later(message: Uint8Array, transport: Transport): Promise<Uint8Array | null> {
    const query = new Query();
    if (query.read(message, 0, message.length) !== UNDERSTOOD) return null; // it was, a moment ago
    const { client, hosts } = this.#options;
    try {
      const alias = query.isHostName && (query.type === TYPE.A || query.type === TYPE.AAAA) ? aliasOf(hosts(), textOf(query)) : null;
      if (alias !== null) return await this.#aliased(alias, query, message, transport);
      const aged = await client.ask(questionOf(query, message, 0), never);
      const out = new Uint8Array(aged.answer.bytes.length + EDNS_UDP);
      return out.subarray(0, this.#copy(aged, query, message, 0, transport, out));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const out = new Uint8Array(message.length + EDNS_UDP);
      return out.subarray(0, emptyReply(out, query, message, 0, RCODE.SERVFAIL));
    }
  }

  async #aliased(alias: string, query: Query, message: Uint8Array, transport: Transport): Promise<Uint8Array> {
    const out = new Uint8Array(MAX_MESSAGE);
    const addresses = await this.#resolve(alias, query.type);
    const name = textOf(query);
    const type = query.type === TYPE.A ? 'A' : 'AAAA';
    const records: DnsRecord[] = [
      { type: 'CNAME', name, ttl: HOSTS_TTL, data: alias },
      ...addresses.map((data): DnsRecord => ({ type, name: alias, ttl: HOSTS_TTL, data })),
    ];
    const length = recordsReply(out, query, message, 0, records.length, recordBytes(records));
    return out.slice(0, this.#limited(length, query, transport, out));
  }

  /** Without hooks: one name that leads to another is enough. */
  async #answerPlain(message: Uint8Array): Promise<Uint8Array | null> {
    const query = new Query();
    const out = new Uint8Array(MAX_MESSAGE);
    if (query.read(message, 0, message.length) !== UNDERSTOOD) return null;
    const length = await this.#plain(query, message, 0, message.length, 'tcp', out);
    return typeof length === 'number' ? out.slice(0, length) : length;
  }

  /** As a client would get them, fake ones too. */
  async #resolve(name: string, type: number): Promise<string[]> {
    const question = questionFor(name, type);
    const reply = question === null ? null : await this.#answerPlain(queryMessage(question, { id: 0, spelling: null, edns: false }));
    const answer = question === null || reply === null ? null : readAnswer(reply, question.wire.length + 4);
    return answer === null ? [] : addressesOf(answer);
  }

  #copy({ answer, age, stale }: Aged, query: Query, bytes: Uint8Array, start: number, transport: Transport, out: Uint8Array): number {
    const length = copiedReply(out, query, bytes, start, answer.bytes);
    this.#tell(answer, query);
    if (age > 0 || stale) ageTtls(out, answer, age, stale ? STALE_TTL : 0);
    return this.#limited(length, query, transport, out);
  }

  /** Each time: of several names of an address, the one that was told last counts. */
  #tell(answer: Answer, query: Query): void {
    const { learn } = this.#options;
    if (learn === undefined || answer.negative || !query.isHostName || (query.type !== TYPE.A && query.type !== TYPE.AAAA)) return;
    let addresses = this.#addresses.get(answer);
    if (addresses === undefined) {
      addresses = addressesOf(answer);
      this.#addresses.set(answer, addresses);
    }
    learn(textOf(query), addresses);
  }

  /** The length, or that of a truncated answer. */
  #limited(length: number, query: Query, transport: Transport, out: Uint8Array): number {
    const room = transport === 'tcp' ? MAX_MESSAGE : query.edns ? Math.min(query.udpSize, EDNS_UDP) : PLAIN_UDP;
    return length <= room ? length : truncate(out, query);
  }
}

/** What a hook gives, if it can be sent: an answer with the id and the flag of one, no longer than what was there, or what UDP may always have. */
function changed(other: Uint8Array, answer: Uint8Array, query: Uint8Array): Uint8Array {
  if (other === answer || other.length < HEADER || other.length > Math.max(answer.length, PLAIN_UDP)) return answer;
  const own = Uint8Array.from(other);
  own[0] = query[0] ?? 0;
  own[1] = query[1] ?? 0;
  own[2] = (own[2] ?? 0) | 0x80;
  return own;
}

/** Latin-1, which for the name of a host is ASCII. */
function textOf({ name, nameLength }: Query): string {
  return Buffer.from(name.buffer, name.byteOffset, nameLength).toString('latin1');
}

/** Whether the last label is a number, as inet_aton reads them (`0x7f` too): no such name is there, and it would be taken for an address (URL standard, "ends in a number"). */
function endsInNumber({ name, nameLength }: Query): boolean {
  let at = nameLength;
  while (at > 0 && name[at - 1] !== DOT) at--;
  if (!isDigit(name[at])) return false;
  const isHex = name[at] === 0x30 && name[at + 1] === 0x78;
  for (let i = isHex ? at + 2 : at; i < nameLength; i++) if (!isDigit(name[i]) && !(isHex && isHexLetter(name[i]))) return false;
  return true;
}

const DOT = 0x2e;

function isDigit(code: number | undefined): boolean {
  return code !== undefined && code >= 0x30 && code <= 0x39;
}

/** Of lower case, as all letters are here. */
function isHexLetter(code: number | undefined): boolean {
  return code !== undefined && code >= 0x61 && code <= 0x66;
}

/** RFC 6761 section 6.3. */
function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}

function aliasOf(hosts: Hosts, name: string): string | null {
  const found = hosts.size === 0 ? null : lookUpHosts(hosts, name);
  return found !== null && 'alias' in found && addressFamily(found.alias) === 0 ? found.alias : null;
}

/** One small record instead of all (RFC 8482 section 4.2): HINFO of the question's name, for an hour. */
const ANY_RECORD = Uint8Array.from([0xc0, HEADER, 0, 13, 0, CLASS_IN, 0, 0, 0x0e, 0x10, 0, 9, 7, ...Buffer.from('RFC8482'), 0]);
