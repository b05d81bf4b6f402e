// Packets of UDP that somebody plays back, at listeners with real sockets.
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { createKernel, EVENTS, type PacketRequest } from '@nekit/core';
import { allCiphers, eventually, FakeClock, testContext, testInboundContext } from '@nekit/core/testing';
import t from 'tap';
import { type ClientCodec, clientPacketCodec } from '../../dist/packet/client-codec.js';
import { SeenSessions } from '../../dist/packet/seen-sessions.js';
import { ServerPackets } from '../../dist/packet/server-packets.js';
import plugin from '../../dist/plugin.js';
import { PEER, secretFor } from '../packet-secrets.js';
import { secretFor as secretOf } from './listener.js';

const [ciphers = assert.fail('no ciphers')] = allCiphers();
const realTime = { monotonic: () => performance.now(), wall: Date.now };

async function socketOn(host: string): Promise<dgram.Socket> {
  const socket = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  t.teardown(() => socket.close());
  return socket;
}

function sealed(codec: ClientCodec, payload: string, peer = PEER): Buffer {
  const out = Buffer.alloc(codec.room(payload.length));
  return out.subarray(0, codec.seal(peer, Buffer.from(payload), out, 0));
}

void t.test('what was recorded stays refused after a reload, on every listener with the key', async (t) => {
  const key = (fill: number): string => Buffer.alloc(16, fill).toString('base64');
  const user = (username: string, fill: number): { username: string; password: string } => ({ username, password: key(fill) });
  const [ann, bob, cy] = [user('ann', 2), user('bob', 3), user('cy', 4)];
  const listener = { name: 'ss', type: 'shadowsocks', port: 0, cipher: '2022-blake3-aes-128-gcm', password: key(1), users: [ann, bob] };
  const rules = ['MATCH,DIRECT'];
  const target = await socketOn('127.0.0.1');
  const got: string[] = [];
  target.on('message', (bytes) => got.push(bytes.toString()));
  const kernel = createKernel({ listeners: [listener, { ...listener, name: 'other' }], rules }, { plugins: [plugin] });
  await kernel.start();
  t.teardown(() => kernel.stop());
  const client = (): ClientCodec => clientPacketCodec(ciphers, secretOf(ciphers, listener.cipher, `${key(1)}:${key(2)}`), realTime);
  const packet = (codec: ClientCodec, payload: string): Buffer => sealed(codec, payload, { host: '127.0.0.1', port: target.address().port });
  const socket = await socketOn('127.0.0.1');
  let expected = 0;
  /** What comes of the packet: of one that is refused nothing, and behind it goes one of another session, to wait for. */
  const send = async (bytes: Buffer, index: number, wanted: readonly string[]): Promise<void> => {
    const { port } = kernel.listeners()[index]?.endpoint ?? assert.fail('it does not listen');
    const mark = `mark ${++expected}`;
    got.length = 0;
    for (const each of [bytes, packet(client(), mark)]) socket.send(each, port, '127.0.0.1');
    await eventually(() => [mark, ...wanted].every((text) => got.includes(text)));
    assert.equal(got.length, wanted.length + 1, got.join(', '));
  };
  const codec = client();
  const recorded = packet(codec, 'pay 1 coin');
  await send(recorded, 0, ['pay 1 coin']);
  for (const index of [0, 1]) await send(recorded, index, []); // while its session is open
  await kernel.reload({
    listeners: [
      { ...listener, type: 'ss', users: [cy, bob, ann] },
      { ...listener, name: 'new' },
    ],
    rules,
  });
  for (const index of [0, 1]) {
    await send(recorded, index, []); // the reload has ended it
    await send(packet(codec, 'goes on'), index, ['goes on']);
  }
});

void t.test('too many sessions are told of, but not for each packet', async (t) => {
  const secret = secretFor(ciphers, '2022-blake3-aes-256-gcm');
  const clock = new FakeClock();
  const { context } = testContext({ clock });
  const failed: string[] = [];
  context.get(EVENTS).on('request.failed', ({ listener, source, code }) => failed.push(`${listener} ${source.host} ${code}`));
  const handlePackets = async (request: PacketRequest): Promise<void> => {
    const conn = request.accept();
    await conn.receive();
    conn.close();
  };
  const inbound = testInboundContext({ get: context.get, handlePackets });
  const seen = new SeenSessions(() => clock.now(), 2);
  const server = new ServerPackets(secret, [], { host: '127.0.0.1', port: 0 }, inbound, { seen });
  server.start();
  t.teardown(() => server.stop());
  const socket = await socketOn('127.0.0.1');
  const send = async (count: number): Promise<void> => {
    const before = server.dropped + seen.ended;
    for (let i = 0; i < count; i++) socket.send(sealed(clientPacketCodec(ciphers, secret, realTime), 'x'), server.port, '127.0.0.1');
    await eventually(() => server.dropped + seen.ended === before + count);
  };
  await send(2);
  assert.deepEqual([server.dropped, failed], [0, []]);
  await send(3);
  assert.deepEqual([server.dropped, failed], [3, ['in 127.0.0.1 SS_BUSY']]);
  await clock.advance(60_000);
  await send(2);
  assert.equal(failed.length, 2, 'again after a minute');
});
