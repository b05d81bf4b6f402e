import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { type Datagram, METHODS_2022 } from '@nekit/core';
import { allCiphers } from '@nekit/core/testing';
import t from 'tap';
import type { Secret } from '../dist/method.js';
import { type ClientCodec, clientPacketCodec } from '../dist/packet/client-codec.js';
import { type OpenedPacket, type ServerCodec, serverPacketCodec } from '../dist/packet/server-codec.js';
import { WINDOW_SIZE } from '../dist/packet/sliding-window.js';
import {
  blockOf,
  bodyByHand,
  FakeNow,
  identitySecret,
  METHOD_NAMES,
  NAMED,
  NAMES_2022,
  openByHand,
  PEER,
  SIXTH,
  sealByHand,
  secretFor,
} from './packet-secrets.js';

const AES_2022 = NAMES_2022.filter((name) => name.includes('aes'));
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

function fail(message: string): never {
  throw new Error(message);
}

function sealed(codec: ClientCodec, payload: string | Uint8Array, peer = PEER): Uint8Array {
  const bytes = Buffer.from(payload);
  const out = new Uint8Array(codec.room(bytes.length) + 3);
  const length = codec.seal(peer, bytes, out, 3);
  return out.slice(3, 3 + length);
}

function answered({ session }: OpenedPacket, payload: string, peer = PEER): Uint8Array {
  const out = new Uint8Array(session.room(payload.length) + 5);
  const length = session.seal(peer, Buffer.from(payload), out, 5);
  return out.slice(5, 5 + length);
}

/** The packet lies somewhere in a larger buffer, as in a batch. */
function served(codec: ServerCodec, packet: Uint8Array, source = 'client 1'): OpenedPacket | null {
  const batch = new Uint8Array(packet.length + 20);
  batch.set(packet, 9);
  return codec.open(batch, 9, 9 + packet.length, source, new Uint8Array(packet.length + 7), 7);
}

const received = (codec: ClientCodec, packet: Uint8Array): Datagram | null => codec.open(packet, new Uint8Array(packet.length + 4), 4);

interface Pair {
  readonly client: ClientCodec;
  readonly server: ServerCodec;
  readonly now: FakeNow;
}

for (const ciphers of allCiphers()) {
  const pair = (secret: Secret): Pair => {
    const now = new FakeNow();
    return { client: clientPacketCodec(ciphers, secret, now), server: serverPacketCodec(ciphers, secret, [], now), now };
  };

  t.test(`${ciphers.kind}: there and back by every method`, (t) => {
    for (const name of METHOD_NAMES) {
      const { client, server } = pair(secretFor(ciphers, name));
      for (const peer of [PEER, NAMED, SIXTH]) {
        for (const size of [0, 1, 1400, 60_000]) {
          const payload = Buffer.alloc(size, 'abc');
          const request = served(server, sealed(client, payload, peer)) ?? fail(`${name}: not opened`);
          if (Buffer.compare(request.bytes, payload) !== 0) t.fail(`${name} ${size}`);
          t.match(request.peer, peer);
          t.ok(Object.isFrozen(request.peer));
          const answer = received(client, answered(request, `${name} ${peer.host}`, peer));
          t.equal(text(answer?.bytes), `${name} ${peer.host}`);
          t.match(answer?.peer, peer);
        }
      }
      const first = served(server, sealed(client, 'a'));
      const second = served(server, sealed(client, 'b'));
      t.equal(first?.peer, second?.peer, 'one object for each peer');
      t.equal(first?.session, second?.session);
      t.equal(first?.key, second?.key);
    }
    t.end();
  });

  t.test(`${ciphers.kind}: what cannot be written down`, (t) => {
    const { client } = pair(secretFor(ciphers, 'aes-256-gcm'));
    const out = new Uint8Array(2000);
    for (const [host, port] of [['x'.repeat(254), 1] as const, ['', 1] as const, ['fe80::1%eth0', 1] as const, ['192.0.2.1', 0] as const]) {
      t.equal(client.seal({ host, port }, new Uint8Array(3), out, 0), -1, `${host}:${port}`);
    }
    t.end();
  });

  t.test(`${ciphers.kind}: SIP004 as node:crypto has it`, (t) => {
    for (const [name, keyLength, cipherName] of [
      ['aes-128-gcm', 16, 'aes-128-gcm'],
      ['aes-256-gcm', 32, 'aes-256-gcm'],
      ['chacha20-ietf-poly1305', 32, 'chacha20-poly1305'],
    ] as const) {
      const secret = secretFor(ciphers, name);
      const { client, server } = pair(secret);
      const key = secret.keys[0] ?? fail('no key');
      const subkey = (salt: Uint8Array): Buffer => Buffer.from(hkdfSync('sha1', key, salt, 'ss-subkey', keyLength));
      const packet = Buffer.from(sealed(client, 'hello'));
      const opener = createDecipheriv(cipherName as 'aes-256-gcm', subkey(packet.subarray(0, keyLength)), new Uint8Array(12), { authTagLength: 16 });
      opener.setAuthTag(packet.subarray(-16));
      const plain = Buffer.concat([opener.update(packet.subarray(keyLength, -16)), opener.final()]);
      t.equal(plain.toString('hex'), `01c00002071092${Buffer.from('hello').toString('hex')}`);
      const salt = Buffer.alloc(keyLength, 9);
      const sealer = createCipheriv(cipherName as 'aes-256-gcm', subkey(salt), new Uint8Array(12), { authTagLength: 16 });
      const made = Buffer.concat([salt, sealer.update(plain), sealer.final(), sealer.getAuthTag()]);
      t.equal(text(served(server, made)?.bytes), 'hello');
      t.not(Buffer.compare(sealed(client, 'a').subarray(0, keyLength), sealed(client, 'a').subarray(0, keyLength)), 0, 'a salt for each');
    }
    t.end();
  });

  t.test(`${ciphers.kind}: SIP022 as node:crypto has it`, (t) => {
    for (const name of AES_2022) {
      const secret = secretFor(ciphers, name);
      const { client, server, now } = pair(secret);
      const key = secret.keys[0] ?? fail('no key');
      const seconds = now.ms / 1000;
      const first = openByHand(ciphers, key, key, sealed(client, 'hello'));
      t.equal(first.ids.readBigUInt64BE(8), 0n, 'packet ids count from 0');
      t.equal(first.body.toString('hex'), bodyByHand(0, seconds, 'hello').toString('hex'));
      const second = openByHand(ciphers, key, key, sealed(client, 'hello'));
      t.equal(second.ids.readBigUInt64BE(8), 1n);
      t.equal(second.ids.subarray(0, 8).toString('hex'), first.ids.subarray(0, 8).toString('hex'));
      const ids = Buffer.from('0123456789abcdeffedcba9876543210', 'hex');
      const request = served(server, sealByHand(ciphers, key, key, { ids, body: bodyByHand(0, seconds, 'by hand', { padding: 77 }) })) ?? fail('not opened');
      t.equal(text(request.bytes), 'by hand');
      const reply = openByHand(ciphers, key, key, answered(request, 'answer'));
      t.equal(reply.ids.readBigUInt64BE(8), 0n);
      t.not(reply.ids.subarray(0, 8).toString('hex'), ids.subarray(0, 8).toString('hex'), 'a session id of its own');
      t.equal(reply.body.toString('hex'), bodyByHand(1, seconds, 'answer', { clientId: ids.subarray(0, 8) }).toString('hex'));
    }
    t.end();
  });

  t.test(`${ciphers.kind}: a name asked of DNS has no telling length`, (t) => {
    for (const name of NAMES_2022) {
      const { client, server } = pair(secretFor(ciphers, name));
      const lengths = new Set<number>();
      for (let i = 0; i < 20; i++) {
        const packet = sealed(client, 'question', { host: '192.0.2.53', port: 53 });
        lengths.add(packet.length);
        const request = served(server, packet) ?? fail('not opened');
        t.equal(text(request.bytes), 'question');
        t.equal(text(received(client, answered(request, 'answer', { host: '192.0.2.53', port: 53 }))?.bytes), 'answer');
      }
      t.ok(lengths.size > 5);
      t.ok(Math.max(...lengths) < 1000);
      t.equal(sealed(client, 'x').length, sealed(client, 'y').length, 'others have none');
    }
    t.end();
  });

  t.test(`${ciphers.kind}: nothing altered is believed`, (t) => {
    for (const name of METHOD_NAMES.filter((method) => method.startsWith('2022') || method.endsWith('gcm') || method.endsWith('poly1305'))) {
      const { client, server } = pair(secretFor(ciphers, name));
      const { client: stranger } = pair(secretFor(ciphers, name, 2));
      const request = served(server, sealed(client, 'good')) ?? fail('not opened');
      const there = sealed(client, 'x');
      const back = answered(request, 'x');
      for (const [packet, open] of [
        [there, (bytes: Uint8Array) => served(server, bytes)] as const,
        [back, (bytes: Uint8Array) => received(client, bytes)] as const,
      ]) {
        for (let at = 0; at < packet.length; at++) {
          for (let bit = 0; bit < 8; bit++) {
            const altered = Uint8Array.from(packet);
            altered[at] = (altered[at] ?? 0) ^ (1 << bit);
            if (open(altered) !== null) t.fail(`${name}: bit ${bit} of byte ${at}`);
          }
        }
        for (let length = 0; length < packet.length; length++) if (open(packet.slice(0, length)) !== null) t.fail(`${name}: cut off at ${length}`);
        if (open(Buffer.concat([packet, Buffer.alloc(1)])) !== null) t.fail(`${name}: a byte more`);
        t.ok(open(packet), `${name}: the real one still is`);
      }
      t.equal(served(server, sealed(stranger, 'x')), null, 'another password');
      if (name.startsWith('2022')) {
        t.equal(received(client, there), null, 'our own packet played back');
        t.equal(served(server, back), null, 'an answer played back to the server');
        t.equal(served(server, there), null, 'a packet twice');
        t.equal(received(client, back), null, 'an answer twice');
        t.equal(served(server, there, 'client 2'), null, 'from elsewhere, too');
      }
    }
    t.end();
  });

  t.test(`${ciphers.kind}: clocks may differ by 30 s`, (t) => {
    for (const name of NAMES_2022) {
      for (const [seconds, believed] of [
        [0, true],
        [29, true],
        [30, true],
        [31, false],
        [3600, false],
        [-29, true],
        [-30, true],
        [-31, false],
      ] as const) {
        const { client, server, now } = pair(secretFor(ciphers, name));
        const request = served(server, sealed(client, 'early')) ?? fail('not opened');
        const there = sealed(client, 'there');
        const back = answered(request, 'back');
        now.ms += seconds * 1000;
        t.equal(served(server, there) !== null, believed, `${name}: request, ${seconds} s`);
        t.equal(received(client, back) !== null, believed, `${name}: answer, ${seconds} s`);
      }
    }
    t.end();
  });

  t.test(`${ciphers.kind}: packets out of order, as far back as the window reaches`, (t) => {
    const { client, server } = pair(secretFor(ciphers, '2022-blake3-aes-128-gcm'));
    const packets = Array.from({ length: WINDOW_SIZE + 2 }, (_, i) => sealed(client, `${i}`));
    const open = (index: number): string => text(served(server, packets[index] ?? fail('none'))?.bytes);
    t.equal(open(5), '5');
    t.equal(open(3), '3');
    t.equal(open(WINDOW_SIZE + 1), `${WINDOW_SIZE + 1}`);
    t.equal(open(2), '2', 'the oldest that is told apart');
    t.equal(open(1), '', 'one older');
    t.equal(open(5), '', 'seen before');
    t.equal(open(WINDOW_SIZE), `${WINDOW_SIZE}`);
    t.end();
  });

  t.test(`${ciphers.kind}: malformed inside, though authentic`, (t) => {
    const name = '2022-blake3-aes-256-gcm';
    const secret = secretFor(ciphers, name);
    const key = secret.keys[0] ?? fail('no key');
    const { client, server, now } = pair(secret);
    const seconds = now.ms / 1000;
    let next = 100n;
    const open = (body: Buffer): OpenedPacket | null => {
      const ids = Buffer.alloc(16, 7);
      ids.writeBigUInt64BE(next++, 8);
      return served(server, sealByHand(ciphers, key, key, { ids, body }));
    };
    const good = bodyByHand(0, seconds, 'x');
    t.ok(open(good));
    for (let length = 0; length < good.length - 1; length++) t.equal(open(good.subarray(0, length)), null, `${length} bytes`);
    t.ok(open(good.subarray(0, -1)), 'no payload is a datagram, too');
    t.equal(open(bodyByHand(1, seconds, 'x')), null, 'type');
    t.equal(open(bodyByHand(2, seconds, 'x')), null, 'type');
    t.equal(open(bodyByHand(0, seconds, 'x', { says: 9 })), null, 'padding that runs past the end');
    t.equal(open(bodyByHand(0, seconds, 'x', { says: 0xffff })), null, 'padding');
    t.ok(open(bodyByHand(0, seconds, 'x', { padding: 0x1000 })), 'much padding');
    t.equal(open(Buffer.concat([good.subarray(0, 11), Buffer.from([1, 192, 0, 2, 1, 0, 0, 1])])), null, 'port 0');
    t.equal(open(Buffer.concat([good.subarray(0, 11), Buffer.from([2, 192, 0, 2, 1, 0, 1, 1])])), null, 'type of address');
    t.equal(open(Buffer.concat([good.subarray(0, 11), Buffer.from([3, 3, 97, 32, 98, 0, 1, 1])])), null, 'no name');
    t.equal(open(Buffer.concat([good.subarray(0, 1), Buffer.alloc(8, 0xff), good.subarray(9)])), null, 'a time far from now');
    // What was refused has not been counted as seen.
    const ids = Buffer.alloc(16, 7);
    ids.writeBigUInt64BE(101n, 8);
    t.ok(served(server, sealByHand(ciphers, key, key, { ids, body: good })), 'the id of a malformed packet is still free');
    // Answers: of the wrong session, and of the wrong type.
    const clientId = openByHand(ciphers, key, key, sealed(client, 'x')).ids.subarray(0, 8);
    const answer = (id: Uint8Array, type: number): Datagram | null =>
      received(client, sealByHand(ciphers, key, key, { ids: Buffer.alloc(16, 3), body: bodyByHand(type, seconds, 'y', { clientId: id }) }));
    t.equal(answer(Buffer.alloc(8, 1), 1), null, "another client's");
    t.equal(answer(clientId, 0), null, 'type');
    t.equal(text(answer(clientId, 1)?.bytes), 'y');
    t.end();
  });

  t.test(`${ciphers.kind}: a server that starts again`, (t) => {
    for (const name of NAMES_2022) {
      const secret = secretFor(ciphers, name);
      const { client, server, now } = pair(secret);
      const packet = sealed(client, 'x');
      const serverAt = (): OpenedPacket => served(serverPacketCodec(ciphers, secret, [], now), sealed(client, 'x')) ?? fail('not opened');
      const first = served(server, packet) ?? fail('not opened');
      t.ok(received(client, answered(first, '1')));
      const late = answered(first, 'late');
      const second = serverAt();
      t.ok(received(client, answered(second, '2')), 'a new session beside the first');
      t.ok(received(client, late), 'what was on the way is still taken');
      t.equal(received(client, late), null, 'once');
      const third = serverAt();
      const early = answered(third, '3');
      now.ms += 20_000;
      t.ok(received(client, answered(first, '1')), 'the old one is still heard of');
      now.ms += 9_000;
      t.equal(received(client, early), null, 'no third within a minute');
      now.ms += 50_999;
      t.equal(received(client, answered(third, '3')), null, 'a minute after the old one was heard of last');
      now.ms += 1;
      t.ok(received(client, answered(second, 'still here')));
      t.ok(received(client, answered(third, '3')), 'then it may');
      t.equal(received(client, answered(first, '1')), null, 'and the first is forgotten');
      t.ok(received(client, answered(second, '2')), 'the second is the old one now');
    }
    t.end();
  });

  t.test(`${ciphers.kind}: a session has an end before its ids have`, (t) => {
    for (const name of NAMES_2022) {
      const now = new FakeNow();
      const secret = secretFor(ciphers, name);
      const client = clientPacketCodec(ciphers, secret, now, 3);
      const server = serverPacketCodec(ciphers, secret, [], now);
      const requests = Array.from({ length: 7 }, (_, i) => served(server, sealed(client, `${i}`)) ?? fail('not opened'));
      t.strictSame(
        requests.map(({ session }) => requests.findIndex((request) => request.session === session)),
        [0, 0, 0, 3, 3, 3, 6],
      );
      t.equal(received(client, answered(requests[0] ?? fail('none'), 'old')), null, 'answers to the old session are refused');
      t.ok(received(client, answered(requests[6] ?? fail('none'), 'new')));
    }
    t.end();
  });

  t.test(`${ciphers.kind}: what was seen of a session that ended is still refused`, (t) => {
    for (const name of NAMES_2022) {
      const { client, server, now } = pair(secretFor(ciphers, name));
      const packets = Array.from({ length: 4 }, (_, i) => sealed(client, `${i}`));
      const at = (index: number): Uint8Array => packets[index] ?? fail('none');
      const first = served(server, at(0)) ?? fail('not opened');
      t.ok(served(server, at(2)));
      server.forget(first.key);
      now.ms += 20_000;
      t.equal(served(server, at(0)), null);
      t.equal(served(server, at(2)), null);
      t.equal(served(server, at(1)), null, 'a late one cannot be told from one that was seen');
      const again = served(server, at(3)) ?? fail('it goes on');
      t.not(again.session, first.session);
      server.forget(again.key);
      t.equal(served(server, at(3)), null);
      t.ok(served(server, sealed(client, '4')));
    }
    t.end();
  });

  t.test(`${ciphers.kind}: users by identity headers`, (t) => {
    for (const name of AES_2022) {
      const now = new FakeNow();
      const server = serverPacketCodec(
        ciphers,
        secretFor(ciphers, name, 1),
        [2, 3, 4].map((fill) => secretFor(ciphers, name, fill).keys[0] ?? fail('no key')),
        now,
      );
      const clients = [4, 2, 3].map((fill) => clientPacketCodec(ciphers, identitySecret(ciphers, name, 1, fill), now));
      const requests = clients.map((client) => served(server, sealed(client, 'hi')) ?? fail('not opened'));
      t.strictSame(
        requests.map(({ user }) => user),
        [2, 0, 1],
      );
      for (const [index, request] of requests.entries()) {
        const answer = answered(request, `to ${index}`);
        t.strictSame(
          clients.map((client) => text(received(client, Uint8Array.from(answer))?.bytes)),
          [0, 1, 2].map((i) => (i === index ? `to ${index}` : '')),
          'an answer is for one user',
        );
      }
      t.equal(served(server, sealed(clientPacketCodec(ciphers, identitySecret(ciphers, name, 1, 5), now), 'x')), null, 'no such user');
      t.equal(served(server, sealed(clientPacketCodec(ciphers, identitySecret(ciphers, name, 6, 2), now), 'x')), null, 'no such server');
      t.equal(served(server, sealed(clientPacketCodec(ciphers, secretFor(ciphers, name, 1), now), 'x')), null, 'no user at all');
      // One user with another's session id.
      const key = (fill: number): Uint8Array => secretFor(ciphers, name, fill).keys[0] ?? fail('no key');
      const packet = (fill: number, id: bigint): Buffer => {
        const ids = Buffer.alloc(16, 9);
        ids.writeBigUInt64BE(id, 8);
        const identity = Buffer.from(ciphers.blake3(key(fill), 16)).map((byte, i) => byte ^ (ids[i] ?? 0));
        return sealByHand(ciphers, key(1), key(fill), { ids, identities: blockOf(key(1), identity, 'encrypt'), body: bodyByHand(0, now.ms / 1000, `${fill}`) });
      };
      const mine = served(server, packet(2, 1n));
      const theirs = served(server, packet(3, 1n));
      t.equal(mine?.user, 0);
      t.equal(theirs?.user, 1);
      t.not(mine?.session, theirs?.session, 'users do not share a session');
      // Two layers of identity headers, by hand.
      const deep = clientPacketCodec(ciphers, identitySecret(ciphers, name, 7, 8, 9), now);
      const opened = openByHand(ciphers, key(7), key(9), sealed(deep, 'deep'), 2);
      const layer = (at: number, fill: number): string => {
        const block = blockOf(key(fill), (opened.identities ?? fail('none')).subarray(at, at + 16), 'decrypt');
        return Buffer.from(block.map((byte, i) => byte ^ (opened.ids[i] ?? 0))).toString('hex');
      };
      t.equal(layer(0, 7), Buffer.from(ciphers.blake3(key(8), 16)).toString('hex'));
      t.equal(layer(16, 8), Buffer.from(ciphers.blake3(key(9), 16)).toString('hex'));
    }
    t.end();
  });

  t.test(`${ciphers.kind}: the published session subkey`, (t) => {
    // Zmax0/urban-spork, AEAD2022TestCase.
    const key = Buffer.from('Lc3tTx0BY6ZJ/fCwOx3JvF0I/anhwJBO5p2+FA5Vce4=', 'base64');
    const salt = Buffer.from('3oFO0VyLyGI4nFN0M9P+62vPND/L6v8IingaPJWTbJA=', 'base64');
    const subkey = ciphers.blake3DeriveKey('shadowsocks 2022 session subkey', Buffer.concat([key, salt]), METHODS_2022['2022-blake3-aes-256-gcm'].key);
    t.equal(Buffer.from(subkey).toString('base64'), 'EdNE+4U8dVnHT0+poAFDK2bdlwfrHT61sUNr9WYPh+E=');
    t.end();
  });
}
