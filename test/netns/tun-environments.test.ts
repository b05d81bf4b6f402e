// TUN devices and the ends of what they run in: exits, workers, two kernels in one process, stacks that do what they must not, and misuse of the binding.
import t, { type Test } from 'tap';
import { Namespace, unlessNamespaces } from '../helpers/namespace.js';

const CORE = new URL('../../packages/core/dist/', import.meta.url).href;

const STACK_TCP = new URL('../../packages/stack-tcp/dist/index.js', import.meta.url).href;

/** For a script: a kernel with a TUN of its own network, and pings by the system into it. */
const PRELUDE = `
const { createKernel, definePlugin } = await import('${CORE}index.js');
const { tcpPlugin } = await import('${STACK_TCP}');
const { execFileSync, spawn } = await import('node:child_process');
const { Worker } = await import('node:worker_threads');
const told = [];
const make = (net, ...plugins) => {
  const kernel = createKernel({ tun: { enable: true, device: 'tun' + net, 'inet4-address': ['198.18.' + net + '.1/30'], 'inet6-address': [], 'auto-route': false } }, { plugins: [tcpPlugin, ...plugins] });
  for (const name of ['listener.failed', 'listener.stopped', 'kernel.warning']) kernel.on(name, (event) => told.push((name + ' ' + (event.message ?? '')).trim()));
  return kernel;
};
// Without -w ping waits for its last reply twice the longest round trip alone, which a busy machine exceeds.
const pings = (net, ...args) => new Promise((resolve) => {
  const child = spawn('ping', ['-q', '-n', ...(args.includes('-w') ? args : [...args, '-w', '20']), '198.18.' + net + '.2'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (part) => { said += part; });
  child.once('close', () => resolve(Number(/(\\d+) received/.exec(said)?.[1] ?? 0)));
});
const flood = (net) => pings(net, '-f', '-w', '1');
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const devices = () => execFileSync('ip', ['-o', 'link', 'show', 'type', 'tun']).toString().split('\\n').flatMap((line) => /^\\d+: (tun\\d+):/.exec(line)?.[1] ?? []).join();
const zod = { parse: (input) => input, toJSONSchema: () => ({ type: 'object' }) };
const stackOf = (type, input, others = {}) => definePlugin({ name: 'stack-' + type, api: 1, setup(context) {
  context.stack({ type, config: zod, create: () => ({ input, flush() {}, nextDeadline: () => Infinity, close() {}, ...others }) });
} });
`;

/** Runs a script in the namespace: exit code and what it printed. */
async function runs(t: Test, place: Namespace, text: string, expected: { readonly code?: number | string; readonly stdout: string | RegExp }): Promise<void> {
  const { code, stdout, stderr } = await place.run(process.execPath, ['--expose-gc', '--input-type=module', '-e', PRELUDE + text], {
    ms: full ? 240_000 : 60_000,
  });
  t.equal(code, expected.code ?? 0, stderr);
  if (typeof expected.stdout === 'string') t.equal(stdout.toString().trim(), expected.stdout);
  else t.match(stdout.toString().trim(), expected.stdout);
}

const full = process.env.NEKIT_FULL === '1';

t.setTimeout(600_000);

t.test('what a TUN runs in comes to an end', { skip: unlessNamespaces('ping'), timeout: 600_000 }, async (t) => {
  const place = await Namespace.make();
  t.teardown(() => place.close());

  await t.test('two kernels in one process, and one stops', (t) =>
    runs(
      t,
      place,
      `const [one, two] = [make(1), make(2)];
       await Promise.all([one.start(), two.start()]);
       const both = await Promise.all([pings(1, '-f', '-c', '300'), pings(2, '-f', '-c', '300')]);
       await one.stop();
       const other = await pings(2, '-c', '2', '-i', '1');
       const anew = make(1);
       await anew.start();
       const again = await pings(1, '-c', '2', '-i', '1');
       await Promise.all([anew.stop(), two.stop()]);
       console.log(JSON.stringify([both, other, again, told, devices()]));`,
      { stdout: '[[300,300],2,2,["listener.stopped","listener.stopped","listener.stopped"],""]' },
    ),
  );

  await t.test('process.exit, from a timer and from a callback of the device', async (t) => {
    await runs(t, place, `await make(1).start(); void flood(1); await pause(200); console.log('here'); process.exit(3);`, { code: 3, stdout: 'here' });
    await runs(t, place, `await make(1, stackOf('mine', () => process.exit(4))).start(); void flood(1);`, { code: 4, stdout: '' });
    t.equal((await place.run('ip', ['-o', 'link', 'show', 'type', 'tun'])).stdout.toString(), '', 'the devices went with their processes');
  });

  await t.test('a stack that throws, wherever it can: told once, and the others go on', (t) =>
    runs(
      t,
      place,
      `const fail = (where) => () => { throw new Error(where + ', on purpose'); };
       for (const [input, others] of [[fail('input'), {}], [() => false, { flush: fail('flush') }], [() => false, { nextDeadline: fail('nextDeadline') }], [() => false, { close: fail('close') }], [() => false, { nextDeadline: () => undefined }]]) {
         const kernel = make(1, stackOf('mine', input, others), stackOf('other', () => false));
         await kernel.start();
         const heard = await pings(1, '-f', '-c', '100', '-w', '2');
         await kernel.stop();
         console.log(heard, told.splice(0).join(' | '));
       }
       const kernel = make(1, definePlugin({ name: 'broken', api: 1, setup(context) { context.stack({ type: 'broken', config: zod, create: fail('create') }); } }));
       await kernel.start().catch((error) => console.log(error.message));
       console.log(devices() === '' ? 'no device' : devices());`,
      {
        stdout: [
          ...['input', 'flush', 'nextDeadline', 'close'].map(
            (where) =>
              `${where === 'input' ? 0 : 100} kernel.warning tun: the IP stack "mine" threw, which is told once; the packet is lost and it goes on: ${where}, on purpose | listener.stopped`,
          ),
          '100 listener.stopped',
          'listener tun: create, on purpose',
          'no device',
        ].join('\n'),
      },
    ),
  );

  await t.test('two workers and the main thread, each with a kernel and a TUN', (t) =>
    runs(
      t,
      place,
      `const own = make(9);
       await own.start();
       const source = (net) => ${JSON.stringify(PRELUDE)} + "const { parentPort } = await import('node:worker_threads'); const kernel = make(" + net + "); await kernel.start(); parentPort.once('message', async () => { await kernel.stop(); parentPort.close(); }); parentPort.postMessage('up');";
       const workers = [3, 4].map((net) => new Worker(new URL('data:text/javascript,' + encodeURIComponent(source(net)))));
       await Promise.all(workers.map((worker) => new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject); })));
       const all = await Promise.all([3, 4, 9].map((net) => pings(net, '-f', '-c', '300')));
       const [first, second] = workers;
       const ended = (worker) => new Promise((resolve) => worker.once('exit', resolve));
       const one = ended(first);
       first.postMessage('stop');
       console.log(await one, devices());
       const left = await Promise.all([4, 9].map((net) => pings(net, '-f', '-c', '100')));
       const other = ended(second);
       second.postMessage('stop');
       await other;
       await own.stop();
       console.log(JSON.stringify([all, left, devices()]));`,
      { stdout: '0 tun9,tun4\n[[300,300,300],[100,100],""]' },
    ),
  );

  await t.test('workers: terminated under load, exiting, and the main thread goes on', (t) =>
    runs(
      t,
      place,
      `const own = make(9);
       await own.start();
       const pinging = [];
       const source = (end) => ${JSON.stringify(PRELUDE)} + "const { parentPort } = await import('node:worker_threads'); await make(3).start(); parentPort.postMessage('up'); " + end;
       for (const end of [${full ? "'', '', '', '', " : ''}'', "setTimeout(() => process.exit(0), 150);", "setTimeout(() => { throw new Error('on purpose'); }, 150);"]) {
         const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source(end))));
         const gone = new Promise((resolve) => worker.once('exit', resolve));
         worker.on('error', (error) => { if (error.message !== 'on purpose') throw error; });
         await new Promise((resolve) => worker.once('message', resolve));
         pinging.push(pings(3, '-f', '-w', '1'));
         await pause(120);
         if (end === '') await worker.terminate();
         await gone;
       }
       console.log(await pings(9, '-c', '2', '-i', '1'));
       await Promise.all(pinging);
       console.log(devices());
       await own.stop();`,
      { stdout: '2\ntun9' },
    ),
  );

  await t.test('stopped inside of a batch', (t) =>
    runs(
      t,
      place,
      `let seen = 0;
       const kernel = make(1, stackOf('mine', () => { if (seen++ === 20) void kernel.stop().then(() => console.log(told.join())); return true; }));
       await kernel.start();
       void pings(1, '-f', '-w', '1');`,
      { stdout: 'listener.stopped' },
    ),
  );

  await t.test('a stack that transfers the memory away ends the device, not the process', (t) =>
    runs(
      t,
      place,
      `for (const which of ['bytes', 'start']) {
         const kernel = make(1, stackOf('mine', (batch) => { if (batch[which].byteLength > 0) structuredClone(batch[which].buffer, { transfer: [batch[which].buffer] }); return true; }));
         await kernel.start();
         await pings(1, '-f', '-c', '50', '-w', '1');
         globalThis.gc();
         await kernel.stop();
       }
       console.log(told.filter((line) => line.startsWith('listener.failed')).join());`,
      {
        stdout:
          'listener.failed the TUN device tun1 is gone: its memory was transferred to another thread,listener.failed the TUN device tun1 is gone: its memory was transferred to another thread',
      },
    ),
  );

  await t.test('made and closed, again and again: descriptors and memory stay', (t) =>
    runs(
      t,
      place,
      `const { readdirSync } = await import('node:fs');
       const once = async () => { const kernel = make(1); await kernel.start(); await pings(1, '-f', '-c', '5'); await kernel.stop(); };
       for (let i = 0; i < 10; i++) await once();
       globalThis.gc(); await pause(50);
       const before = [readdirSync('/proc/self/fd').length, process.memoryUsage.rss()];
       for (let i = 0; i < ${full ? 1000 : 100}; i++) await once();
       globalThis.gc(); await pause(50);
       console.log(readdirSync('/proc/self/fd').length - before[0], devices() === '' ? 'no device' : devices(), process.memoryUsage.rss() - before[1] < 40e6 ? 'same' : process.memoryUsage.rss() - before[1]);`,
      { stdout: '0 no device same' },
    ),
  );

  await t.test('opened in vain, again and again: its memory goes', (t) =>
    runs(
      t,
      place,
      `const { findAddon } = await import('${CORE}native/load.js');
       const { openTunBy } = await import('${CORE}native/open-tun.js');
       const open = openTunBy(findAddon().addon);
       let refused = 0;
       for (let i = 0; i < 20; i++) for (const which of [{ name: 'lo' }, { name: '', fileDescriptor: 0 }]) try { open({ addresses: [], mtu: 1500, offload: true, warn() {}, ...which }); } catch { refused++; }
       globalThis.gc(); await pause(50); globalThis.gc(); await pause(50);
       console.log(refused, process.memoryUsage().arrayBuffers < 1e9 ? 'gone' : process.memoryUsage().arrayBuffers);`,
      { stdout: '40 gone' },
    ),
  );

  await t.test('the binding itself: wrong arguments, wrong order', (t) =>
    runs(
      t,
      place,
      `const { findAddon } = await import('${CORE}native/load.js');
       const { openSync, fstatSync } = await import('node:fs');
       const { Tun, netlink } = findAddon().addon;
       const sizes = { start: Uint32Array, end: Uint32Array, transport: Uint32Array, payload: Uint32Array, flow: Uint32Array, sequence: Uint32Array, acknowledgment: Uint32Array,
         version: Uint8Array, protocol: Uint8Array, flags: Uint8Array, sourcePort: Uint16Array, destinationPort: Uint16Array, window: Uint16Array, segmentSize: Uint16Array };
       const batch = () => ({ bytes: new Uint8Array(400_000), ...Object.fromEntries(Object.entries(sizes).map(([name, Type]) => [name, new Type(256)])) });
       const doubles = new Float64Array(500_000);
       let refused = 0;
       const refuses = (...args) => { try { new Tun(...args); } catch (error) { if (error instanceof TypeError) refused++; else throw error; } };
       for (const name of Object.keys(batch())) for (const bad of [undefined, null, 1, new Uint8Array(10), doubles, new DataView(new ArrayBuffer(8)), []]) refuses({ ...batch(), [name]: bad }, new Float64Array(10), () => {});
       for (const args of [[], [null], [batch(), new Float64Array(9), () => {}], [batch(), new Uint8Array(100), () => {}], [batch(), new Float64Array(10), 7]]) refuses(...args);
       const counts = [];
       const drops = new Float64Array(10);
       const arrays = batch();
       const tun = new Tun(arrays, drops, (count) => counts.push(count));
       const other = (use) => use(new Tun(batch(), new Float64Array(10), () => {}));
       const file = openSync('/proc/self/status');
       const results = [tun.name, tun.offload, tun.write(arrays.bytes, new Uint32Array([0, 20, 0]), 1), other((one) => one.adopt(-1)), other((one) => one.adopt(file)), other((one) => one.adopt('x')), other((one) => one.adopt(1e9)), other((one) => one.adopt(2 ** 32)), other((one) => one.adopt(NaN)), other((one) => one.open('x'.repeat(16), true, false)), other((one) => one.open('lo', true, false)),
         other((one) => [one.adopt(-1), one.open('', true, false), one.write(arrays.bytes, new Uint32Array([0, 20, 0]), 1), one.name, one.close()])];
       fstatSync(file); fstatSync(0); fstatSync(1);
       results.push(tun.open('', true, false), tun.open('', true, false), tun.name.startsWith('tun'));
       const write = (records, count, bytes = arrays.bytes) => tun.write(bytes, records, count);
       results.push(write(new Uint32Array(3), 1000), write(new Uint32Array([0, 4e9, 0]), 1), write(new Uint32Array([500_000, 500_020, 0]), 1), write(new Uint32Array([20, 0, 0]), 1), write([0, 20, 0], 1), write(new Uint8Array(3), 1), write(new Uint32Array(3), -1),
         write(new Uint32Array(3), 1, 'bytes'), write(), tun.write());
       arrays.bytes.fill(255); results.push(write(new Uint32Array([0, 399_999, 65_535]), 1));
       tun.close(); tun.close();
       results.push(tun.name, tun.open('', true, false), tun.adopt(0), write(new Uint32Array([0, 20, 0]), 1));
       for (let i = 0; i < 200; i++) new Tun(batch(), new Float64Array(10), () => {});
       globalThis.gc();
       for (const request of [undefined, new Uint8Array(0), new Uint8Array(15), new Uint8Array(16), new Uint8Array(100_000).fill(255), 'x']) results.push(typeof netlink(request));
       console.log(refused, JSON.stringify(results));`,
      {
        stdout:
          '110 ["",0,0,-9,-22,-9,-9,-9,-9,-36,-22,[-9,-114,0,"",null],0,-114,true,0,0,0,0,0,0,0,0,0,0,0,"",-114,-114,0,"number","number","number","number","number","number"]',
      },
    ),
  );
});
