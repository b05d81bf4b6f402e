// Read first: SIP004 and SIP022 (requests), SIP023 (whose request it is).
import { type Chunks, type Ciphers, type Codec, type Endpoint, errorCode, NetError, readSocksAddress } from '@nekit/core';
import { type Secret, serverCodec } from '../method.js';
import { uotVersionOf } from '../udp-over-tcp/wire.js';
import type { ReplayFilter, Verdict } from './replay-filter.js';

/** A user of a listener: its name in sessions, and its key. */
export interface User {
  readonly username: string;
  readonly key: Uint8Array;
}

/** What it takes to open the requests of a listener. */
export class Keyring {
  readonly ciphers: Ciphers;
  readonly secret: Secret;
  /** None: a listener without users. */
  readonly users: readonly User[];
  readonly userKeys: readonly Uint8Array[];
  readonly filter: ReplayFilter;

  constructor(ciphers: Ciphers, secret: Secret, users: readonly User[], filter: ReplayFilter) {
    this.ciphers = ciphers;
    this.secret = secret;
    this.users = users;
    this.userKeys = users.map(({ key }) => key);
    this.filter = filter;
  }
}

/** A valid request. */
export interface OpenedRequest {
  readonly destination: Endpoint;
  readonly user: string | null;
  readonly codec: Codec;
  /** What came behind the address: the first bytes for the destination. */
  readonly rest: Uint8Array;
}

/** Opens the request of one connection, in any fragmentation. */
export class RequestOpener {
  readonly #keyring: Keyring;
  readonly #codec: Codec;
  #plain: Uint8Array = NOTHING;
  /** What the filter said, if it was asked. */
  #verdict: Verdict = 'new';

  constructor(keyring: Keyring) {
    const { ciphers, secret, userKeys, filter } = keyring;
    this.#keyring = keyring;
    const check = (_header: Uint8Array, salt: Uint8Array): boolean => {
      this.#verdict = filter.admit(salt);
      return this.#verdict === 'new';
    };
    this.#codec = serverCodec(ciphers, secret, userKeys, secret.method.family === '2022' ? check : null);
  }

  /** null: more is needed. Throws NetError with one of the codes of a server (SS_…), and is of no more use then. */
  open(chunks: Chunks): OpenedRequest | null {
    for (const chunk of chunks) this.#add(this.#opened(chunk));
    const address = readSocksAddress(this.#plain, 0);
    if (address === undefined) return null;
    if (address === null)
      throw new NetError('protocol', `unknown address type ${this.#plain[0]}: a wrong password, or no Shadowsocks`, { code: 'SS_PROTOCOL' });
    const { host, port, end } = address;
    // Of the names of UDP-over-TCP the port means nothing; sing-box sends 0.
    if (host === null || (port === 0 && uotVersionOf(host) === null))
      throw new NetError('protocol', 'the request is for no host or for port 0', { code: 'SS_PROTOCOL' });
    this.#askFilter();
    const user = this.#keyring.users[this.#codec.user]?.username ?? null;
    return { destination: { host, port }, user, codec: this.#codec, rest: this.#plain.subarray(end) };
  }

  #opened(chunk: Uint8Array): Uint8Array {
    try {
      return this.#codec.open(chunk);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #add(plain: Uint8Array): void {
    this.#plain = this.#plain.length === 0 ? plain : Buffer.concat([this.#plain, plain]);
  }

  /** The codec has asked it for SIP022, between the timestamp and the address. Without authentication the address is the best proof that there is. */
  #askFilter(): void {
    const { filter, secret } = this.#keyring;
    if (secret.method.family === '2022') return;
    this.#verdict = filter.admit(this.#codec.peerSalt);
    if (this.#verdict !== 'new') throw refusal(this.#verdict);
  }

  #explain(error: unknown): NetError {
    const text = error instanceof Error ? error.message : String(error);
    switch (errorCode(error)) {
      case 'CIPHER_AUTH':
        return new NetError('auth', 'wrong password or cipher, an unknown user, or no Shadowsocks', { code: 'SS_AUTH', cause: error });
      case 'CIPHER_REFUSED':
        return refusal(this.#verdict);
      case 'CIPHER_CLOCK': {
        const seconds = /(-?\d+) s$/.exec(text)?.[1] ?? 'more than 30';
        return new NetError('auth', `the client's clock differs by ${seconds} s, which is more than the 30 s that SIP022 allows`, {
          code: 'SS_CLOCK',
          cause: error,
        });
      }
      default:
        return new NetError('protocol', text, { code: 'SS_PROTOCOL', cause: error });
    }
  }
}

function refusal(verdict: Verdict): NetError {
  return verdict === 'full'
    ? new NetError('denied', 'too many connections in the last minute to tell repeated ones from new ones', { code: 'SS_BUSY' })
    : new NetError('auth', 'somebody repeats a recorded connection', { code: 'SS_REPLAY' });
}

const NOTHING = new Uint8Array(0);
