// Random malformed HTTP and SOCKS on the mixed port of a real kernel: it never crashes, never hangs, never lets one through.
import net from 'node:net';
import { startTarget } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { throughConnect, throughSocks5 } from '../helpers/apps.js';
import { startKernel } from '../helpers/kernel.js';
import { type Malformed, malformed } from './inputs.js';

const total = process.env.NEKIT_FULL === '1' ? 1_000 : 200;
/** At once: those that wait for a timeout then wait together. */
const perRun = 25;

/** The kernel's, in ms. A client that was told no may linger for 2 s more before it is cut off. */
const timeouts = { handshake: 400, connect: 400, resolve: 400, firstByte: 400, httpKeepAlive: 400 };
const patience = 400 + 2_000 + 2_500;

/** Sends one input. Settles with what came back when the connection is closed; null: the kernel never ended it. */
function send(port: number, { bytes, pieces, then }: Malformed): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    let answer = '';
    const late = setTimeout(() => {
      resolve(null);
      socket.destroy();
    }, patience);
    socket.on('data', (part: Buffer) => {
      answer += part.toString('latin1');
    });
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      clearTimeout(late);
      resolve(answer);
    });
    socket.on(
      'connect',
      () =>
        void (async () => {
          let at = 0;
          for (const size of pieces) {
            if (!socket.writable || at >= bytes.length) break;
            socket.write(bytes.subarray(at, at + size));
            at += size;
            await new Promise((next) => setImmediate(next));
          }
          if (!socket.writable) return;
          socket.write(bytes.subarray(at), () => {
            if (then === 'end' && socket.writable) socket.end();
            if (then === 'reset' && socket.writable) socket.resetAndDestroy();
          });
        })(),
    );
  });
}

/** What is wrong with the kernel's answer, or null. */
function judge({ protocol, what, then }: Malformed, answer: string | null, refusals: Map<string, number>): string | null {
  if (answer === null) return 'the connection was not ended';
  if (protocol === 'socks') return null; // what each reply must be, the adapter's own tests say
  const status = /^HTTP\/1\.1 ([45]\d\d) /.exec(answer)?.[1];
  if (status !== undefined) refusals.set(status, (refusals.get(status) ?? 0) + 1);
  // Who stops in the middle and leaves has asked nothing.
  const mayBeSilent = then === 'reset' || (then === 'end' && (what === 'a head that stops' || what === 'a letter and octets'));
  return status === undefined && (answer !== '' || !mayBeSilent) ? `answered with ${JSON.stringify(answer.slice(0, 60))}` : null;
}

t.test(`${total} malformed inputs`, async (t) => {
  const target = await startTarget((socket) => socket.pipe(socket));
  const entry = await startKernel({}, { timeouts });
  t.teardown(async () => {
    await entry.stop();
    await target.close();
  });
  let sent = 0;
  const refusals = new Map<string, number>();
  const result = await fc.check(
    fc.asyncProperty(fc.array(malformed(target.port), { minLength: perRun, maxLength: perRun }), async (inputs) => {
      const answers = await Promise.all(inputs.map((input) => send(entry.port, input)));
      for (const [index, input] of inputs.entries()) {
        sent++;
        const wrong = judge(input, answers[index] ?? null, refusals);
        if (wrong !== null) throw new Error(`${input.what}: ${wrong}; then ${input.then}; ${JSON.stringify(input.bytes.toString('latin1', 0, 300))}`);
      }
      if (target.accepted() > 0) throw new Error(`one of ${inputs.map(({ what }) => what).join(', ')} reached the target`);
    }),
    { numRuns: Math.ceil(total / perRun), endOnFailure: true, ...(process.env.NEKIT_SEED === undefined ? {} : { seed: Number(process.env.NEKIT_SEED) }) },
  );
  // Without fast-check's own report: a counterexample is a head of 70 KB.
  const failure = result.errorInstance instanceof Error ? result.errorInstance.message : 'all were turned away';
  t.comment(`seed ${result.seed}, ${sent} inputs, answered ${JSON.stringify(Object.fromEntries(refusals))}`);
  t.notOk(result.failed, failure);
  t.ok(sent >= total, `${sent} inputs`);
  t.equal(target.accepted(), 0, 'none reached the target');
  t.same(entry.kernel.sessions(), [], 'no session is left');
  t.same(
    entry.closed.filter(({ error }) => error === null),
    [],
    'and none went well',
  );
  t.same(entry.warned, [], 'no warning');

  for (const [name, open] of [
    ['SOCKS5', throughSocks5],
    ['CONNECT', throughConnect],
  ] as const) {
    const stream = await open(entry.port, { host: '127.0.0.1', port: target.port });
    await stream.write([Buffer.from('still here?')]);
    t.equal(Buffer.concat((await stream.read()) ?? []).toString(), 'still here?', `${name} works afterwards`);
    await stream.closeWrite();
  }
});
