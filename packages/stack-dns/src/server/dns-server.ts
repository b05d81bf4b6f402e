/**
 * Answers to questions, whichever way they came. What needs no look-up (a fake address, nothing, an error, what the cache has) is answered at once, into a buffer of the
 * caller's and without an object; the rest later.
 *
 * In this order: errors, ANY, localhost, hosts, names of fake addresses (PTR), fake addresses, servers.
 */
import { addressFamily, type Hosts, lookUpHosts, type NameTest, NetError, never, parseAddress } from '@nekit/core';
import type { FakeIpPool } from '../fake-ip/fake-ip-pool.js';
import { type Aged, type DnsClient, STALE_TTL } from '../upstream/dns-client.js';
import { addressesOf, ageTtls, readAnswer } from '../wire/answer.js';
import { CLASS_IN, EDNS_UDP, HEADER, MAX_MESSAGE, PLAIN_UDP, RCODE, TYPE } from '../wire/message.js';
import { Query, SILENCE, UNDERSTOOD } from '../wire/query.js';
import { queryMessage, questionFor, questionOf } from '../wire/question.js';
import { type DnsRecord, recordBytes } from '../wire/records.js';
import { addressReply, copiedReply, emptyReply, recordsReply, truncate } from '../wire/reply.js';
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
}

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #query = new Query();
  /** The address that is written into a fake answer. */
  #index = 0;
  #range: FakeIpPool['range4'] | null = null;
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
    const length = this.#atOnce(query, bytes, start, transport, out);
    return length === -1 ? this.#later(Uint8Array.from(bytes.subarray(start, end)), transport) : length;
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

  /** -1: not at once. */
  #atOnce(query: Query, bytes: Uint8Array, start: number, transport: Transport, out: Uint8Array): number {
    const { type } = query;
    if (type === TYPE.ANY) return recordsReply(out, query, bytes, start, 1, ANY_RECORD);
    if (query.isHostName) {
      const known = this.#ownAnswer(query, bytes, start, transport, out);
      if (known !== -1) return known;
    }
    const aged = this.#options.client.cached(questionOf(query, bytes, start));
    return aged === null ? -1 : this.#copy(aged, query, bytes, start, transport, out);
  }

  /** What we know ourselves about the name of a host; -1: nothing. */
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
    if (fakes === null || (!isAddress && type !== TYPE.HTTPS && type !== TYPE.SVCB) || this.#options.isReal(name)) return -1;
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
    if (found === null) return -1;
    // Another name: the client gets it as an alias, and what it stands for behind it.
    if ('alias' in found) return addressFamily(found.alias) === 0 ? -1 : this.#fromAddresses([found.alias], query, bytes, start, out);
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

  /** As a client would get them, fake ones too. */
  async #resolve(name: string, type: number): Promise<string[]> {
    const question = questionFor(name, type);
    const reply = question === null ? null : await this.answer(queryMessage(question, { id: 0, spelling: null, edns: false }));
    const answer = question === null || reply === null ? null : readAnswer(reply, question.wire.length + 4);
    return answer === null ? [] : addressesOf(answer);
  }

  #copy({ answer, age, stale }: Aged, query: Query, bytes: Uint8Array, start: number, transport: Transport, out: Uint8Array): number {
    const length = copiedReply(out, query, bytes, start, answer.bytes);
    if (age > 0 || stale) ageTtls(out, answer, age, stale ? STALE_TTL : 0);
    return this.#limited(length, query, transport, out);
  }

  /** The length, or that of a truncated answer. */
  #limited(length: number, query: Query, transport: Transport, out: Uint8Array): number {
    const room = transport === 'tcp' ? MAX_MESSAGE : query.edns ? Math.min(query.udpSize, EDNS_UDP) : PLAIN_UDP;
    return length <= room ? length : truncate(out, query);
  }
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
