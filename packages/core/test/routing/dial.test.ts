// What the kernel bears of an adapter that breaks the contract of `dialStream` and `dialPacket`.
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { never } from '../../dist/net/cancel.js';
import { NetError } from '../../dist/net/errors.js';
import type { PacketConn } from '../../dist/net/packet-conn.js';
import type { Session } from '../../dist/net/session.js';
import type { Stream } from '../../dist/net/stream.js';
import { handlePackets } from '../../dist/routing/handle-packets.js';
import { handleStream, routeStream } from '../../dist/routing/handle-stream.js';
import { pipePair, settle, within } from '../../dist/testing.js';
import { brokenStream } from '../support/broken-streams.js';
import { FakeConn, scene } from '../support/routing-scene.js';

const peer = { host: '192.0.2.1', port: 80 };
const session = (network: 'tcp' | 'udp'): Session => ({
  id: 1,
  network,
  inbound: 'in',
  inboundType: 'TEST',
  inboundPort: 1,
  source: { host: '127.0.0.1', port: 1 },
  requested: peer,
  destination: peer,
  signal: never,
});

/** A scene whose one adapter dials like this. */
function dialling(dialStream: () => Promise<Stream>, dialPacket: () => Promise<PacketConn> = () => Promise.reject(new NetError('denied', 'none'))) {
  const adapter: Adapter = { tag: 'bad', type: 'test', stream: { dialStream }, packet: { dialPacket } };
  return scene(['MATCH,bad'], [adapter, { tag: 'DIRECT', type: 'direct' }]);
}

/** A connection, up to its end or to `ended`. */
function connect(stage: ReturnType<typeof scene>) {
  const [client, near] = pipePair();
  const rejected: NetError[] = [];
  const done = handleStream({ session: session('tcp'), accept: () => Promise.resolve(near), reject: (error) => rejected.push(error) }, stage.routing);
  return { client, rejected, done };
}

t.test('what is no stream is a failed dial of the adapter that gave it', async (t) => {
  for (const made of [undefined, null, 5, {}, { read() {}, write() {} }, { ...brokenStream(), abort: undefined }]) {
    const stage = dialling(() => Promise.resolve(made as never));
    const { rejected, done } = connect(stage);
    await within(done);
    t.match(rejected, [{ code: 'BAD_ADAPTER', failure: 'protocol', message: 'the adapter "bad" gave something that is no stream' }]);
    t.match(stage.ended, [{ error: { code: 'BAD_ADAPTER' } }]);
    t.strictSame([stage.sessions.size, stage.timers.size], [0, 0]);
  }
});

t.test('nor is what is no association', async (t) => {
  const stage = dialling(
    () => Promise.reject(new NetError('denied', 'none')),
    () => Promise.resolve(undefined as never),
  );
  const client = new FakeConn();
  const done = handlePackets({ session: session('udp'), accept: () => client, reject: () => {} }, stage.routing);
  client.incoming.put({ bytes: Buffer.from('x'), peer });
  await settle();
  t.match(stage.ended, [{ error: { code: 'BAD_ADAPTER', message: 'the adapter "bad" gave something that is no UDP association' } }]);
  client.close();
  await within(done);
  t.strictSame([stage.sessions.size, stage.timers.size], [0, 0]);
});

t.test('a dial that does not heed its signal is over with it, and what comes of it then is aborted', async (t) => {
  let give: (stream: Stream) => void = () => {};
  const stage = dialling(() => new Promise((resolve) => (give = resolve)));
  const failed: string[] = [];
  stage.events.on('adapter.failed', ({ code }) => failed.push(code));
  const { rejected, done } = connect(stage);
  await settle();
  stage.sessions.abort(new NetError('aborted', 'the user', { code: 'CLOSED' }));
  await within(done);
  t.match(rejected, [{ code: 'CLOSED' }]);
  t.strictSame(failed, ['CLOSED']);
  t.strictSame([stage.sessions.size, stage.timers.size], [0, 0]);
  const aborted: Error[] = [];
  give({ ...brokenStream(), abort: (reason) => aborted.push(reason) });
  await settle();
  t.match(aborted, [{ code: 'CLOSED' }]);
});

t.test('a dial that never ends is over when no chain of adapters would take as long', async (t) => {
  const stage = dialling(() => new Promise(() => {}));
  const routed = await routeStream(session('tcp'), stage.routing);
  const dial = routed.dial();
  let isOver = false;
  void dial.catch(() => (isOver = true));
  await stage.clock.advance(1_279_000);
  t.notOk(isOver);
  await stage.clock.advance(1_500);
  await t.rejects(within(dial), { code: 'DIAL_TIMEOUT', failure: 'timeout' });
  t.match(routed.signal.reason, { code: 'DIAL_TIMEOUT' }, 'the dialer is told');
  routed.end(new NetError('timeout', 'over'));
  t.strictSame([stage.sessions.size, stage.timers.size], [0, 0]);
});

t.test('a stream that throws from every call ends its session', async (t) => {
  const stage = dialling(() => Promise.resolve(brokenStream('read', 'write', 'closeWrite', 'abort')));
  const { client, done } = connect(stage);
  await within(done);
  await t.rejects(client.read());
  t.match(stage.ended, [{ error: { message: 'read threw' } }]);
});

t.test('one whose abort throws, when the client cannot be told yes, does, too', async (t) => {
  const stage = dialling(() => Promise.resolve(brokenStream('abort')));
  await within(handleStream({ session: session('tcp'), accept: () => Promise.reject(new Error('it left')), reject: () => {} }, stage.routing));
  t.match(stage.ended, [{ error: { message: /it left/ } }]);
});

t.test('an inbound whose reject throws, or whose conn fails, ends its sessions all the same', async (t) => {
  const reject = (): never => {
    throw new Error('reject threw');
  };
  const refusing = (): ReturnType<typeof dialling> => dialling(() => Promise.reject(new NetError('denied', 'none')));
  const stage = refusing();
  await within(handleStream({ session: session('tcp'), accept: () => Promise.reject(new Error('not asked')), reject }, stage.routing));
  t.strictSame([stage.sessions.size, stage.timers.size], [0, 0]);

  const packets = refusing();
  const client = new FakeConn();
  const done = handlePackets({ session: session('udp'), accept: () => client, reject }, packets.routing);
  client.incoming.put({ bytes: Buffer.from('x'), peer });
  await settle();
  client.incoming.put({ bytes: Buffer.from('y'), peer });
  await settle();
  client.close();
  await within(done);
  t.strictSame([packets.sessions.size, packets.timers.size], [0, 0]);

  const remote = new FakeConn();
  const carrying = dialling(
    () => Promise.reject(new NetError('denied', 'none')),
    () => Promise.resolve(remote),
  );
  const reads = [
    Promise.resolve([{ bytes: Buffer.from('x'), peer }]),
    new Promise<never>((_resolve, fail) => setImmediate(() => fail(new Error('receive failed')))),
  ];
  const failing = Object.assign(new FakeConn(), { receive: () => reads.shift() ?? Promise.resolve(null) });
  await within(handlePackets({ session: session('udp'), accept: () => failing, reject: () => {} }, carrying.routing));
  await settle();
  t.ok(remote.closed);
  t.strictSame([carrying.sessions.size, carrying.timers.size], [0, 0]);
});
