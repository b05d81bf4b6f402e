// The addon in more than one place: engines side by side, worker threads that end in every way, processes that exit with live sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t from 'tap';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import { never } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { NetError } from '../../dist/net/errors.js';
import { relay } from '../../dist/net/relay.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { collect, eventually, send, within } from '../../dist/testing/wait.js';
import { type Ended, runChild } from '../support/child.js';
import { connectPair, turns } from '../support/pairs.js';

const { addon } = findAddon();
const skip = addon === null ? 'the addon is not built' : false;
const asan = process.env.ASAN_OPTIONS !== undefined;
const full = process.env.NEKIT_FULL === '1';
const enough = (): NetError => new NetError('aborted', 'enough', { code: 'ENOUGH' });
t.setTimeout(500_000);

/** In a child or a worker: relays of one engine with `bulk()`, which runs until something ends it, and `idle()`, which says nothing. */
const FLOWS = `
  const timers = new TimerWheel(systemClock);
  const counters = new Float64Array(64);
  let slot = 0;
  const pair = async () => {
    let accepted;
    const far = new Promise((resolve) => { accepted = resolve; });
    const door = await sockets.listen({ host: '127.0.0.1', port: 0, backlog: 8 }, { connection: (incoming) => accepted(incoming.open(() => {}, () => {})), failed() {} });
    const near = await new Promise((resolve, reject) => sockets.connect('127.0.0.1', door.port, {}, resolve, reject));
    const both = [near, await far];
    door.close();
    return both;
  };
  const joined = async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    const at = slot;
    slot += 2;
    relay(a, b, { signal: never, idleMs: 60_000, halfCloseMs: 60_000, counters, slot: at }, timers).catch(() => {});
    return { client, server, at };
  };
  const bulk = async () => {
    const { client, server, at } = await joined();
    (async () => { for (const chunk = Buffer.alloc(128 * 1024);;) await client.write([Buffer.from(chunk)]); })().catch(() => {});
    (async () => { while ((await server.read()) !== null); })().catch(() => {});
    while (counters[at] < 4 * 1024 * 1024) await new Promise((resolve) => setTimeout(resolve, 1)); // on the thread by now
  };
  const idle = async () => {
    const { client, server } = await joined();
    await client.write([Buffer.from('x')]);
    await server.read();
    server.read().catch(() => {});
  };
  const busy = async () => { await bulk(); await bulk(); await idle(); await idle(); await pair(); };
`;

/** The child's own way to make a worker of the same prelude: the text of \`worker\`. */
const WORKERS = (text: string): string => `
  const { Worker } = await import('node:worker_threads');
  const { once } = await import('node:events');
  const prelude = ${JSON.stringify(FLOWS + text)};
  const make = () => new Worker(new URL('data:text/javascript,' + encodeURIComponent(HEAD + prelude)));
`;

const CLEAN: Ended = { code: 0, signal: null, stdout: 'ok\n', stderr: '' };

t.test('two engines in one process: neither knows of the other', { skip }, async () => {
  const [one, two] = [openSockets(addon), openSockets(addon)];
  const first = await connectPair(one, one);
  const second = await connectPair(two, two);
  const across = await connectPair(one, two);
  for (const { near, stream } of [first, second, across]) {
    const [got] = await Promise.all([collect(stream), send(near, Buffer.from('hello'))]);
    assert.equal(got.toString(), 'hello');
  }
  for (const { stream } of [first, second, across]) await stream.closeWrite();
  one.close();
  const third = await connectPair(two, two);
  const [got] = await Promise.all([collect(third.stream), send(third.near, Buffer.from('still here'))]);
  assert.equal(got.toString(), 'still here');
  third.near.abort(enough());
  two.close();
  // It may be used again: that makes a new engine.
  const again = await connectPair(one, one);
  again.near.abort(enough());
  again.stream.abort(enough());
  one.close();
});

t.test('made and destroyed 200 times: descriptors and memory stay', { skip }, async () => {
  const timers = new TimerWheel(systemClock);
  const counters = new Float64Array(2);
  const once = async (bulk: boolean): Promise<void> => {
    const sockets = openSockets(addon);
    const client = await connectPair(sockets, sockets);
    const target = await connectPair(sockets, sockets);
    void relay(client.stream, target.near, { signal: never, idleMs: 5_000, halfCloseMs: 5_000, counters, slot: 0 }, timers);
    const bytes = bulk ? 600_000 : 100;
    const [got] = await within(Promise.all([collect(target.stream), send(client.near, Buffer.alloc(bytes))]), 10_000);
    assert.equal(got.length, bytes);
    sockets.close(); // with a relay that runs, here or on its thread
    await turns(1);
  };
  for (let i = 0; i < 20; i++) await once(i % 3 === 0);
  global.gc?.();
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const before = { descriptors: descriptors(), rss: process.memoryUsage.rss() };
  for (let i = 0; i < 200; i++) await once(i % 3 === 0);
  await eventually(() => descriptors() <= before.descriptors, 5_000, `${descriptors()} descriptors to be ${before.descriptors} again`);
  const grown = process.memoryUsage.rss() - before.rss;
  // Each has a slab of half a MiB, and buffers that only the collector gives back: 200 of them would be 150 MiB.
  if (!asan) assert.ok(grown < 60 * 1024 * 1024, `RSS grew by ${grown} bytes`);
});

t.test('destroyed in its own callback: nothing more is told', { skip }, async () => {
  for (const when of ['connection', 'opened', 'read', 'closed'] as const) {
    const sockets = openSockets(addon);
    let told = 0;
    let over = (): void => {};
    const done = new Promise<void>((resolve) => {
      over = resolve;
    });
    const end = (): void => {
      if (told === 0) {
        sockets.close();
        setImmediate(() => setImmediate(over));
      }
      told++;
    };
    const listener = await sockets.listen(
      { host: '127.0.0.1', port: 0, backlog: 8 },
      {
        connection: (incoming) => {
          if (when === 'connection') {
            incoming.refuse();
            return end();
          }
          const stream = incoming.open(
            () => {},
            () => when === 'closed' && end(),
          );
          stream.read().then(
            () => when === 'read' && end(),
            () => {},
          );
        },
        failed: () => {},
      },
    );
    for (let i = 0; i < 4; i++) {
      sockets.connect(
        '127.0.0.1',
        listener.port,
        {},
        (stream) => {
          if (when === 'opened') end();
          else if (when === 'read') void stream.write([Buffer.from('x')]).catch(() => {});
          else if (when === 'closed') stream.abort(enough());
        },
        () => {},
      );
    }
    await within(done, 5_000, when);
    if (when !== 'read') assert.equal(told, 1, when); // reads settle later, in turns of their own
  }
});

const inProcess: readonly (readonly [string, string, Partial<Ended>])[] = [
  ['process.exit with live sockets and a bulk relay', `await busy(); console.log('ok'); process.exit(0);`, {}],
  [
    'process.exit with a code, from a callback of the engine',
    `await busy(); console.log('ok'); (await pair())[0].read(); setImmediate(() => process.exit(7));`,
    { code: 7 },
  ],
  [
    'an error that nobody catches',
    `await busy(); console.log('ok'); process.exitCode = 1; process.on('uncaughtException', () => process.exit(3)); setImmediate(() => { throw new Error('x'); });`,
    { code: 3 },
  ],
  ['destroyed, it ends by itself', `await busy(); console.log('ok'); sockets.close();`, {}],
  [
    'a signal',
    `await busy(); console.log('ok'); process.kill(process.pid, 'SIGTERM'); await new Promise(() => setInterval(() => {}, 1000));`,
    { code: null, signal: 'SIGTERM' },
  ],
];
for (const [name, text, expected] of inProcess) {
  t.test(name, { skip }, async () => {
    for (let i = 0; i < (full ? 10 : 2); i++)
      assert.deepEqual(await runChild(FLOWS + text, { abrupt: text.includes('process.exit(') }), { ...CLEAN, ...expected });
  });
}

const inWorkers: readonly (readonly [string, string, string, Partial<Ended>])[] = [
  [
    'terminated',
    `await busy(); postMessage('busy');`,
    `await Promise.all(workers.map((worker) => once(worker, 'message'))); await Promise.all(workers.map((worker) => worker.terminate()));`,
    {},
  ],
  [
    'terminated while they start',
    `await busy();`,
    `for (const worker of workers) { await new Promise((r) => setTimeout(r, 40)); await worker.terminate(); }`,
    {},
  ],
  ['exit by themselves', `await busy(); process.exit(0);`, `await Promise.all(workers.map((worker) => once(worker, 'exit')));`, {}],
  ['come to an end when their sockets are closed', `await busy(); sockets.close();`, `await Promise.all(workers.map((worker) => once(worker, 'exit')));`, {}],
  [
    'the process exits around them',
    `await busy(); postMessage('busy');`,
    `await Promise.all(workers.map((worker) => once(worker, 'message'))); console.log('ok'); process.exit(5);`,
    { code: 5 },
  ],
  [
    'throw',
    `await busy(); setImmediate(() => { throw new Error('on purpose'); });`,
    `await Promise.all(workers.map((worker) => once(worker, 'error').then(([error]) => { if (error.message !== 'on purpose') throw error; })));`,
    {},
  ],
];
for (const [name, worker, main, expected] of inWorkers) {
  t.test(`worker threads with live sockets and bulk on the relay thread: ${name}`, { skip }, async () => {
    const text = `${WORKERS(`import { parentPort } from 'node:worker_threads'; const postMessage = (m) => parentPort.postMessage(m); ${worker}`)}
      const workers = [make(), make(), make()];
      // The main thread has an engine of its own meanwhile.
      const mine = await sockets.listen({ host: '127.0.0.1', port: 0, backlog: 8 }, { connection() {}, failed() {} });
      ${main}
      mine.close();
      const again = await sockets.listen({ host: '127.0.0.1', port: 0, backlog: 8 }, { connection() {}, failed() {} });
      again.close();
      sockets.close();
      console.log('ok');`;
    for (let i = 0; i < (full ? 5 : 1); i++) assert.deepEqual(await runChild(text, { abrupt: main.includes('process.exit(') }), { ...CLEAN, ...expected });
  });
}

t.test('a process that exits as soon as it hears that a relay was cut off: the other end sees a reset, and no end', { skip }, async () => {
  const [near, far] = [createServer(), createServer()];
  for (const server of [near, far]) server.listen(0, '127.0.0.1');
  const port = (server: typeof near): number => (server.address() as AddressInfo).port;
  try {
    await Promise.all([once(near, 'listening'), once(far, 'listening')]);
    const met = Promise.all([once(near, 'connection'), once(far, 'connection')]);
    const child = runChild(
      `${FLOWS}
      const dial = (port) => new Promise((resolve, reject) => sockets.connect('127.0.0.1', port, {}, resolve, reject));
      const options = { signal: never, idleMs: 60_000, halfCloseMs: 60_000, counters, slot: 0 };
      const { error } = await relay(await dial(${port(near)}), await dial(${port(far)}), options, timers);
      console.log(error === null ? 'no error' : 'ok');
      process.exit(0);`,
      { abrupt: true },
    );
    const [[client], [target]] = (await within(met, 10_000, 'both connections')) as [[Socket], [Socket]];
    const outcome = new Promise((resolve) => {
      client.once('end', () => resolve('end'));
      client.once('error', (error: Error & { readonly code?: string }) => resolve(error.code));
    });
    const heard = once(client, 'data');
    target.write('the first half');
    await within(heard, 10_000, 'the first half');
    target.resetAndDestroy();
    assert.equal(await within(outcome, 10_000, 'the end'), 'ECONNRESET');
    client.destroy();
    assert.deepEqual(await child, CLEAN);
  } finally {
    near.close();
    far.close();
  }
});
