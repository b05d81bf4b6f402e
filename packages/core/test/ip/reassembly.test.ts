import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { BatchParser } from '../../dist/ip/batch-parser.js';
import { DEFAULT_LIMITS, Reassembly, type ReassemblyLimits } from '../../dist/ip/reassembly.js';

interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly more: boolean;
}

const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff);

/** As a UDP datagram, as far as a parser looks at it. */
function udpOf(length: number): Uint8Array {
  const bytes = bytesOf(length);
  new DataView(bytes.buffer).setUint16(4, length);
  return bytes;
}

/** An IPv4 or IPv6 packet with a fragment in it, at an odd place of a larger array. */
function packet(
  version: 4 | 6,
  id: number,
  { offset, bytes, more }: Piece,
  protocol = 17,
): { bytes: Uint8Array; start: number; end: number; transport: number } {
  const head = version === 4 ? 20 : 48;
  const start = 3;
  const all = new Uint8Array(start + head + bytes.length);
  const view = new DataView(all.buffer);
  if (version === 4) {
    all[start] = 0x45;
    view.setUint16(start + 2, head + bytes.length);
    view.setUint16(start + 4, id);
    view.setUint16(start + 6, (more ? 0x2000 : 0) | (offset / 8));
    all[start + 9] = protocol;
    all.set([192, 0, 2, 1, 192, 0, 2, 2], start + 12);
  } else {
    all[start] = 0x60;
    view.setUint16(start + 4, 8 + bytes.length);
    all[start + 6] = 44;
    all.set([0x20, 1, 0xd, 0xb8], start + 8);
    all.set([0x20, 1, 0xd, 0xb8], start + 24);
    all[start + 40] = protocol;
    view.setUint16(start + 42, offset | (more ? 1 : 0));
    view.setUint32(start + 44, id);
  }
  all.set(bytes, start + head);
  return { bytes: all, start, end: all.length, transport: start + (version === 4 ? 20 : 40) };
}

function pieces(payload: Uint8Array, size: number): Piece[] {
  const cut: Piece[] = [];
  for (let at = 0; at < payload.length; at += size) cut.push({ offset: at, bytes: payload.subarray(at, at + size), more: at + size < payload.length });
  return cut;
}

const give = (reassembly: Reassembly, version: 4 | 6, id: number, piece: Piece, now = 0): ReturnType<Reassembly['add']> => {
  const made = packet(version, id, piece);
  return reassembly.add(made.bytes, made.start, made.end, made.transport, version, now);
};

void t.test('fragments in any order, of several datagrams at once, give back what was cut', async () => {
  fc.assert(
    fc.property(
      fc.constantFrom(4 as const, 6 as const),
      fc.array(fc.record({ length: fc.integer({ min: 9, max: 4000 }), size: fc.integer({ min: 1, max: 180 }) }), { minLength: 1, maxLength: 4 }),
      fc.integer(),
      (version, datagrams, seed) => {
        const reassembly = new Reassembly();
        const sent = datagrams.flatMap(({ length, size }, id) =>
          pieces(udpOf(length), Math.max(8 * size, 8 * Math.ceil(length / 1600))).map((piece) => ({ id, piece })),
        );
        let state = seed >>> 0;
        sent.sort(() => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          return state < 0x80000000 ? -1 : 1;
        });
        const whole = new Map<number, Uint8Array>();
        for (const { id, piece } of sent) {
          const done = give(reassembly, version, id, piece);
          if (done !== null) {
            const parser = new BatchParser(done, 1, new Uint8Array(8));
            assert.equal(parser.add(0, done.length, 0, true), true, 'its header is a good one');
            assert.equal(done[version === 4 ? 9 : 6], 17);
            assert.equal(parser.transport[0], version === 4 ? 20 : 40);
            whole.set(id, done.subarray(version === 4 ? 20 : 40));
          }
        }
        for (const [id, { length }] of datagrams.entries()) assert.deepEqual(whole.get(id), udpOf(length));
        assert.equal(reassembly.size, 0);
        assert.equal(reassembly.dropped, 0);
      },
    ),
    { numRuns: 300 },
  );
});

void t.test('a fragment that overlaps, or contradicts, ends its datagram', async () => {
  for (const version of [4, 6] as const) {
    const payload = bytesOf(48);
    const [first, second, third] = pieces(payload, 16);
    if (first === undefined || second === undefined || third === undefined) return assert.fail();
    const overlapping = { offset: 8, bytes: payload.subarray(8, 24), more: true };
    for (const bad of [overlapping, { ...third, offset: 64 }]) {
      const reassembly = new Reassembly();
      assert.equal(give(reassembly, version, 1, first), null);
      assert.equal(give(reassembly, version, 1, third), null);
      assert.equal(give(reassembly, version, 1, bad), null);
      assert.equal(reassembly.dropped, 1);
      assert.equal(give(reassembly, version, 1, second), null, 'what is left of it is no datagram');
    }
    const reassembly = new Reassembly();
    give(reassembly, version, 1, third);
    assert.equal(give(reassembly, version, 1, { offset: 48, bytes: payload, more: true }), null);
    assert.equal(reassembly.dropped, 1, 'beyond the end');
    give(reassembly, version, 2, { offset: 48, bytes: payload, more: true });
    assert.equal(give(reassembly, version, 2, third), null);
    assert.equal(reassembly.dropped, 2, 'an end before what has come');
  }
});

void t.test('a fragment that no sender can have made is dropped, and not its datagram: RFC 8200 section 4.5', async () => {
  for (const version of [4, 6] as const) {
    const payload = bytesOf(48);
    const [first, second] = pieces(payload, 24);
    if (first === undefined || second === undefined) return assert.fail();
    const reassembly = new Reassembly();
    for (const bad of [
      { offset: 24, bytes: payload.subarray(24, 35), more: true },
      { offset: 65_528, bytes: payload, more: false },
    ]) {
      assert.equal(give(reassembly, version, 1, bad), null);
      assert.equal(reassembly.size, 0);
      assert.equal(give(reassembly, version, 1, first), null);
      assert.equal(give(reassembly, version, 1, bad), null);
      assert.equal(give(reassembly, version, 1, second)?.length, (version === 4 ? 20 : 40) + 48);
    }
    assert.equal(reassembly.dropped, 0);
  }
});

void t.test('what is kept is copied, of a Buffer too, whose slice is a view', async () => {
  for (const version of [4, 6] as const) {
    const payload = bytesOf(100);
    const reassembly = new Reassembly();
    const whole = pieces(payload, 40).map((piece) => {
      const made = packet(version, 1, piece);
      const lent = Buffer.from(made.bytes);
      const given = reassembly.add(lent, made.start, made.end, made.transport, version, 0);
      lent.fill(0xee);
      return given;
    });
    assert.deepEqual(Buffer.from(whole.at(-1)?.subarray(version === 4 ? 20 : 40) ?? []), Buffer.from(payload));
  }
});

void t.test('a fragment that comes twice counts once; one of the same place with other bytes ends its datagram', async () => {
  for (const version of [4, 6] as const) {
    const payload = bytesOf(48);
    const [first, second, third] = pieces(payload, 16);
    if (first === undefined || second === undefined || third === undefined) return assert.fail();
    const reassembly = new Reassembly();
    for (const part of [first, first, third, third, first]) assert.equal(give(reassembly, version, 1, part), null);
    assert.notEqual(give(reassembly, version, 1, second), null);
    assert.deepEqual([reassembly.dropped, reassembly.size, reassembly.bytes], [0, 0, 0]);
    for (const other of [
      { ...first, bytes: Uint8Array.from(first.bytes, (byte) => byte ^ 1) },
      { ...first, bytes: payload.subarray(0, 8) },
      { ...third, more: true },
    ]) {
      give(reassembly, version, 2, first);
      give(reassembly, version, 2, third);
      const before = reassembly.dropped;
      give(reassembly, version, 2, other);
      assert.equal(reassembly.dropped, before + 1);
    }
  }
});

void t.test('bounds: datagrams, bytes, fragments, time', async () => {
  const limits = (over: Partial<ReassemblyLimits>): Reassembly => new Reassembly({ ...DEFAULT_LIMITS, ...over });
  const piece = { offset: 0, bytes: bytesOf(64), more: true };
  const few = limits({ datagrams: 3 });
  for (let id = 0; id < 10; id++) give(few, 4, id, piece);
  assert.equal(few.size, 3);
  assert.equal(few.dropped, 7);
  assert.notEqual(give(few, 4, 9, { offset: 64, bytes: bytesOf(3), more: false }), null, 'the youngest are kept');

  const small = limits({ bytes: 200 });
  for (let id = 0; id < 10; id++) give(small, 6, id, piece);
  assert.equal(small.size, 3);
  assert.equal(give(small, 6, 20, { offset: 0, bytes: bytesOf(400), more: true }), null);
  assert.equal(small.size, 0, 'one that is too large by itself');

  const pieced = limits({ fragments: 4 });
  for (let at = 0; at < 5; at++) give(pieced, 4, 1, { offset: at * 8, bytes: bytesOf(8), more: true });
  assert.equal(pieced.dropped, 1);

  const slow = limits({ timeout: 1000 });
  give(slow, 4, 1, piece, 0);
  give(slow, 4, 2, piece, 900);
  slow.expire(1000);
  assert.equal(slow.size, 1);
  assert.equal(give(slow, 4, 2, { offset: 64, bytes: bytesOf(8), more: false }, 1899)?.length, 20 + 72);
  slow.clear();
  assert.equal(slow.size, 0);
});

void t.test('datagrams of other hosts, identifications and protocols stay apart', async () => {
  const reassembly = new Reassembly();
  give(reassembly, 4, 1, { offset: 0, bytes: bytesOf(16), more: true });
  const other = packet(4, 1, { offset: 16, bytes: bytesOf(5), more: false }, 1);
  assert.equal(reassembly.add(other.bytes, other.start, other.end, other.transport, 4, 0), null);
  const stranger = packet(4, 1, { offset: 16, bytes: bytesOf(5), more: false });
  stranger.bytes[stranger.start + 15] = 9;
  assert.equal(reassembly.add(stranger.bytes, stranger.start, stranger.end, stranger.transport, 4, 0), null);
  assert.equal(reassembly.size, 3);
});
