// Requests that were good and then altered in every way that comes to mind, in any fragmentation, through the whole listener in memory.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { encodeSocksAddress, type StreamRequest } from '@nekit/core';
import { allCiphers, within } from '@nekit/core/testing';
import t from 'tap';
import { clientCodec } from '../../dist/method.js';
import { TARGET } from './craft.js';
import { assertClean, listenInMemory, type MemoryListener, secretFor, type User } from './listener.js';

/** Altered requests of all servers and implementations together. */
const CASES = process.env.NEKIT_FULL === undefined ? 20_000 : 1_000_000;

/** Connections at one time. */
const BATCH = 100;

const key = (length: number, fill: number): string => Buffer.alloc(length, fill).toString('base64');

interface Server {
  readonly cipher: string;
  readonly password: string;
  readonly users?: readonly User[];
  readonly client?: string;
}

const SERVERS: readonly Server[] = [
  { cipher: 'aes-256-gcm', password: 'secret' },
  { cipher: 'aes-128-gcm', password: 'secret' },
  { cipher: 'chacha20-ietf-poly1305', password: 'secret' },
  { cipher: '2022-blake3-aes-256-gcm', password: key(32, 1) },
  { cipher: '2022-blake3-chacha20-poly1305', password: key(32, 1) },
  {
    cipher: '2022-blake3-aes-128-gcm',
    password: key(16, 1),
    users: [
      { username: 'ann', password: key(16, 2) },
      { username: 'bob', password: key(16, 3) },
    ],
    client: `${key(16, 1)}:${key(16, 2)}`,
  },
  { cipher: 'aes-256-cfb', password: 'secret' },
  { cipher: 'none', password: '' },
];

/** Numbers that look random and are the same in every run. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** 0 to `sides` - 1. */
  roll(sides: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * sides);
  }

  /** A range of a request; its beginning more often than its end. */
  range(length: number): [number, number] {
    const start = this.roll(2) === 0 ? this.roll(Math.min(length, 120) + 1) : this.roll(length + 1);
    return [start, Math.min(length, start + this.roll(64))];
  }
}

type Mutation = (bytes: Uint8Array, other: Uint8Array, dice: Dice) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  (bytes) => bytes,
  (bytes, _other, dice) => bytes.subarray(0, dice.range(bytes.length)[0]),
  (bytes, _other, dice) => {
    const flipped = Uint8Array.from(bytes);
    for (let i = dice.roll(3); i >= 0; i--) {
      const at = dice.range(bytes.length)[0];
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << dice.roll(8));
    }
    return flipped;
  },
  (bytes, other, dice) => Buffer.concat([bytes.subarray(0, dice.range(bytes.length)[0]), other.subarray(dice.range(other.length)[0])]), // two in one
  (bytes, _other, dice) => {
    const [start, end] = dice.range(bytes.length);
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]); // a part twice
  },
  (bytes, _other, dice) => {
    const [start, end] = dice.range(bytes.length);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]); // a part missing
  },
  (bytes, _other, dice) => {
    const [start, middle] = dice.range(bytes.length);
    const end = Math.min(bytes.length, middle + dice.roll(64));
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(middle, end), bytes.subarray(start, middle), bytes.subarray(end)]); // two parts change places
  },
  (bytes, _other, dice) => {
    const [start] = dice.range(bytes.length);
    return Buffer.concat([bytes.subarray(0, start), randomBytes(dice.roll(100)), bytes.subarray(start)]);
  },
  (bytes, _other, dice) => Buffer.concat([bytes, randomBytes(dice.roll(200))]),
  (bytes, other) => Buffer.concat([bytes, other]),
  (_bytes, _other, dice) => randomBytes(dice.roll(300)),
];

if (process.env.NEKIT_FULL !== undefined) t.setTimeout(300_000);

for (const ciphers of allCiphers()) {
  for (const [index, { client, ...server }] of SERVERS.entries()) {
    const cases = Math.ceil(CASES / SERVERS.length / allCiphers().length);
    void t.test(`${server.cipher}, ${ciphers.kind}: ${cases} altered requests`, { timeout: 180_000 }, async () => {
      const secret = secretFor(ciphers, server.cipher, client ?? server.password);
      const authentic = secret.method.family !== 'stream';
      let accepted: StreamRequest[] = [];
      const listener = listenInMemory({
        ...{ ciphers, ...server },
        handle: async (request) => {
          accepted.push(request);
          await swallow(request);
        },
      });
      const dice = new Dice(index + 1);
      const address = encodeSocksAddress(TARGET);
      const makeValid = (): Uint8Array => clientCodec(ciphers, secret, address).seal(randomBytes(dice.roll(3) === 0 ? 0 : dice.roll(700)));
      let taken = 0;
      let clients = 0;
      for (let done = 0; done < cases; done += BATCH) {
        const pool = Array.from({ length: 20 }, makeValid);
        accepted = [];
        await within(
          Promise.all(
            Array.from({ length: BATCH }, async () => {
              const bytes = pick(pool, dice);
              const altered = pick(MUTATIONS, dice)(bytes, pick(pool, dice), dice);
              await present(listener, altered, dice, `client-${++clients}`);
            }),
          ),
          20_000,
        );
        taken += accepted.length;
        if (authentic) {
          // Nothing is believed that was not sealed as it is, and that only once.
          assert.ok(accepted.length <= pool.length);
          for (const { session } of accepted) assert.deepEqual(session.destination, TARGET);
        }
        listener.requests.length = 0;
        listener.failed.length = 0;
      }
      assert.ok(taken > 0);
      await assertClean(listener);
    });
  }
}

function pick<T>(all: readonly T[], dice: Dice): T {
  return all[dice.roll(all.length)] ?? assert.fail('nothing to choose from');
}

/** Sends it in pieces and FIN; what comes back is nothing and FIN, or for a request that was believed nothing and an end. */
async function present(listener: MemoryListener, bytes: Uint8Array, dice: Dice, from: string): Promise<void> {
  const stream = listener.connect(from);
  const pieces = dice.roll(4);
  let reset = false;
  try {
    let at = 0;
    for (let i = 0; i < pieces; i++) {
      const end = at + dice.roll(bytes.length - at + 1);
      if (end > at) await stream.write([Uint8Array.from(bytes.subarray(at, end))]);
      at = end;
    }
    if (at < bytes.length) await stream.write([Uint8Array.from(bytes.subarray(at))]);
    await stream.closeWrite();
    while ((await stream.read()) !== null) assert.fail(`an answer to ${Buffer.from(bytes).toString('hex')}`);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    reset = true;
  }
  if (reset)
    assert.ok(
      listener.requests.some(({ session }) => session.source.host === from),
      `a reset for ${Buffer.from(bytes).toString('hex')}`,
    );
}

/** Takes what comes; an altered chunk behind the request ends it with a reset. */
async function swallow(request: StreamRequest): Promise<void> {
  const stream = await request.accept();
  try {
    while ((await stream.read()) !== null);
    await stream.closeWrite();
  } catch (error) {
    assert.ok(error instanceof Error && 'failure' in error, String(error));
  }
}
