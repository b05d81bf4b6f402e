/** Who may use a listener: address lists and credentials. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { BlockList } from 'node:net';
import { addressFamily } from '../net/address.js';
import { NekitError } from '../net/errors.js';
import type { Users } from './inbound.js';

/** A set of networks, `10.0.0.0/8` or single addresses. Throws NekitError `BAD_CIDR`. */
export class AddressList {
  readonly #list = new BlockList();
  readonly empty: boolean;

  constructor(prefixes: readonly string[]) {
    this.empty = prefixes.length === 0;
    for (const prefix of prefixes) {
      const [address = '', bits] = prefix.split('/', 2);
      const family = addressFamily(address);
      const length = bits === undefined ? (family === 6 ? 128 : 32) : Number(bits);
      if (family === 0 || !/^\d{1,3}$/.test(bits ?? '0') || length > (family === 6 ? 128 : 32))
        throw new NekitError('BAD_CIDR', `"${prefix}" is no network; write 192.168.0.0/16`);
      this.#list.addSubnet(address, length, family === 6 ? 'ipv6' : 'ipv4');
    }
  }

  includes(address: string): boolean {
    if (this.empty) return false;
    const bare = address.split('%', 1)[0] ?? address;
    return this.#list.check(bare, addressFamily(bare) === 6 ? 'ipv6' : 'ipv4');
  }
}

/** `lan-allowed-ips` and `lan-disallowed-ips`: who is in the second list, or not in a non-empty first one, is turned away. */
export class AccessList {
  readonly #allowed: AddressList;
  readonly #disallowed: AddressList;

  constructor(allowed: readonly string[], disallowed: readonly string[]) {
    this.#allowed = new AddressList(allowed);
    this.#disallowed = new AddressList(disallowed);
  }

  admits(address: string): boolean {
    return !this.#disallowed.includes(address) && (this.#allowed.empty || this.#allowed.includes(address));
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text, 'utf8').digest();

/** Checks credentials in constant time: digests are compared, and an unknown user costs what a known one does. */
export class UserList implements Users {
  readonly #passwords = new Map<string, Buffer>();
  readonly #nobody = digest('');

  constructor(users: readonly { readonly username: string; readonly password: string }[]) {
    for (const { username, password } of users) this.#passwords.set(username, digest(password));
  }

  check(username: string, password: string): boolean {
    const known = this.#passwords.get(username);
    const equal = timingSafeEqual(known ?? this.#nobody, digest(password));
    return known !== undefined && equal;
  }
}
