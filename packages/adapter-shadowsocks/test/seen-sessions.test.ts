import { allCiphers } from '@nekit/core/testing';
import t from 'tap';
import { type ClientCodec, clientPacketCodec } from '../dist/packet/client-codec.js';
import { SeenSessions } from '../dist/packet/seen-sessions.js';
import { type OpenedPacket, type ServerCodec, serverPacketCodec } from '../dist/packet/server-codec.js';
import { FakeNow, identitySecret, NAMES_2022, PEER, secretFor } from './packet-secrets.js';

const [ciphers = fail('no ciphers')] = allCiphers();
const NAME = '2022-blake3-aes-128-gcm';

function fail(message: string): never {
  throw new Error(message);
}

const keyOf = (fill: number): Uint8Array => secretFor(ciphers, NAME, fill).keys[0] ?? fail('no key');

function sealed(codec: ClientCodec): Uint8Array {
  const out = new Uint8Array(codec.room(1));
  return out.slice(0, codec.seal(PEER, Buffer.from('x'), out, 0));
}

const served = (codec: ServerCodec, packet: Uint8Array): OpenedPacket | null =>
  codec.open(packet, 0, packet.length, 'client', new Uint8Array(packet.length), 0);

t.test('a packet of a session that has ended is refused for as long as its timestamp is good', (t) => {
  for (const name of NAMES_2022) {
    const secret = secretFor(ciphers, name);
    for (const ms of [0, 30_000, 59_999, 60_000, 60_500, 60_999, 61_000]) {
      const now = new FakeNow();
      const ahead = { monotonic: now.monotonic, wall: () => now.wall() + 30_000 };
      const server = serverPacketCodec(ciphers, secret, [], now);
      const packet = sealed(clientPacketCodec(ciphers, secret, ahead));
      server.forget((served(server, packet) ?? fail('not opened')).key);
      now.ms += ms;
      t.equal(served(server, packet), null, `${name}: after ${ms} ms`);
    }
  }
  t.end();
});

t.test('what one listener has seen another refuses, whatever place its users have', (t) => {
  const now = new FakeNow();
  const seen = new SeenSessions(now.monotonic);
  const secret = secretFor(ciphers, NAME, 1);
  const before = serverPacketCodec(ciphers, secret, [keyOf(2), keyOf(3)], now, seen);
  const after = serverPacketCodec(ciphers, secret, [keyOf(4), keyOf(3), keyOf(2)], now, seen);
  const client = clientPacketCodec(ciphers, identitySecret(ciphers, NAME, 1, 2), now);
  const packets = Array.from({ length: 4 }, () => sealed(client));
  const at = (index: number): Uint8Array => packets[index] ?? fail('none');
  const first = served(before, at(0)) ?? fail('not opened');
  t.equal(served(after, at(0)), null, 'while it is open');
  const second = served(after, at(1)) ?? fail('it is open at both');
  t.equal(served(before, at(1)), null);
  before.forget(first.key);
  t.equal(served(before, at(1)), null);
  t.equal(seen.ended, 0, 'it goes on at the other');
  after.forget(second.key);
  t.equal(seen.ended, 1);
  for (const server of [before, after]) for (const index of [0, 1]) t.equal(served(server, at(index)), null, 'when it has ended');
  t.ok(served(after, at(2)), 'its next packet is new');
  t.ok(served(before, at(3)));
  t.end();
});

t.test('a user that opens too many sessions locks out nobody else, and may again later', (t) => {
  const now = new FakeNow();
  const seen = new SeenSessions(now.monotonic, 40);
  const server = serverPacketCodec(ciphers, secretFor(ciphers, NAME, 1), [keyOf(2), keyOf(3), keyOf(4), keyOf(5), keyOf(6)], now, seen);
  const open = (fill: number): Uint8Array | null => {
    const packet = sealed(clientPacketCodec(ciphers, identitySecret(ciphers, NAME, 1, fill), now));
    const opened = served(server, packet);
    if (opened !== null) server.forget(opened.key);
    return opened === null ? null : packet;
  };
  const most = (fill: number): number => {
    let count = 0;
    while (count < 100 && open(fill) !== null) count++;
    return count;
  };
  const packet = open(2) ?? fail('not opened');
  t.equal(most(2), 9, 'one user: a quarter');
  t.equal(server.refused, 1);
  t.equal(served(server, packet), null, 'none is forgotten');
  t.strictSame([most(3), most(4), most(5)], [10, 10, 10]);
  t.equal(most(6), 8, 'where all is full an equal part');
  t.equal(server.refused, 5);
  t.equal(seen.ended, 48);
  now.ms += 64_000;
  t.equal(most(2), 10, 'another generation');
  t.equal(seen.ended, 58);
  now.ms += 64_000;
  t.ok(open(2));
  t.equal(seen.ended, 11, 'the first is forgotten');
  now.ms += 128_000;
  t.ok(open(2));
  t.equal(seen.ended, 1);
  t.end();
});

t.test('sessions that go on again and again take no more room than new ones', (t) => {
  const now = new FakeNow();
  const seen = new SeenSessions(now.monotonic, 3);
  const go = (id: number): boolean => {
    const session = seen.find('ann', `${id}`, 1);
    if (session === null) return false;
    session.window.add(0, 1);
    seen.hold(session);
    seen.release(session);
    return true;
  };
  t.strictSame([1, 2, 3, 4, 1].map(go), [true, true, true, false, true]);
  now.ms += 64_000;
  t.strictSame([4, 5, 1, 2, 1].map(go), [true, true, true, false, true]);
  t.equal(seen.ended, 6);
  t.end();
});

t.test('so many sessions of a listener without users as there is room for', (t) => {
  const seen = new SeenSessions(() => 0);
  let count = 0;
  for (; count < 300_000; count++) {
    const session = seen.find('ann', `${count}`, 1);
    if (session === null) break;
    seen.hold(session);
    seen.release(session);
  }
  t.equal(count, 262_144);
  t.equal(seen.find('ann', 'another', 1), null);
  t.ok(seen.find('ann', '7', 1), 'known ones go on');
  t.end();
});
