// our client codec -> our listener on real sockets -> target, for every method.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type Ciphers, encodeSocksAddress, type Stream, systemClock } from '@nekit/core';
import { allCiphers, allSockets, collect, eventually, pattern, send, startEcho, startTarget, within } from '@nekit/core/testing';
import t from 'tap';
import { clientCodec, METHODS, type Secret } from '../../dist/method.js';
import { SealedStream } from '../../dist/sealed-stream.js';
import { secretFor } from './listener.js';
import { type Server, startServer } from './server.js';

const full = process.env.NEKIT_FULL !== undefined;

const MIB = 1024 * 1024;
const LENGTH = 16 * MIB;
/** What one method has to carry with NEKIT_FULL. */
const FULL_LENGTH = 1024 * MIB;

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const UP = pattern(LENGTH, 1);
const DOWN = pattern(LENGTH, 2);
const [UP_DIGEST, DOWN_DIGEST] = [digest(UP), digest(DOWN)];

/** A block whose repetitions are FULL_LENGTH bytes. */
const BLOCK = Buffer.from(pattern(MIB, 3));

const passwordFor = (cipher: string): string => {
  const method = METHODS.get(cipher);
  return method?.family === '2022' ? Buffer.alloc(method.keyLength, 7).toString('base64') : 'secret';
};

async function open(server: Server, ciphers: Ciphers, secret: Secret, port: number): Promise<Stream> {
  const codec = clientCodec(ciphers, secret, encodeSocksAddress({ host: '127.0.0.1', port }));
  return new SealedStream(await server.dial(), codec, { clock: systemClock, native: false, peer: 'server' });
}

if (full) t.setTimeout(600_000); // 1 GiB through every method

const kinds = allSockets().map((sockets) => sockets.kind);
for (const [i, ciphers] of allCiphers().entries()) {
  for (const cipher of METHODS.keys()) {
    const kind = kinds[i] ?? 'node'; // native ciphers on native sockets, TypeScript on Node's: what a host has
    void t.test(`${cipher}: ${ciphers.kind} ciphers, ${kind} sockets`, async (t) => {
      const all = allSockets();
      const sockets = all.find((candidate) => candidate.kind === kind) ?? assert.fail();
      for (const other of all) if (other !== sockets) other.close();
      const password = passwordFor(cipher);
      const server = await startServer({ sockets, ciphers, entry: { cipher, password, 'allow-insecure-ciphers': true } });
      const secret = secretFor(ciphers, cipher, password);

      await t.test('the client ends first: 16 MiB come back', async () => {
        const echo = await startEcho();
        const stream = await open(server, ciphers, secret, echo.port);
        const [back] = await within(Promise.all([collect(stream), send(stream, UP, 64 * 1024)]), 60_000);
        assert.equal(digest(back), UP_DIGEST);
        await eventually(() => echo.connections() === 0);
        await echo.close();
      });

      await t.test('the target ends first: 16 MiB down, then 16 MiB up', async () => {
        let got: (bytes: Buffer) => void = () => {};
        const received = new Promise<Buffer>((resolve) => (got = resolve));
        const target = await startTarget((socket) => {
          const parts: Buffer[] = [];
          socket.on('data', (part: Buffer) => parts.push(part));
          socket.on('end', () => got(Buffer.concat(parts)));
          socket.end(DOWN);
        });
        const stream = await open(server, ciphers, secret, target.port);
        assert.equal(digest(await within(collect(stream), 60_000)), DOWN_DIGEST);
        const [up] = await within(Promise.all([received, send(stream, UP, 64 * 1024)]), 60_000);
        assert.equal(digest(up), UP_DIGEST);
        await target.close();
      });

      if (full && ciphers.kind === 'native' && kind === 'native') {
        await t.test(`${FULL_LENGTH / MIB} MiB each way have their digest`, async (t) => {
          const expected = createHash('sha256');
          for (let sent = 0; sent < FULL_LENGTH; sent += BLOCK.length) expected.update(BLOCK);
          const wanted = expected.digest('hex');
          const began = performance.now();
          const echo = await startEcho();
          const stream = await open(server, ciphers, secret, echo.port);
          const sending = (async () => {
            for (let sent = 0; sent < FULL_LENGTH; sent += BLOCK.length) await stream.write([Buffer.from(BLOCK)]);
            await stream.closeWrite();
          })();
          const hash = createHash('sha256');
          let length = 0;
          const receiving = (async () => {
            for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) {
              for (const chunk of chunks) {
                hash.update(chunk);
                length += chunk.length;
              }
            }
          })();
          await within(Promise.all([sending, receiving]), 110_000);
          assert.equal(length, FULL_LENGTH);
          assert.equal(hash.digest('hex'), wanted);
          t.comment(`${((performance.now() - began) / 1000).toFixed(1)} s`);
          await echo.close();
        });
      }

      await eventually(() => server.open() === 0 && server.totals.length === server.requests.length);
      for (const { error } of server.totals) assert.equal(error, null);
      await server.close();
      assert.equal(server.timers.size, 0);
    });
  }
}
