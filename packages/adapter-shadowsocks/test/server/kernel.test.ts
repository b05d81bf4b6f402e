// The listener as people have it: in the config of a kernel.
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { createKernel, type Endpoint, encodeSocksAddress, type Kernel, NetError, type SessionSummary, type Stream, systemClock } from '@nekit/core';
import { allCiphers, collect, dialOptions, eventually, startEcho, testContext, within } from '@nekit/core/testing';
import t from 'tap';
import { clientCodec } from '../../dist/method.js';
import plugin from '../../dist/plugin.js';
import { SealedStream } from '../../dist/sealed-stream.js';
import { secretFor } from './listener.js';

const key = (fill: number): string => Buffer.alloc(16, fill).toString('base64');

const LISTENER = {
  ...{ name: 'ss', type: 'shadowsocks', port: 0, cipher: '2022-blake3-aes-128-gcm', password: key(1) },
  users: [
    { username: 'ann', password: key(2) },
    { username: 'bob', password: key(3) },
  ],
};

const [ciphers = assert.fail('no ciphers')] = allCiphers();

function tunnel(kernel: Kernel, user: number, port: number): Promise<Stream> {
  return tunnelTo(kernel, user, { host: '127.0.0.1', port });
}

async function tunnelTo(kernel: Kernel, user: number, destination: Endpoint): Promise<Stream> {
  const server = kernel.listeners()[0]?.endpoint ?? assert.fail('it does not listen');
  const base = await testContext().context.base.stream?.dialStream(server, dialOptions(server));
  const codec = clientCodec(ciphers, secretFor(ciphers, LISTENER.cipher, `${key(1)}:${key(user)}`), encodeSocksAddress(destination));
  return new SealedStream(base ?? assert.fail('direct has streams'), codec, { clock: systemClock, native: false, peer: 'server' });
}

void t.test('users and rules behind a listener', async (t) => {
  const echo = await startEcho();
  const kernel = createKernel({ listeners: [LISTENER], rules: ['IN-USER,bob,REJECT', 'IN-TYPE,SHADOWSOCKS,DIRECT', 'MATCH,REJECT'] }, { plugins: [plugin] });
  const closed: SessionSummary[] = [];
  kernel.on('session.closed', (event) => closed.push(event));
  await kernel.start();
  t.teardown(async () => {
    await kernel.stop();
    await echo.close();
  });

  const good = await tunnel(kernel, 2, echo.port);
  await good.write([Buffer.from('hello')]);
  await good.closeWrite();
  assert.equal((await within(collect(good))).toString(), 'hello');
  await eventually(() => closed.length === 1);
  assert.deepEqual(
    { user: closed[0]?.user, inbound: closed[0]?.inbound, adapter: closed[0]?.adapter, up: closed[0]?.up, down: closed[0]?.down, error: closed[0]?.error },
    {
      user: 'ann',
      inbound: 'ss',
      adapter: 'DIRECT',
      up: 5,
      down: 5,
      error: null,
    },
  );

  const refused = await tunnel(kernel, 3, echo.port);
  await refused.write([Buffer.from('hello')]);
  await assert.rejects(within(collect(refused)), { failure: 'aborted' }); // a rule said no: a reset
  await eventually(() => closed.length === 2);
  assert.equal(closed[1]?.user, 'bob');
  assert.equal(echo.accepted(), 1);
});

void t.test('what was recorded stays refused after a reload, on every listener with the key', async (t) => {
  const echo = await startEcho();
  const rules = ['MATCH,DIRECT'];
  const kernel = createKernel({ listeners: [LISTENER], rules }, { plugins: [plugin] });
  await kernel.start();
  t.teardown(async () => {
    await kernel.stop();
    await echo.close();
  });
  const request = (): Uint8Array => {
    const header = encodeSocksAddress({ host: '127.0.0.1', port: echo.port });
    return clientCodec(ciphers, secretFor(ciphers, LISTENER.cipher, `${key(1)}:${key(2)}`), header).seal(Buffer.from('hello'));
  };
  const answered = async (bytes: Uint8Array, listener = 0): Promise<boolean> => {
    const server = kernel.listeners()[listener]?.endpoint ?? assert.fail('it does not listen');
    const wire = (await testContext().context.base.stream?.dialStream(server, dialOptions(server))) ?? assert.fail('direct has streams');
    await wire.write([Uint8Array.from(bytes)]);
    await wire.closeWrite();
    return (await within(collect(wire))).length > 0;
  };
  const recorded = request();
  assert.equal(await answered(recorded), true);
  assert.equal(await answered(recorded), false);
  const changed = { ...LISTENER, type: 'ss', users: [...LISTENER.users, { username: 'cy', password: key(4) }] };
  await kernel.reload({ listeners: [changed, { ...LISTENER, name: 'other' }], rules });
  for (const listener of [0, 1]) {
    assert.equal(await answered(recorded, listener), false);
    assert.equal(await answered(request(), listener), true);
  }
});

void t.test("UDP inside of a connection for one peer: its answers come, by address and by name, and nobody else's", async (t) => {
  const bound = async (): Promise<dgram.Socket> => {
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    return socket;
  };
  const [target, stranger] = [await bound(), await bound()];
  target.on('message', (bytes, { port, address }) => {
    stranger.send('stranger', port, address, () => target.send(bytes, port, address));
  });
  const kernel = createKernel({ listeners: [LISTENER], hosts: { 'target.example': '127.0.0.1' }, rules: ['MATCH,DIRECT'] }, { plugins: [plugin] });
  await kernel.start();
  t.teardown(async () => {
    await kernel.stop();
    target.close();
    stranger.close();
  });
  const { port } = target.address();
  for (const host of ['127.0.0.1', 'target.example']) {
    const stream = await tunnelTo(kernel, 2, { host: 'sp.v2.udp-over-tcp.arpa', port: 443 });
    await stream.write([Buffer.from([1]), encodeSocksAddress({ host, port }), Buffer.from('\0\x02hi')]);
    for (const text of ['hi', 'again']) {
      if (text !== 'hi') await stream.write([Buffer.from(`\0${String.fromCharCode(text.length)}${text}`)]);
      const got = Buffer.concat((await within(stream.read())) ?? []);
      assert.equal(got.toString('latin1'), `\0${String.fromCharCode(text.length)}${text}`, host);
    }
    stream.abort(new NetError('aborted', 'enough'));
  }
});

void t.test('errors of a listener stand at its keys', async (t) => {
  const message = (over: object): string => {
    try {
      createKernel({ listeners: [{ ...LISTENER, ...over }] }, { plugins: [plugin] });
      return '';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  for (const [over, pattern] of [
    [{}, /^$/],
    [{ cipher: '2022-blake3-aes-182-gcm' }, /cipher.*Did you mean "2022-blake3-aes-128-gcm"/s],
    [{ password: 'c2hvcnQ=' }, /password.*5 bytes/s],
    [{ cipher: 'aes-256-gcm' }, /users.*need a 2022 cipher/s],
    [{ users: [{ username: 'ann', password: 'c2hvcnQ=' }] }, /users.*password.*5 bytes/s],
    [{ port: 70_000 }, /port/],
    [{ password: undefined }, /password/],
  ] as const) {
    await t.test(JSON.stringify(over), () => {
      assert.match(message(over), pattern);
      return Promise.resolve();
    });
  }
});
