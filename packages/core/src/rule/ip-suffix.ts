import { isMapped, parseAddress } from '../net/address.js';
import { type AddressTest, matchAddresses } from './addresses.js';
import type { RuleDefinition } from './definition.js';
import type { Rule } from './rule.js';

/** Clash's IP-SUFFIX: the last bits of the destination's address, as those of a host whose network changes. `src` makes it a rule on the client's. */
export function ipSuffix(): RuleDefinition {
  return {
    kind: 'IP-SUFFIX',
    description: 'last bits of the destination address, as ::1234:5678/32; looks a name up unless no-resolve is set',
    payload: true,
    create(payload, context) {
      const suffix = parseSuffix(payload);
      if (context.parameters.has('src')) return sourceWith(suffix);
      const noResolve = context.parameters.has('no-resolve');
      return { match: (_session, facts) => matchAddresses(facts, noResolve, suffix) };
    },
  };
}

export function srcIpSuffix(): RuleDefinition {
  return {
    kind: 'SRC-IP-SUFFIX',
    description: "last bits of the client's address, as 0.0.0.7/8",
    payload: true,
    create: (payload) => sourceWith(parseSuffix(payload)),
  };
}

function sourceWith(suffix: AddressTest): Rule {
  return { match: (session) => suffix.has(session.source.host) };
}

/** `address/bits`; an IPv4-mapped address is the IPv4 one. Throws a plain Error that says what is wrong. */
function parseSuffix(text: string): AddressTest {
  const [head = '', tail = '', ...more] = text.split('/');
  if (head.includes('%')) throw new Error(`"${text}" names an interface: a suffix has no zone`);
  const bytes = bytesOf(head);
  if (bytes === null) throw new Error(`"${text}" is no suffix: write an address and how many of its last bits count, as in 0.0.0.7/8 or ::1234:5678/32`);
  const most = bytes.length * 8;
  const bits = /^[0-9]{1,3}$/.test(tail) && more.length === 0 ? Number(tail) : most + 1;
  if (bits > most) throw new Error(`"${text}" does not say how many of its last bits count: write 0 to ${most} behind a slash, as in ${head}/${most / 4}`);
  return new Suffix(bytes, bits);
}

function bytesOf(text: string): Uint8Array | null {
  const bytes = parseAddress(text);
  return bytes !== null && isMapped(bytes) ? bytes.subarray(12) : bytes;
}

class Suffix implements AddressTest {
  readonly #bytes: Uint8Array;
  /** Where the bytes begin that count whole. */
  readonly #first: number;
  /** Of the byte in front of those. */
  readonly #mask: number;

  constructor(bytes: Uint8Array, bits: number) {
    this.#bytes = bytes;
    this.#first = bytes.length - (bits >>> 3);
    this.#mask = (1 << (bits & 7)) - 1;
  }

  has(address: string): boolean {
    const own = this.#bytes;
    const bytes = bytesOf(address);
    if (bytes?.length !== own.length) return false;
    for (let i = this.#first; i < own.length; i++) if (bytes[i] !== own[i]) return false;
    return (((bytes[this.#first - 1] ?? 0) ^ (own[this.#first - 1] ?? 0)) & this.#mask) === 0;
  }
}
