// The kernel as an embedder uses it, with the plugins that the command brings.
import assert from 'node:assert/strict';
import net from 'node:net';
import { httpPlugin } from '@nekit/adapter-http';
import { socks5Plugin } from '@nekit/adapter-socks5';
import { createKernel, type EventName, isConfigError, type Kernel, type KernelInput, type KernelOptions, NekitError, parseConfig } from '@nekit/core';
import { eventually, startEcho, startTarget, type Target, within } from '@nekit/core/testing';
import t from 'tap';

const plugins = [httpPlugin, socks5Plugin];
const MIXED = { name: 'mixed', type: 'mixed', listen: '127.0.0.1', port: 0 } as const;

function kernelWith(config: KernelInput = {}, options: KernelOptions = {}): Kernel {
  return createKernel({ listeners: [MIXED], ...config }, { plugins, ...options });
}

function portOf(kernel: Kernel, name = 'mixed'): number {
  const port = kernel.listeners().find((listener) => listener.name === name)?.endpoint?.port;
  assert.ok(port !== undefined, `no listener ${name}`);
  return port;
}

/** Client sockets of all tests; those that a test left open are closed at its end. */
const clients = new Set<net.Socket>();

/** A SOCKS5 CONNECT by hand: the socket once the reply has come, and its REP byte. */
async function socks(port: number, target: { host: string; port: number }): Promise<{ socket: net.Socket; rep: number }> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  clients.add(socket);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => clients.delete(socket));
  const name = Buffer.from(target.host);
  socket.write(Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, name.length]), name, Buffer.from([target.port >> 8, target.port & 0xff])]));
  const reply = await within(readExactly(socket, 12), 5_000, 'the SOCKS reply');
  return { socket, rep: reply[3] ?? -1 };
}

function readExactly(socket: net.Socket, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let all = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      all = Buffer.concat([all, chunk]);
      if (all.length < length) return;
      socket.off('data', onData);
      socket.pause();
      if (all.length > length) socket.unshift(all.subarray(length));
      resolve(all.subarray(0, length));
    };
    socket.on('data', onData);
    socket.once('close', () => reject(new Error(`closed after ${all.length} bytes`)));
  });
}

async function ask(socket: net.Socket, text: string): Promise<string> {
  socket.write(text);
  const answer = readExactly(socket, text.length);
  socket.resume();
  return (await within(answer)).toString();
}

async function running<T>(kernel: Kernel, use: (kernel: Kernel) => Promise<T>): Promise<T> {
  await kernel.start();
  try {
    return await use(kernel);
  } finally {
    for (const socket of clients) socket.destroy();
    await within(kernel.stop(), 15_000, 'kernel.stop()');
  }
}

async function withEcho<T>(use: (echo: Target) => Promise<T>): Promise<T> {
  const echo = await startEcho();
  try {
    return await use(echo);
  } finally {
    await echo.close();
  }
}

void t.test('start and stop', async (t) => {
  await t.test('carries a connection, and stop leaves nothing behind', () =>
    withEcho(async (echo) => {
      const kernel = kernelWith();
      await running(kernel, async () => {
        const { socket, rep } = await socks(portOf(kernel), { host: '127.0.0.1', port: echo.port });
        assert.equal(rep, 0);
        assert.equal(await ask(socket, 'ping'), 'ping');
        const [session] = kernel.sessions();
        t.equal(kernel.sessionCount, 1);
        assert.equal(session?.adapter, 'DIRECT');
        assert.deepEqual([session?.up, session?.down], [4, 4]);
        socket.end();
        await eventually(() => kernel.sessions().length === 0);
      });
      assert.deepEqual(kernel.listeners(), []);
      await eventually(() => echo.connections() === 0);
    }),
  );

  await t.test('two kernels in one process share nothing', () =>
    withEcho(async (echo) => {
      const one = kernelWith({ rules: ['MATCH,REJECT'], proxies: [{ name: 'same', type: 'reject', delay: 0 }] });
      const two = kernelWith({ proxies: [{ name: 'same', type: 'direct' }], rules: ['MATCH,same'] });
      await running(one, () =>
        running(two, async () => {
          assert.equal((await socks(portOf(one), { host: '127.0.0.1', port: echo.port })).rep, 2);
          const { socket, rep } = await socks(portOf(two), { host: '127.0.0.1', port: echo.port });
          assert.equal(rep, 0);
          await within(one.stop());
          assert.equal(await ask(socket, 'still here'), 'still here');
          socket.destroy();
        }),
      );
    }),
  );

  await t.test('stop drains: what is under way may finish, what does not is aborted after the grace time', () =>
    withEcho(async (echo) => {
      const patient = kernelWith({}, { timeouts: { drain: 10_000 } });
      await patient.start();
      const first = await socks(portOf(patient), { host: '127.0.0.1', port: echo.port });
      const stopped = patient.stop();
      assert.equal(await ask(first.socket, 'last words'), 'last words');
      first.socket.end();
      await within(stopped, 5_000, 'stop after the last session');
      const strict = kernelWith({}, { timeouts: { drain: 50 } });
      await strict.start();
      const second = await socks(portOf(strict), { host: '127.0.0.1', port: echo.port });
      const closed = new Promise<void>((resolve) => second.socket.once('close', () => resolve()));
      await within(strict.stop(), 5_000, 'stop with a session that stays');
      await within(closed);
    }),
  );

  await t.test('a port in use is one clear error, and nothing is left open', async () => {
    const taken = await startTarget((socket) => socket.destroy());
    const kernel = kernelWith({ listeners: [MIXED, { name: 'second', type: 'socks', port: taken.port }] });
    await assert.rejects(
      kernel.start(),
      (error) => error instanceof NekitError && error.code === 'LISTEN_FAILED' && /second.*127\.0\.0\.1.*in use/.test(error.message),
    );
    assert.deepEqual(kernel.listeners(), []);
    await taken.close();
  });

  await t.test('stopped while a plugin still starts: no port is opened afterwards', async () => {
    let started = (): void => {};
    const slow = { name: 'slow', api: 1, setup: () => undefined, start: () => new Promise<void>((resolve) => (started = resolve)) };
    const kernel = kernelWith({}, { plugins: [...plugins, slow] });
    const starting = kernel.start();
    const failed = assert.rejects(starting);
    const stopping = kernel.stop();
    started();
    await within(Promise.all([failed, stopping]));
    assert.deepEqual(kernel.listeners(), []);
  });

  await t.test('start is once only; stop without start and twice is fine', async () => {
    const kernel = kernelWith();
    await kernel.start();
    await assert.rejects(kernel.start(), (error) => error instanceof NekitError && error.code === 'ALREADY_STARTED');
    await Promise.all([kernel.stop(), kernel.stop()]);
    await kernelWith().stop();
  });
});

void t.test('reload', async (t) => {
  await t.test('new sessions follow the new rules, old ones live on, unchanged listeners stay', () =>
    withEcho(async (echo) => {
      const kernel = kernelWith({ rules: ['MATCH,DIRECT'] });
      await running(kernel, async () => {
        const port = portOf(kernel);
        const old = await socks(port, { host: '127.0.0.1', port: echo.port });
        await kernel.reload({ listeners: [MIXED], rules: ['MATCH,REJECT'] });
        assert.equal(portOf(kernel), port);
        assert.equal((await socks(port, { host: '127.0.0.1', port: echo.port })).rep, 2);
        assert.equal(await ask(old.socket, 'alive'), 'alive');
        old.socket.destroy();
      });
    }),
  );

  await t.test('listeners come and go', () =>
    withEcho(async (echo) => {
      const kernel = kernelWith();
      await running(kernel, async () => {
        const gone = portOf(kernel);
        await kernel.reload({ listeners: [{ ...MIXED, name: 'other', type: 'socks' }] });
        assert.equal((await socks(portOf(kernel, 'other'), { host: '127.0.0.1', port: echo.port })).rep, 0);
        await assert.rejects(socks(gone, { host: '127.0.0.1', port: echo.port }));
      });
    }),
  );

  await t.test('a bad config is refused and the old one stays in force', () =>
    withEcho(async (echo) => {
      const kernel = kernelWith();
      await running(kernel, async () => {
        await assert.rejects(kernel.reload(parseConfig('rules: [ "MATCH,nowhere" ]\nmixed-port: x', 'new.yaml')), isConfigError);
        assert.equal((await socks(portOf(kernel), { host: '127.0.0.1', port: echo.port })).rep, 0);
      });
    }),
  );

  await t.test('a listener that cannot start leaves the old listeners running', () =>
    withEcho(async (echo) => {
      const kernel = kernelWith();
      await running(kernel, async () => {
        const heard: string[] = [];
        kernel.on('listener.started', ({ listener }) => heard.push(`${listener} started`));
        kernel.on('listener.stopped', ({ listener }) => heard.push(`${listener} stopped`));
        const bad = { name: 'bad', type: 'socks', port: echo.port };
        await assert.rejects(
          kernel.reload({ listeners: [{ name: 'new', type: 'socks', port: 0 }, bad], rules: ['MATCH,REJECT'] }),
          (error) => error instanceof NekitError && error.code === 'LISTEN_FAILED',
        );
        assert.deepEqual(heard, ['mixed stopped', 'new started', 'new stopped', 'mixed started'], 'nothing of the new config stays');
        assert.deepEqual(
          kernel.listeners().map(({ name }) => name),
          ['mixed'],
        );
        assert.equal((await socks(portOf(kernel), { host: '127.0.0.1', port: echo.port })).rep, 0);
      });
    }),
  );

  await t.test('what cannot change says so', async () => {
    const kernel = kernelWith();
    await assert.rejects(
      kernel.reload({ listeners: [MIXED], 'max-connections': 5 }),
      (error) => error instanceof NekitError && error.code === 'RESTART_NEEDED' && /max-?connections/i.test(error.message),
    );
    await kernel.stop();
  });

  await t.test('several at once take effect one after the other, and none after stop', async () => {
    const kernel = kernelWith();
    await kernel.start();
    const named = (name: string): KernelInput => ({ listeners: [{ ...MIXED, name }] });
    await Promise.all([kernel.reload(named('one')), kernel.reload(named('two'))]);
    assert.deepEqual(
      kernel.listeners().map(({ name }) => name),
      ['two'],
    );
    const late = kernel.reload(named('three'));
    await Promise.all([late.catch(() => undefined), kernel.stop()]);
    assert.deepEqual(kernel.listeners(), []);
    await assert.rejects(kernel.reload(named('four')), (error) => error instanceof NekitError && error.code === 'STOPPED');
    assert.deepEqual(kernel.listeners(), []);
  });

  await t.test('a choice in a group is kept while the group has the member', async () => {
    const config: KernelInput = { 'proxy-groups': [{ name: 'pick', type: 'select', proxies: ['DIRECT', 'REJECT'] }], rules: ['MATCH,pick'] };
    const kernel = kernelWith(config);
    kernel.select('pick', 'REJECT');
    await kernel.reload({ listeners: [MIXED], ...config });
    assert.equal((await kernel.explain({ destination: { host: 'a.example', port: 80 } })).adapter, 'REJECT');
    assert.throws(
      () => kernel.select('pick', 'nobody'),
      (error) => error instanceof NekitError && error.code === 'UNKNOWN_MEMBER',
    );
    assert.throws(
      () => kernel.select('DIRECT', 'x'),
      (error) => error instanceof NekitError && error.code === 'NOT_SELECTABLE',
    );
    await kernel.stop();
  });
});

void t.test('events tell a session from wish to end', () =>
  withEcho(async (echo) => {
    const kernel = kernelWith({ rules: ['DOMAIN,other.example,REJECT', 'MATCH,DIRECT'] });
    const names: EventName[] = [];
    const watched: EventName[] = [
      'kernel.started',
      'listener.started',
      'connection.accepted',
      'request.received',
      'session.opened',
      'rule.missed',
      'rule.matched',
      'adapter.dialing',
      'adapter.ready',
      'request.accepted',
      'session.connected',
      'session.closed',
      'connection.closed',
      'listener.stopped',
      'kernel.stopped',
    ];
    for (const name of watched) kernel.on(name, () => names.push(name));
    let summary: unknown = null;
    kernel.on('session.closed', (event) => (summary = event));
    await running(kernel, async () => {
      const { socket } = await socks(portOf(kernel), { host: '127.0.0.1', port: echo.port });
      await ask(socket, 'hello');
      socket.end();
      socket.resume();
      await eventually(() => names.includes('connection.closed'));
    });
    assert.deepEqual(names, [
      'listener.started',
      'kernel.started',
      'connection.accepted',
      'request.received',
      'session.opened',
      'rule.missed',
      'rule.matched',
      'adapter.dialing',
      'adapter.ready',
      'request.accepted',
      'session.connected',
      'session.closed',
      'connection.closed',
      'listener.stopped',
      'kernel.stopped',
    ]);
    const { at, ms, source, ...rest } = summary as { at: number; ms: number; source: { host: string } };
    assert.ok(Math.abs(at - Date.now()) < 60_000 && ms >= 0);
    assert.equal(source.host, '127.0.0.1');
    assert.deepEqual(rest, {
      session: 1,
      network: 'tcp',
      inbound: 'mixed',
      inboundType: 'SOCKS5',
      destination: { host: '127.0.0.1', port: echo.port },
      sniffed: null,
      user: null,
      rule: 'MATCH,DIRECT',
      adapter: 'DIRECT',
      chain: [],
      up: 5,
      down: 5,
      error: null,
    });
  }),
);

void t.test('connection.closed comes before kernel.stopped', async () => {
  const kernel = kernelWith();
  const names: EventName[] = [];
  for (const name of ['connection.accepted', 'connection.closed', 'kernel.stopped'] as const) kernel.on(name, () => names.push(name));
  await kernel.start();
  const idle = net.connect({ port: portOf(kernel), host: '127.0.0.1' });
  idle.on('error', () => idle.destroy());
  await eventually(() => names.length === 1);
  await within(kernel.stop());
  assert.deepEqual(names, ['connection.accepted', 'connection.closed', 'kernel.stopped']);
});

void t.test('the leaf is named through groups, a race included', () =>
  withEcho(async (echo) => {
    const kernel = kernelWith({
      proxies: [
        { name: 'dead', type: 'http', server: '127.0.0.1', port: 9 },
        { name: 'alive', type: 'direct' },
      ],
      'proxy-groups': [
        { name: 'fast', type: 'race', proxies: ['dead', 'alive'], delays: [0, 0] },
        { name: 'outer', type: 'select', proxies: ['fast'] },
      ],
      rules: ['MATCH,outer'],
    });
    await running(kernel, async () => {
      const { socket, rep } = await socks(portOf(kernel), { host: '127.0.0.1', port: echo.port });
      assert.equal(rep, 0);
      const [session] = kernel.sessions();
      assert.deepEqual([session?.adapter, session?.chain], ['alive', ['outer', 'fast']]);
      kernel.closeSession(session?.id ?? 0);
      await within(new Promise<void>((resolve) => socket.once('close', () => resolve())));
    });
  }),
);

void t.test('session.traffic counts while somebody listens', () =>
  withEcho(async (echo) => {
    const kernel = kernelWith();
    let seen = { up: 0, down: 0 };
    kernel.on('session.traffic', ({ up, down }) => (seen = { up, down }));
    await running(kernel, async () => {
      const { socket } = await socks(portOf(kernel), { host: '127.0.0.1', port: echo.port });
      await ask(socket, 'count me');
      await eventually(() => seen.up === 8 && seen.down === 8);
      socket.destroy();
    });
  }),
);

void t.test('limits and access', async (t) => {
  await t.test('more connections than max-connections are turned away, and room that is free again is used', () =>
    withEcho(async (echo) => {
      const kernel = kernelWith({ 'max-connections': 2 });
      const refused: string[] = [];
      kernel.on('connection.refused', ({ reason }) => refused.push(reason));
      await running(kernel, async () => {
        const target = { host: '127.0.0.1', port: echo.port };
        const held = [await socks(portOf(kernel), target), await socks(portOf(kernel), target)];
        await assert.rejects(socks(portOf(kernel), target));
        assert.deepEqual(refused, ['limit']);
        for (const { socket } of held) socket.destroy();
        await eventually(() => kernel.sessions().length === 0);
        await eventually(async () => (await socks(portOf(kernel), target).catch(() => ({ rep: -1 }))).rep === 0);
      });
    }),
  );

  await t.test('loops: our own listeners are not dialled, by whatever name', async () => {
    const kernel = kernelWith({ listeners: [MIXED, { name: 'http', type: 'http', port: 0 }], hosts: { 'loop.example': '127.0.0.1' } });
    await running(kernel, async () => {
      for (const name of ['mixed', 'http']) {
        const port = portOf(kernel, name);
        for (const host of ['127.0.0.1', 'localhost', '0x7f.1', '2130706433', '::ffff:127.0.0.1', '0.0.0.0', 'loop.example']) {
          assert.equal((await socks(portOf(kernel), { host, port })).rep, 2, `${host} ${name}`);
        }
      }
    });
  });

  await t.test('an odd spelling of an address meets the rule for the address', async () => {
    for (const host of ['127.0.0.1', '0x7f.1', '2130706433', '0177.0.0.1', '127.1', '::ffff:127.0.0.1', '[::ffff:7f00:1]']) {
      await running(kernelWith({ rules: ['IP-CIDR,127.0.0.0/8,REJECT', 'MATCH,DIRECT'] }), async (each) => {
        assert.equal((await socks(portOf(each), { host, port: 9 })).rep, 2, host);
      });
    }
  });

  await t.test('mode direct and mode global do not ask the rules', async () => {
    const rules = ['MATCH,REJECT'];
    const destination = { host: 'a.example', port: 80 };
    assert.equal((await kernelWith({ mode: 'direct', rules }).explain({ destination })).adapter, 'DIRECT');
    const own = kernelWith({ mode: 'global', rules, 'proxy-groups': [{ name: 'GLOBAL', type: 'select', proxies: ['REJECT-DROP'] }] });
    assert.equal((await own.explain({ destination })).adapter, 'REJECT-DROP');
    const plain = kernelWith({ mode: 'global', rules });
    assert.deepEqual((await plain.explain({ destination })).chain, ['GLOBAL']);
    assert.equal((await plain.explain({ destination })).adapter, 'DIRECT');
  });

  await t.test('PASS goes on to the next rule; an unsupported proxy stays listed and refuses', async () => {
    const kernel = kernelWith({
      proxies: [{ name: 'exotic', type: 'vmess', server: 'x.example', port: 1 }],
      rules: ['DOMAIN,a.example,PASS', 'DOMAIN,a.example,exotic', 'MATCH,DIRECT'],
    });
    assert.equal((await kernel.explain({ destination: { host: 'a.example', port: 80 } })).adapter, 'exotic');
    assert.ok(kernel.warnings.some((problem) => problem.message.includes('vmess')));
    assert.equal((await kernel.explain({ destination: { host: 'a.example', port: 80 }, network: 'udp' })).adapter, 'exotic', 'UDP does not leak past it');
    await running(kernel, async () => {
      assert.equal((await socks(portOf(kernel), { host: 'a.example', port: 80 })).rep, 2);
    });
  });
});
