import { randomBytes } from 'node:crypto';
import {
  CancelSource,
  type Ciphers,
  type Codec,
  isNetError,
  type NativeConn,
  type NativeConnListener,
  NetError,
  type Sockets,
  type Stream,
  sealedNoReply,
  sealedTruncated,
  streamFromConn,
  systemClock,
} from '@nekit/core';
import { allCiphers, allSockets, collect, FakeClock, pattern, pipePair, type StreamPair, send, settle, streamConformance, within } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { clientCodec, type Secret, secretOf, serverCodec } from '../dist/method.js';
import { SealedConn } from '../dist/sealed-conn.js';
import { SealedStream } from '../dist/sealed-stream.js';

/** NEKIT_FULL=1: all methods on all implementations. */
const full = process.env.NEKIT_FULL === '1';

const HEADER = Buffer.from([1, 192, 0, 2, 1, 0, 80]);
const KEY = Buffer.alloc(16, 5).toString('base64');

const secretFor = (ciphers: Ciphers, cipher: string, password = cipher.startsWith('2022') ? KEY : 'secret'): Secret =>
  secretOf(ciphers, { cipher, password, allowInsecure: true });

/** A client's end on `base`. */
function client(base: Stream, ciphers: Ciphers, secret: Secret, clock = systemClock): SealedStream {
  return new SealedStream(base, clientCodec(ciphers, secret, HEADER), { clock, native: ciphers.kind === 'native', peer: 'server' });
}

/** A server's end on `base`, once the request has come. */
async function server(base: Stream, ciphers: Ciphers, secret: Secret): Promise<SealedStream> {
  const codec = serverCodec(ciphers, secret, [], null);
  let plain = new Uint8Array(0);
  while (plain.length < HEADER.length) plain = Buffer.concat([plain, ...((await base.read()) ?? []).map((chunk) => codec.open(chunk))]);
  const stream = new SealedStream(base, codec, { clock: systemClock, native: ciphers.kind === 'native', peer: 'client' });
  if (plain.length > HEADER.length) stream.unread([plain.subarray(HEADER.length)]);
  return stream;
}

async function socketPair(sockets: Sockets): Promise<StreamPair> {
  let accepted: (stream: Stream) => void = () => undefined;
  const incoming = new Promise<Stream>((resolve) => {
    accepted = resolve;
  });
  const listener = await sockets.listen(
    { host: '127.0.0.1', port: 0, backlog: 1 },
    {
      connection: (connection) =>
        accepted(
          connection.open(
            () => undefined,
            () => undefined,
          ),
        ),
      failed: (error) => {
        throw error;
      },
    },
  );
  const a = await new Promise<Stream>((resolve, reject) => sockets.connect('127.0.0.1', listener.port, {}, resolve, reject));
  const b = await incoming;
  listener.close();
  return { a, b };
}

/** The error that something ends with. */
async function errorOf(promise: Promise<unknown>): Promise<NetError> {
  try {
    await within(promise);
  } catch (error) {
    if (isNetError(error)) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

const drained = async (stream: Stream): Promise<void> => {
  while ((await stream.read()) !== null);
};

for (const ciphers of allCiphers()) {
  for (const sockets of allSockets()) {
    for (const name of full || ciphers.kind === sockets.kind ? ['aes-256-gcm', '2022-blake3-aes-128-gcm', 'aes-128-cfb'] : ['aes-256-gcm']) {
      t.test(`stream conformance: ${name}, ${ciphers.kind} ciphers, ${sockets.kind} sockets`, async (t) => {
        t.teardown(() => sockets.close());
        const secret = secretFor(ciphers, name);
        streamConformance(
          (title, run) => t.test(title, run),
          async () => {
            const pair = await socketPair(sockets);
            const a = client(pair.a, ciphers, secret);
            const b = await server(pair.b, ciphers, secret);
            t.equal(a.native !== undefined, ciphers.kind === 'native' && sockets.kind === 'native');
            return { a, b };
          },
        );
      });
    }
  }

  t.test(`${ciphers.kind}: who has given its socket away has nothing left`, async (t) => {
    for (const sockets of allSockets()) {
      const pair = await socketPair(sockets);
      const secret = secretFor(ciphers, 'aes-256-gcm');
      const stream = client(pair.a, ciphers, secret);
      const { native } = stream;
      if (native === undefined) {
        t.notOk(ciphers.kind === 'native' && sockets.kind === 'native');
      } else {
        const conn = await native.detach([]);
        t.notOk(conn instanceof SealedConn, 'the codec is in the engine');
        for (const use of [() => stream.read(), () => stream.write([Buffer.from('x')]), () => stream.closeWrite(), () => native.detach([])])
          t.match(await errorOf(use()), { code: 'SPENT' });
        t.equal(conn.send(Buffer.from('still mine'), 0, 10), 10);
        const other = await server(pair.b, ciphers, secret);
        t.equal(Buffer.concat((await within(other.read())) ?? []).toString(), 'still mine');
        stream.abort(new NetError('aborted', 'enough'));
        await errorOf(drained(other));
      }
      pair.a.abort(new NetError('aborted', 'enough'));
      pair.b.abort(new NetError('aborted', 'enough'));
      sockets.close();
    }
  });

  t.test(`${ciphers.kind}: the header waits for the first bytes of a conn that was given away, too, and not for ever`, async (t) => {
    const secret = secretFor(ciphers, 'aes-256-gcm');
    for (const sockets of allSockets()) {
      const made = async (): Promise<{ ours: Stream; base: Stream } | null> => {
        const { a, b } = await socketPair(sockets);
        const stream = client(a, ciphers, secret);
        if (stream.native !== undefined) return { ours: streamFromConn(await stream.native.detach([])), base: b };
        for (const each of [stream, b]) each.abort(new NetError('aborted', 'enough'));
        return null;
      };
      const first = await made();
      const second = await made();
      t.equal(first !== null, ciphers.kind === 'native' && sockets.kind === 'native');
      if (first !== null && second !== null) {
        const reading = first.ours.read();
        const other = await within(server(first.base, ciphers, secret), 5_000, 'the header');
        await other.write([Buffer.from('220 ready')]);
        t.equal(Buffer.concat((await within(reading)) ?? []).toString(), '220 ready', 'a server that speaks first');
        await Promise.all([first.ours.closeWrite(), other.closeWrite()]);
        t.same([(await within(collect(first.ours))).length, (await within(collect(other))).length], [0, 0]);

        await second.ours.closeWrite();
        const asked = await within(server(second.base, ciphers, secret), 5_000, 'the header');
        t.equal((await within(collect(asked))).length, 0, 'FIN comes behind it');
        await asked.write([Buffer.from('an answer')]);
        await asked.closeWrite();
        t.equal((await within(collect(second.ours))).toString(), 'an answer');
      }
      sockets.close();
    }
  });

  t.test(`${ciphers.kind}: the header waits for the first bytes, at most 10 ms`, async (t) => {
    const clock = new FakeClock();
    const secret = secretFor(ciphers, 'aes-256-gcm');
    const wireOf = async (use: (stream: SealedStream) => Promise<unknown>): Promise<number[]> => {
      const [wire, base] = pipePair();
      const stream = client(base, ciphers, secret, clock);
      await use(stream);
      const reads: number[] = [];
      const reading = (async () => {
        for (let chunks = await wire.read(); chunks !== null; chunks = await wire.read()) reads.push(Buffer.concat(chunks).length);
      })();
      await settle();
      stream.abort(new NetError('aborted', 'enough'));
      await reading.catch(() => undefined);
      return reads;
    };
    const chunk = (payload: number): number => 2 + 16 + payload + 16;
    t.strictSame(await wireOf((stream) => stream.write([Buffer.from('one'), Buffer.from('two')])), [32 + chunk(7 + 6)], 'one write with all');
    t.equal(clock.pending, 0, 'and nothing waits any more');
    t.strictSame(await wireOf(() => clock.advance(9)), []);
    t.strictSame(await wireOf(() => clock.advance(10)), [32 + chunk(7)], 'a server may speak first');
    t.strictSame(await wireOf((stream) => stream.closeWrite()), [32 + chunk(7)], 'FIN comes behind the header');
    t.strictSame(await wireOf((stream) => stream.write([new Uint8Array(0)])), [], 'no bytes are no first bytes');
    t.strictSame(
      await wireOf(async (stream) => {
        await clock.advance(10);
        await stream.write([Buffer.from('later')]);
      }),
      [32 + chunk(7) + chunk(5)],
    );
    t.equal(clock.pending, 0);
  });

  t.test(`${ciphers.kind}: what is written while the header goes out alone comes behind it`, async (t) => {
    const clock = new FakeClock();
    const secret = secretFor(ciphers, '2022-blake3-aes-128-gcm');
    const [wire, base] = pipePair({ highWaterMark: 1 });
    const stream = client(base, ciphers, secret, clock);
    await clock.advance(10);
    const writing = stream.write([Buffer.from('first')]);
    const closing = stream.closeWrite();
    const other = serverCodec(ciphers, secret, [], null);
    const sealed = await within(collect(wire));
    t.equal(Buffer.from(other.open(sealed)).toString('latin1'), `${HEADER.toString('latin1')}first`);
    await within(Promise.all([writing, closing]));
  });

  t.test(`${ciphers.kind}: errors say what a person can do`, async (t) => {
    const secret = secretFor(ciphers, 'aes-256-gcm');
    const answered = async (secret: Secret, answer: (codec: Codec, wire: Stream) => Promise<unknown>): Promise<NetError> => {
      const [wire, base] = pipePair();
      const stream = client(base, ciphers, secret);
      await stream.write([Buffer.from('x')]);
      const codec = serverCodec(ciphers, secret, [], null);
      for (const chunk of (await wire.read()) ?? []) codec.open(chunk);
      const [error] = await Promise.all([errorOf(drained(stream)), answer(codec, wire)]);
      const after = await errorOf(stream.write([Buffer.from('more')]));
      t.equal(after, error, 'what failed stays failed');
      return error;
    };
    const silent = { failure: 'aborted', code: 'SEALED_NO_REPLY', message: sealedNoReply().message };
    t.match(await answered(secret, async (_codec, wire) => wire.abort(new Error('no'))), silent);
    const half = async (codec: Codec, wire: Stream): Promise<void> => {
      await wire.write([codec.seal(Buffer.from('good')).subarray(0, -1)]);
      await settle();
      wire.abort(new Error('no'));
    };
    t.match(await answered(secret, half), silent, 'what could not be opened proves nothing');
    t.match(await answered(secret, (_codec, wire) => wire.write([pattern(100, 1)])), {
      failure: 'auth',
      code: 'CIPHER_AUTH',
      message: 'authentication failed: wrong password or cipher, or altered bytes',
    });
    const altered = await answered(secret, async (codec, wire) => {
      await wire.write([codec.seal(Buffer.from('good'))]);
      await settle();
      await wire.write([pattern(100, 1)]);
    });
    t.match(altered, { failure: 'auth', code: 'CIPHER_AUTH' });
    const reset = await answered(secret, async (codec, wire) => {
      await wire.write([codec.seal(Buffer.from('good'))]);
      await settle();
      wire.abort(new Error('later'));
    });
    t.match(reset, { failure: 'aborted', code: 'ECONNRESET' }, 'a later reset means nothing in particular');
    const cut = await answered(secret, async (codec, wire) => {
      const sealed = codec.seal(Buffer.from('never whole'));
      await wire.write([sealed.subarray(0, sealed.length - 1)]);
      await wire.closeWrite();
    });
    t.match(cut, { failure: 'aborted', code: 'CIPHER_TRUNCATED', message: sealedTruncated().message });
    const salt = await answered(secret, async (_codec, wire) => {
      await wire.write([new Uint8Array(5)]);
      await wire.closeWrite();
    });
    t.match(salt, { code: 'CIPHER_TRUNCATED' });
  });

  t.test(`${ciphers.kind}: answers of SIP022 that are not to be believed`, async (t) => {
    const secret = secretFor(ciphers, '2022-blake3-aes-128-gcm');
    const answered = async (answer: (requestSalt: Uint8Array) => Uint8Array): Promise<string> => {
      const [wire, base] = pipePair();
      const stream = client(base, ciphers, secret);
      await stream.write([Buffer.from('x')]);
      const requestSalt = Buffer.concat((await wire.read()) ?? []).subarray(0, 16);
      await wire.write([answer(requestSalt)]);
      try {
        return Buffer.concat((await within(stream.read())) ?? []).toString();
      } catch (error) {
        return isNetError(error) ? `${error.failure} ${error.code}: ${error.message}` : String(error);
      }
    };
    t.equal(await answered((requestSalt) => response(ciphers, secret, { requestSalt })), 'hello');
    for (const seconds of [-29, 29]) t.equal(await answered((requestSalt) => response(ciphers, secret, { requestSalt, seconds })), 'hello');
    const clock = "protocol CIPHER_CLOCK: the peer's clock differs by 43 s, more than the 30 s that Shadowsocks 2022 allows: set the clocks";
    for (const seconds of [-43, 43]) {
      const told = await answered((requestSalt) => response(ciphers, secret, { requestSalt, seconds }));
      t.equal(told.replace(/-?4[234]\b/, '43'), clock, 'a second may have gone by meanwhile');
    }
    const other = 'protocol CIPHER_PROTOCOL: the response belongs to another request';
    t.equal(await answered(() => response(ciphers, secret, { requestSalt: new Uint8Array(16) })), other);
    const type = 'protocol CIPHER_PROTOCOL: the first record is of the wrong type';
    t.equal(await answered((requestSalt) => response(ciphers, secret, { requestSalt, type: 0 })), type);
  });

  t.test(`${ciphers.kind}: a conn that takes no codec is sealed here`, async (t) => {
    const secret = secretFor(ciphers, 'aes-256-gcm');
    const clock = new FakeClock();
    const made = async (): Promise<{ wire: Stream; conn: NativeConn; stream: SealedStream }> => {
      const [wire, base] = pipePair();
      const withNative: Stream = {
        read: () => base.read(),
        write: (chunks) => base.write(chunks),
        closeWrite: () => base.closeWrite(),
        abort: (reason) => base.abort(reason),
        native: { detach: () => Promise.resolve(new ForeignConn(base)) },
      };
      const codec = clientCodec(ciphers, secret, HEADER);
      const stream = new SealedStream(withNative, codec, { clock, native: true, peer: 'server' });
      const conn = (await stream.native?.detach([Buffer.from('unread')])) ?? t.fail('no native');
      if (!(conn instanceof SealedConn)) throw new Error('not a SealedConn');
      return { wire, conn, stream };
    };

    {
      const { wire, conn } = await made();
      t.equal(conn.relay(conn, { signal: new CancelSource(), idleMs: 1, halfCloseMs: 1, counters: new Float64Array(2), slot: 0 }), null);
      const ours = streamFromConn(conn);
      t.equal(Buffer.concat((await within(ours.read())) ?? []).toString(), 'unread');
      const up = pattern(300_001, 1);
      const down = pattern(200_003, 2);
      const sending = send(ours, up);
      const other = await server(wire, ciphers, secret);
      const [gotUp, gotDown] = await within(Promise.all([collect(other), collect(ours), sending, send(other, down)]));
      t.ok(gotUp.equals(up) && gotDown.equals(down));
      t.equal(conn.pending, 0);
      t.equal(clock.pending, 0);
    }
    {
      const { wire, conn } = await made();
      await clock.advance(10);
      const other = serverCodec(ciphers, secret, [], null);
      t.equal(
        Buffer.from(other.open(Buffer.concat((await within(wire.read())) ?? []))).toString('latin1'),
        HEADER.toString('latin1'),
        'a server may speak first',
      );
      conn.abort(new NetError('aborted', 'enough'));
      await errorOf(drained(wire));
    }
    {
      const { wire, conn } = await made();
      conn.closeWrite();
      conn.closeWrite();
      const other = serverCodec(ciphers, secret, [], null);
      t.equal(Buffer.from(other.open(await within(collect(wire)))).toString('latin1'), HEADER.toString('latin1'), 'FIN comes behind the header');
      const ours = streamFromConn(conn);
      await ours.read();
      await wire.write([other.seal(Buffer.from('cut off')).subarray(0, -1)]);
      await wire.closeWrite();
      t.match(await errorOf(drained(ours)), { code: 'CIPHER_TRUNCATED' });
    }
    {
      const { wire, conn } = await made();
      const ours = streamFromConn(conn);
      await ours.read();
      await wire.write([pattern(200, 3)]);
      t.match(await errorOf(drained(ours)), { code: 'CIPHER_AUTH' });
    }
    t.equal(clock.pending, 0);
  });

  t.test(`${ciphers.kind}: whatever the server sends: a part of what was meant, or an error`, async () => {
    const down = pattern(5_000, 4);
    for (const name of ['aes-256-gcm', '2022-blake3-aes-128-gcm']) {
      const secret = secretFor(ciphers, name);
      const property = fc.asyncProperty(damage, fc.array(fc.nat({ max: 6_000 }), { maxLength: 5 }), async ({ at, flip, cut }, cuts) => {
        const [wire, base] = pipePair();
        const stream = client(base, ciphers, secret);
        await stream.write([Buffer.from('x')]);
        const codec = serverCodec(ciphers, secret, [], null);
        for (const chunk of (await wire.read()) ?? []) codec.open(chunk);
        const sealed = Buffer.concat([codec.seal(down.subarray(0, 1_000)), codec.seal(down.subarray(1_000))]);
        const altered = at < sealed.length && flip !== 0;
        if (altered) sealed.writeUInt8(sealed.readUInt8(at) ^ flip, at);
        const sent = sealed.subarray(0, cut);
        const whole = sent.length === sealed.length && !altered;
        const got: Uint8Array[] = [];
        let failed = false;
        const reading = (async () => {
          for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) got.push(...chunks);
        })().catch((error: unknown) => {
          if (!isNetError(error)) throw error;
          failed = true;
        });
        for (const [from, to] of pieces(sent.length, cuts)) await wire.write([sent.subarray(from, to)]).catch(() => undefined); // it may have had enough
        await wire.closeWrite().catch(() => undefined);
        await within(reading);
        const bytes = Buffer.concat(got);
        if (!down.subarray(0, bytes.length).equals(bytes)) throw new Error('other bytes than were sent');
        if (whole && (failed || bytes.length < down.length)) throw new Error('bytes are missing');
        // A salt (32 bytes) with nothing behind it says nothing that could be altered.
        if (altered && at < sent.length && sent.length > 32 && !failed) throw new Error('altered bytes went unnoticed');
        stream.abort(new NetError('aborted', 'enough'));
      });
      await fc.assert(property, { numRuns: full ? 5_000 : 200 });
    }
  });

  t.test(`${ciphers.kind}: FIN without a word is an end`, async (t) => {
    const [wire, base] = pipePair();
    const stream = client(base, ciphers, secretFor(ciphers, 'aes-256-gcm'));
    await stream.closeWrite();
    await wire.closeWrite();
    t.equal(await stream.read(), null);
  });
}

/** A bit pattern on one byte (0: none), and where the wire is cut. */
const damage = fc.record({
  at: fc.nat({ max: 5_300 }),
  flip: fc.oneof(fc.constant(0), fc.nat({ max: 255 })),
  cut: fc.oneof(fc.constant(10_000), fc.nat({ max: 5_300 })),
});

/** Ranges of so many bytes, cut at these places. */
function pieces(length: number, cuts: readonly number[]): [number, number][] {
  const places = [...new Set([0, length, ...cuts.filter((cut) => cut < length)])].sort((one, other) => one - other);
  return places.slice(1).map((to, index) => [places[index] ?? 0, to]);
}

/** A conn of nobody's engine, on a stream: takes no codec, and 10,000 bytes at a time. */
class ForeignConn implements NativeConn {
  listener: NativeConnListener | null = null;
  readonly pending = 0;
  readonly #stream: Stream;
  #incoming: Buffer = Buffer.alloc(0);
  #ended = false;
  #busy = false;

  constructor(stream: Stream) {
    this.#stream = stream;
    this.#fill().catch((error: unknown) => this.listener?.closed(isNetError(error) ? error : null));
  }

  relay(): null {
    return null;
  }

  send(bytes: Uint8Array, start: number, end: number): number {
    if (this.#busy) return 0;
    const part = Uint8Array.from(bytes.subarray(start, Math.min(end, start + 10_000)));
    this.#busy = true;
    this.#stream.write([part]).then(
      () => {
        this.#busy = false;
        this.listener?.writable();
      },
      () => undefined,
    );
    return part.length;
  }

  receive(bytes: Uint8Array, start: number, end: number): number {
    if (this.#incoming.length === 0) return this.#ended ? -1 : 0;
    const length = Math.min(end - start, this.#incoming.length);
    bytes.set(this.#incoming.subarray(0, length), start);
    this.#incoming = this.#incoming.subarray(length);
    return length;
  }

  closeWrite(): void {
    this.#stream.closeWrite().catch(() => undefined);
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }

  async #fill(): Promise<void> {
    for (let chunks = await this.#stream.read(); chunks !== null; chunks = await this.#stream.read()) {
      this.#incoming = Buffer.concat([this.#incoming, ...chunks]);
      this.listener?.readable();
    }
    this.#ended = true;
    this.listener?.readable();
  }
}

/** The answer of a server, made by hand: salt, and the first chunk "hello" behind its header. */
function response(
  ciphers: Ciphers,
  secret: Secret,
  given: { readonly requestSalt: Uint8Array; readonly seconds?: number; readonly type?: number },
): Uint8Array {
  const salt = randomBytes(16);
  const subkey = ciphers.blake3DeriveKey('shadowsocks 2022 session subkey', Buffer.concat([...secret.keys, salt]), 16);
  const aead = ciphers.createAead('aes-128-gcm', subkey);
  const header = Buffer.alloc(27);
  header[0] = given.type ?? 1;
  header.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 1000) + (given.seconds ?? 0)), 1);
  header.set(given.requestSalt, 9);
  header.writeUInt16BE(5, 25);
  const wire = Buffer.alloc(16 + 27 + 16 + 5 + 16);
  wire.set(salt);
  const nonce = new Uint8Array(12);
  aead.seal(nonce, header, 0, 27, wire, 16);
  nonce[0] = 1;
  aead.seal(nonce, Buffer.from('hello'), 0, 5, wire, 16 + 43);
  return wire;
}
