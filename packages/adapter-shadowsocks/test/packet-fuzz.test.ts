// Mutated packets through both parsers: whatever comes, nothing is thrown and nothing grows.
import { allCiphers } from '@nekit/core/testing';
import t from 'tap';
import { clientPacketCodec } from '../dist/packet/client-codec.js';
import { serverPacketCodec } from '../dist/packet/server-codec.js';
import { FakeNow, identitySecret, METHOD_NAMES, NAMED, PEER, SIXTH, secretFor } from './packet-secrets.js';

const PACKETS = process.env.NEKIT_FULL === undefined ? 20_000 : 1_000_000;
const SEED = Number(process.env.NEKIT_SEED ?? 20261126);
const SOURCES = 16;

/** Mulberry32. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** A packet with some bytes changed, cut out, put in or doubled; sometimes as it was. */
function mutate(packet: Uint8Array, random: (below: number) => number): Uint8Array {
  let bytes = Uint8Array.from(packet);
  for (let i = random(4); i > 0; i--) {
    const at = random(bytes.length + 1);
    switch (random(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = random(256);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = bytes.slice(at);
        break;
      case 4:
        bytes = Uint8Array.from([...bytes.subarray(0, at), random(256), ...bytes.subarray(at)]);
        break;
      default:
        bytes = Uint8Array.from(Buffer.concat([bytes, bytes.subarray(0, at)]));
    }
  }
  return bytes;
}

for (const ciphers of allCiphers()) {
  // The fallback is slow and its parser the same: a tenth.
  const packets = ciphers.kind === 'native' ? PACKETS : PACKETS / 10;
  t.test(`${ciphers.kind}: ${packets} packets`, (t) => {
    const random = randomFrom(SEED);
    const now = new FakeNow();
    const cases = [
      ...METHOD_NAMES.map((name) => {
        const secret = secretFor(ciphers, name);
        return { name, client: clientPacketCodec(ciphers, secret, now), server: serverPacketCodec(ciphers, secret, [], now) };
      }),
      ...['2022-blake3-aes-128-gcm', '2022-blake3-aes-256-gcm'].map((name) => {
        const users = [2, 3].map((fill) => secretFor(ciphers, name, fill).keys[0] ?? new Uint8Array(0));
        return {
          name,
          client: clientPacketCodec(ciphers, identitySecret(ciphers, name, 1, 3), now),
          server: serverPacketCodec(ciphers, secretFor(ciphers, name, 1), users, now),
        };
      }),
    ];
    const room = new Uint8Array(4096);
    const out = new Uint8Array(4096);
    const keys = cases.map(() => new Set<string>());
    let opened = 0;
    let answers = 0;
    const run = (count: number): void => {
      for (let i = 0; i < count; i++) {
        const index = i % cases.length;
        const { client, server } = cases[index] ?? { client: null, server: null };
        if (client === null || server === null) throw new Error('no case');
        const peer = [PEER, NAMED, SIXTH][random(3)] ?? PEER;
        const length = client.seal(peer, room.subarray(0, random(64)), out, 0);
        const packet = mutate(out.subarray(0, length), random);
        const request = server.open(packet, 0, packet.length, `source ${random(SOURCES)}`, new Uint8Array(packet.length), 0);
        if (request === null) continue;
        opened++;
        keys[index]?.add(request.key);
        const back = mutate(out.subarray(0, request.session.seal(request.peer, request.bytes, out, 0)), random);
        if (client.open(back, new Uint8Array(back.length), 0) !== null) answers++;
      }
    };
    run(packets / 2);
    const before = process.memoryUsage().heapUsed;
    run(packets / 2);
    const grown = process.memoryUsage().heapUsed - before;
    t.ok(opened > packets / 10, `${opened} were believed`);
    t.ok(answers > packets / 100, `${answers} answers were`);
    t.ok(
      keys.every(({ size }) => size <= SOURCES),
      'no session comes of garbage',
    );
    t.ok(grown < 64 * 1024 * 1024, `${grown} bytes more`);
    t.end();
  });
}
