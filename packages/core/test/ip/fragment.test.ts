import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { BatchParser } from '../../dist/ip/batch-parser.js';
import { writeIPv4Checksum, writeTransportChecksum } from '../../dist/ip/checksum.js';
import { writeFragments } from '../../dist/ip/fragment.js';
import { Identifications } from '../../dist/ip/identifications.js';
import type { PacketSink } from '../../dist/ip/packet-device.js';
import { SeededRandom } from '../../dist/ip/random.js';
import { Reassembly } from '../../dist/ip/reassembly.js';

/** Keeps what was reserved. */
class Kept implements PacketSink {
  readonly bytes = new Uint8Array(1 << 20);
  readonly largest = 0;
  readonly ranges: { readonly start: number; readonly end: number }[] = [];
  #at = 0;

  constructor(
    readonly mtu: number,
    readonly most = Number.POSITIVE_INFINITY,
  ) {}

  reserve(length: number): number {
    if (this.ranges.length === this.most) return -1;
    const start = this.#at;
    this.#at += length;
    this.ranges.push({ start, end: this.#at });
    return start;
  }
}

function datagram(version: 4 | 6, length: number): Uint8Array {
  const head = version === 4 ? 20 : 40;
  const packet = new Uint8Array(head + 8 + length);
  const view = new DataView(packet.buffer);
  if (version === 4) {
    packet[0] = 0x45;
    view.setUint16(2, packet.length);
    packet[8] = 64;
    packet[9] = 17;
    packet.set([192, 0, 2, 1, 192, 0, 2, 2], 12);
  } else {
    packet[0] = 0x60;
    view.setUint16(4, 8 + length);
    packet[6] = 17;
    packet[7] = 64;
    packet.set([0xfd], 8);
    packet.set([0xfd, 1], 24);
  }
  view.setUint16(head, 4000);
  view.setUint16(head + 2, 53);
  view.setUint16(head + 4, 8 + length);
  for (let i = 0; i < length; i++) packet[head + 8 + i] = i * 13;
  writeTransportChecksum(packet, 0, 17, head, packet.length);
  if (version === 4) writeIPv4Checksum(packet, 0);
  return packet;
}

void t.test('what is cut is no longer than the MTU, parses, and comes back whole', async () => {
  fc.assert(
    fc.property(fc.constantFrom(4 as const, 6 as const), fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 576, max: 9000 }), (version, length, mtu) => {
      const packet = datagram(version, length);
      const sink = new Kept(mtu);
      assert.equal(writeFragments(sink, packet, 0, packet.length, 0x1_2345), true);
      const reassembly = new Reassembly();
      const whole: Uint8Array[] = [];
      for (const { start, end } of sink.ranges) {
        assert.ok(end - start <= mtu);
        const parser = new BatchParser(sink.bytes, 1, new Uint8Array(8));
        assert.equal(parser.add(start, end, 0, false), true, JSON.stringify([...parser.drops]));
        if (parser.protocol[0] !== 44) whole.push(sink.bytes.slice(start, end));
        else {
          const done = reassembly.add(sink.bytes, start, end, parser.transport[0] ?? 0, version, 0);
          if (done !== null) whole.push(done);
        }
      }
      assert.equal(whole.length, 1);
      assert.equal(reassembly.size, 0);
      const head = version === 4 ? 20 : 40;
      assert.deepEqual(Buffer.from(whole[0]?.subarray(head) ?? []), Buffer.from(packet.subarray(head)));
    }),
    { numRuns: 300 },
  );
});

void t.test('no room, or an MTU that is none', async () => {
  const packet = datagram(4, 5000);
  assert.equal(writeFragments(new Kept(1500, 2), packet, 0, packet.length, 1), false);
  assert.equal(writeFragments(new Kept(5028, 0), packet, 0, packet.length, 1), false);
  assert.equal(writeFragments(new Kept(27), packet, 0, packet.length, 1), false);
  const six = datagram(6, 5000);
  assert.equal(writeFragments(new Kept(55), six, 0, six.length, 1), false);
});

void t.test('what leaves whole and may be cut on its way has an identification: RFC 6864', async () => {
  const write = (packet: Uint8Array): Uint8Array => {
    const sink = new Kept(1_500);
    assert.ok(writeFragments(sink, packet, 0, packet.length, 0x1_2345));
    return sink.bytes.slice(0, packet.length);
  };
  const packet = datagram(4, 100);
  const view = new DataView(packet.buffer);
  const sent = write(packet);
  assert.equal(new DataView(sent.buffer).getUint16(4), 0x2345);
  assert.ok(new BatchParser(sent, 1, new Uint8Array(8)).add(0, sent.length, 0, false), 'the checksum is right');
  for (const [identification, field] of [
    [0, 0x4000],
    [7, 0],
  ] as const) {
    view.setUint16(4, identification);
    view.setUint16(6, field);
    writeIPv4Checksum(packet, 0);
    assert.deepEqual(write(packet), packet, 'not what is whole for ever, or has one');
  }
  assert.deepEqual(write(datagram(6, 100)), datagram(6, 100));
});

void t.test('identifications: none of IPv4 comes again soon, and none tells anything of the next (RFC 6864, RFC 7739)', async () => {
  const of = (seed: number): number[] => {
    const random = new SeededRandom(seed);
    const identifications = new Identifications((length) => random.bytes(length));
    return Array.from({ length: 200_000 }, () => identifications.next());
  };
  const numbers = of(1);
  const lastAt = new Map<number, number>();
  let least = Number.POSITIVE_INFINITY;
  for (const [i, number] of numbers.entries()) {
    assert.ok(Number.isInteger(number) && number >= 0 && number < 2 ** 32);
    least = Math.min(least, i - (lastAt.get(number & 0xffff) ?? Number.NEGATIVE_INFINITY));
    lastAt.set(number & 0xffff, i);
  }
  assert.ok(least > 32_768, `one came again after ${least}`);
  assert.ok(lastAt.size > 60_000, 'nearly all are used');
  const [high, low] = [(n: number) => n >>> 16, (n: number) => n & 0xffff];
  for (const half of [high, low]) {
    const steps = new Map<number, number>();
    for (const [i, number] of numbers.entries()) {
      const step = (half(number) - half(numbers[i - 1] ?? 0)) & 0xffff;
      steps.set(step, (steps.get(step) ?? 0) + 1);
    }
    assert.ok(Math.max(...steps.values()) < 30, 'no step is more frequent than others'); // 3 of each on average
  }
  const others = of(2);
  assert.ok(numbers.filter((number, i) => number === others[i]).length < 5, 'nor the same with another secret');
});
