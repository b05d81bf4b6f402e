/** Whatever comes off the wire: never a crash, never a hang, never a target that was not asked for. `NEKIT_FULL=1`: 1,000 runs of each. */
import dgram from 'node:dgram';
import { CancelSource, type Endpoint, encodeSocksAddress, isNetError, NetError, type Stream, type Users } from '@nekit/core';
import { collect, FakeClock, pipePair, settle, testContext, testInboundContext, within } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { shakeHands } from '../dist/client-handshake.js';
import { parseSocks5Uri } from '../dist/config.js';
import { PeerTable } from '../dist/peer-table.js';
import { socksProtocol } from '../dist/protocol.js';
import { parseRelayed } from '../dist/udp-header.js';
import { bytes, startInbound, usersOf } from './inbound-server.js';

const numRuns = process.env.NEKIT_FULL === '1' ? 1_000 : 300;
const HANDSHAKE = 1_000;
const USERS = usersOf({ alice: 'secret' });

// ---- An oracle: the RFCs once more, on whole buffers -----------------------------------------------------------------------------------

/** Reads like a strict server; undefined where bytes are missing. */
class Cursor {
  at = 0;
  readonly all: Buffer;
  constructor(all: Uint8Array) {
    this.all = Buffer.from(all);
  }
  take(length: number): Buffer {
    if (this.at + length > this.all.length) throw new Missing();
    this.at += length;
    return this.all.subarray(this.at - length, this.at);
  }
  byte(): number {
    return this.take(1).readUInt8();
  }
  text(limit: number): Buffer {
    const end = this.all.indexOf(0, this.at);
    if (end === -1 || end - this.at > limit) throw new Missing();
    const text = this.take(end - this.at);
    this.at++;
    return text;
  }
}
class Missing extends Error {}

/** The only target that these bytes may lead to, or null. */
function targetOf(sent: Uint8Array, users: Users | null): Endpoint | null {
  try {
    const cursor = new Cursor(sent);
    const version = cursor.byte();
    return version === 5 ? target5(cursor, users) : version === 4 && users === null ? target4(cursor) : null;
  } catch (error) {
    if (error instanceof Missing) return null;
    throw error;
  }
}

function target5(cursor: Cursor, users: Users | null): Endpoint | null {
  const methods = cursor.take(cursor.byte());
  if (users !== null || !methods.includes(0)) {
    if (!methods.includes(2) || cursor.byte() !== 1) return null;
    const name = cursor.take(cursor.byte());
    const password = cursor.take(cursor.byte());
    if (users !== null && !(name.equals(Buffer.from('alice')) && password.equals(Buffer.from('secret')))) return null;
  }
  if (cursor.byte() !== 5 || cursor.byte() !== 1) return null;
  cursor.byte();
  const host = hostAt(cursor, cursor.byte());
  const port = cursor.take(2).readUInt16BE();
  return host === null || port === 0 ? null : { host, port };
}

function target4(cursor: Cursor): Endpoint | null {
  const command = cursor.byte();
  const port = cursor.take(2).readUInt16BE();
  const address = cursor.take(4);
  cursor.text(255);
  const named = address.readUInt32BE() < 256 && address.readUInt32BE() > 0;
  const host = named ? canonical(cursor.text(255).toString()) : [...address].join('.');
  return command !== 1 || port === 0 || host === null ? null : { host, port };
}

function hostAt(cursor: Cursor, type: number): string | null {
  if (type === 1) return [...cursor.take(4)].join('.');
  if (type === 3) return canonical(cursor.take(cursor.byte()).toString());
  if (type !== 4) return null;
  const words = cursor.take(16).toString('hex').match(/.{4}/g) ?? [];
  const mapped = words.slice(0, 6).join('') === '00000000000000000000ffff';
  return canonical(mapped ? [...Buffer.from(words.slice(6).join(''), 'hex')].join('.') : `[${words.join(':')}]`);
}

/** By the URL standard's host parser, which is not what the code under test uses. It is laxer than DNS: the rest is checked here. */
function canonical(name: string): string | null {
  const url = `http://${name.includes(':') && !name.startsWith('[') ? `[${name}]` : name.replace(/\.$/, '')}/`;
  if (/[%/\\@]/.test(name) || Buffer.from(name).some((byte) => byte <= 0x20) || !URL.canParse(url)) return null; // these it would decode or leave out
  const { host, hostname, pathname, search, hash, username } = new URL(url);
  if (host !== hostname || pathname !== '/' || search + hash + username !== '') return null;
  if (hostname.startsWith('[')) return hostname.slice(1, -1);
  const labels = hostname.split('.');
  return hostname.length <= 253 && labels.every((label) => /^[a-z0-9_-]{1,63}$/.test(label)) ? hostname : null;
}

// ---- Inputs: bytes at random, and right ones with something wrong in them ---------------------------------------------------------------

const RIGHT = [
  bytes('05 01 00 05 01 00 01 c0000201 0050'),
  bytes("05 01 00 05 01 00 03 0b 'example.com' 0050"),
  bytes('05 01 00 05 01 00 04 20010db8000000000000000000000001 01bb'),
  bytes("05 02 00 02 01 05 'alice' 06 'secret' 05 01 00 01 c0000201 0050"),
  bytes("05 01 02 01 05 'alice' 06 'secret' 05 01 00 03 06 '0x7f.1' 0050"),
  bytes("04 01 0050 c0000201 'me' 00"),
  bytes("04 01 0050 00000001 'me' 00 'example.com' 00"),
  bytes('05 01 00 05 02 00 01 c0000201 0050'),
];

const damaged = (right: readonly Buffer[]): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(
      fc.constantFrom(...right),
      fc.array(fc.tuple(fc.constantFrom('flip', 'cut', 'insert', 'remove', 'byte'), fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.uint8Array({ maxLength: 20 }),
    )
    .map(([whole, damages, behind]) => {
      let damagedBytes = Buffer.concat([whole, behind]);
      for (const [kind, where, value] of damages) {
        const at = damagedBytes.length === 0 ? 0 : where % damagedBytes.length;
        if (kind === 'flip') damagedBytes[at] = (damagedBytes[at] ?? 0) ^ (1 << (value % 8));
        else if (kind === 'byte') damagedBytes[at] = value;
        else if (kind === 'cut') damagedBytes = damagedBytes.subarray(0, at);
        else if (kind === 'remove') damagedBytes = Buffer.concat([damagedBytes.subarray(0, at), damagedBytes.subarray(at + 1)]);
        else damagedBytes = Buffer.concat([damagedBytes.subarray(0, at), Buffer.of(value), damagedBytes.subarray(at)]);
      }
      return damagedBytes;
    });

const begin = fc.tuple(fc.constantFrom(4, 5), fc.uint8Array({ maxLength: 600 })).map(([version, rest]) => Buffer.of(version, ...rest));
const input = fc.oneof({ weight: 3, arbitrary: damaged(RIGHT) }, { weight: 1, arbitrary: begin });

/** The bytes in pieces, cut where `cuts` say. */
function* pieces(whole: Uint8Array, cuts: readonly number[]): Generator<Uint8Array> {
  let start = 0;
  for (const cut of [...cuts].map((each) => each % (whole.length + 1)).sort((a, b) => a - b)) {
    if (cut > start) yield whole.slice(start, cut);
    start = Math.max(start, cut);
  }
  if (start < whole.length) yield whole.slice(start);
}

async function drain(stream: Stream): Promise<string> {
  try {
    return (await collect(stream)).toString('hex');
  } catch (error) {
    if (!isNetError(error)) throw error;
    return 'reset';
  }
}

t.test('inbound: malformed clients', async (t) => {
  let reached = 0;
  const property = fc.asyncProperty(input, fc.array(fc.nat(), { maxLength: 6 }), fc.boolean(), fc.boolean(), async (sent, cuts, auth, fin) => {
    const clock = new FakeClock();
    const { context, timers } = testContext({ clock, timeouts: { handshake: HANDSHAKE } });
    const [client, ours] = pipePair();
    const targets: Endpoint[] = [];
    const users = auth ? USERS : null;
    const serving = socksProtocol.serve(
      {
        stream: ours,
        source: { host: '127.0.0.1', port: 50_000 },
        local: { host: '127.0.0.1', port: 1080 },
        port: 1080,
        signal: new CancelSource(),
        retired: new CancelSource(),
        users,
      },
      testInboundContext({
        name: 'fuzz',
        type: 'socks',
        get: context.get,
        handlePackets: async () => {},
        handleStream: async (request) => {
          targets.push(request.session.destination);
          request.reject(new NetError('refused', 'nothing is reached in this test'));
        },
      }),
    );
    const answer = drain(client);
    for (const piece of pieces(sent, cuts)) {
      await client.write([piece]).catch(isNetError); // cut off already: what we send is lost, as it should be
      await settle();
    }
    if (fin) await client.closeWrite().catch(isNetError);
    await settle();
    for (let waited = 0; timers.size > 0 && waited < 4; waited++) await clock.advance(HANDSHAKE);
    await client.closeWrite().catch(isNetError); // an association stays until its client leaves
    await within(serving, 2_000, 'serve');
    await within(answer, 2_000, 'the answer');
    if (timers.size !== 0) throw new Error('a deadline is left');
    const expected = targetOf(sent, users);
    if (expected !== null) reached++;
    t.strictSame(targets, expected === null ? [] : [expected], Buffer.from(sent).toString('hex'));
  });
  await fc.assert(property, { numRuns, plugins: [fc.interruptAfterTimeLimit(100_000, { failOnInterrupt: true })] });
  t.ok(reached > numRuns / 20, `${reached} of ${numRuns} were requests after all`);
});

t.test('adapter: malformed servers', async (t) => {
  const answers = [
    bytes('05 00 05 00 00 01 00000000 0000'),
    bytes('05 02 01 00 05 00 00 04 00000000000000000000000000000001 0050'),
    bytes("05 00 05 00 00 03 05 'bound' 0050 'payload'"),
    bytes('05 00 05 05 00 01 00000000 0000'),
    bytes('05 ff'),
    bytes("'HTTP/1.0 400 Bad Request'"),
  ];
  const address = encodeSocksAddress({ host: 'example.com', port: 80 });
  let connected = 0;
  const property = fc.asyncProperty(fc.oneof(damaged(answers), fc.uint8Array({ maxLength: 300 })), fc.array(fc.nat(), { maxLength: 6 }), async (sent, cuts) => {
    const [server, ours] = pipePair();
    const outcome = shakeHands(ours, 1, address, { username: 'u', password: 'p' }).then(
      ({ stream }) => collect(stream).then((rest) => ({ rest: rest.toString('hex') })),
      (error: unknown) => ({ error }),
    );
    for (const piece of pieces(sent, cuts)) await server.write([piece]);
    await server.closeWrite();
    const found = await within(outcome, 2_000, 'the handshake');
    const rest = restBehindReply(sent);
    if ('error' in found) {
      if (!isNetError(found.error)) throw new Error(`not a NetError: ${String(found.error)}`);
      if (rest !== null) throw new Error(`a right reply was refused: ${found.error.message}`);
    } else {
      connected++;
      if (found.rest !== rest) throw new Error(`behind the reply came ${String(rest)}, kept was ${found.rest}`);
    }
  });
  await fc.assert(property, { numRuns, plugins: [fc.interruptAfterTimeLimit(100_000, { failOnInterrupt: true })] });
  t.ok(connected > numRuns / 20, `${connected} of ${numRuns} were right after all`);
});

/** What comes behind a whole and successful answer, in hex; null for any other. */
function restBehindReply(sent: Uint8Array): string | null {
  const cursor = new Cursor(sent);
  try {
    if (cursor.byte() !== 5) return null;
    const method = cursor.byte();
    if (method === 2) {
      if (cursor.take(2).readUInt8(1) !== 0) return null;
    } else if (method !== 0) return null;
    if (cursor.byte() !== 5 || cursor.byte() !== 0) return null;
    const type = cursor.take(2).readUInt8(1);
    if (type !== 1 && type !== 3 && type !== 4) return null;
    cursor.take((type === 1 ? 4 : type === 4 ? 16 : cursor.byte()) + 2);
    return cursor.all.subarray(cursor.at).toString('hex');
  } catch (error) {
    if (error instanceof Missing) return null;
    throw error;
  }
}

const RELAYED = [
  bytes("000000 01 7f000001 0035 'payload'"),
  bytes("000000 03 0b 'example.com' 0035 'payload'"),
  bytes("000000 04 20010db8000000000000000000000001 0035 'x'"),
  bytes('000000 01 7f000001 0035'),
];
const relayed = fc.oneof({ weight: 3, arbitrary: damaged(RELAYED) }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }) });

/** `host port payload`, or null. */
function relayedOracle(sent: Uint8Array): string | null {
  const cursor = new Cursor(sent);
  try {
    cursor.take(2);
    if (cursor.byte() !== 0) return null;
    const host = hostAt(cursor, cursor.byte());
    const port = cursor.take(2).readUInt16BE();
    return host === null || port === 0 ? null : `${host} ${port} ${cursor.all.subarray(cursor.at).toString('hex')}`;
  } catch (error) {
    if (error instanceof Missing) return null;
    throw error;
  }
}

t.test('malformed datagrams: the parser', async (t) => {
  const peers = new PeerTable(50);
  let valid = 0;
  fc.assert(
    fc.property(relayed, (sent) => {
      const found = parseRelayed(sent, peers);
      const flat = found === null ? null : `${found.peer.host} ${found.peer.port} ${Buffer.from(found.payload).toString('hex')}`;
      if (flat !== null) valid++;
      t.equal(flat, relayedOracle(sent), Buffer.from(sent).toString('hex'));
    }),
    { numRuns: 10 * numRuns },
  );
  t.ok(valid > numRuns / 2 && peers.size <= 50, `${valid} were valid`);
});

t.test('malformed datagrams: the relay', async (t) => {
  const got: string[] = [];
  const server = await startInbound({
    handlePackets: async (request) => {
      const conn = request.accept();
      for (let all = await conn.receive(); all !== null; all = await conn.receive()) {
        for (const { bytes, peer } of all) got.push(`${peer.host} ${peer.port} ${Buffer.from(bytes).toString('hex')}`);
      }
    },
  });
  const control = await server.connect();
  await control.say(bytes('05 01 00 05 03 00 01 00000000 0000'));
  const relay = Number.parseInt((await control.answers(12)).slice(-4), 16);
  const socket = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const property = fc.asyncProperty(relayed, async (sent) => {
    got.length = 0;
    for (const each of [sent, bytes('000000 01 7f000001 ffff 656e64')]) {
      await new Promise<void>((resolve, reject) => socket.send(each, relay, '127.0.0.1', (error) => (error === null ? resolve() : reject(error))));
    }
    const end = performance.now() + 5_000;
    while (got.at(-1) !== '127.0.0.1 65535 656e64' && performance.now() < end) await new Promise<void>((resolve) => setImmediate(resolve));
    const expected = relayedOracle(sent);
    t.strictSame(got, [...(expected === null ? [] : [expected]), '127.0.0.1 65535 656e64'], Buffer.from(sent).toString('hex'));
  });
  await fc.assert(property, { numRuns });
  t.equal(server.packets.length, 1);
  control.socket.destroy();
  socket.close();
  await server.close();
});

t.test('URIs: an entry or an Error, never a secret in it', async (t) => {
  const uri = fc
    .tuple(fc.constantFrom('socks5', 'socks', 'socks5+tls', 'http', ''), fc.string(), fc.constantFrom('hunter2', 'hunter2%'), fc.string(), fc.string())
    .map(([scheme, user, password, host, rest]) => `${scheme}://${user}:${password}@${host}${rest}`);
  fc.assert(
    fc.property(fc.oneof(uri, fc.string()), (text) => {
      try {
        t.equal(parseSocks5Uri(text).type, 'socks5');
      } catch (error) {
        t.ok(error instanceof Error && !error.message.includes('hunter2'), String(error));
      }
    }),
    { numRuns },
  );
});
