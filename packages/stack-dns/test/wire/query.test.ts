import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { RCODE, TYPE } from '../../dist/wire/message.js';
import { Query, SILENCE, UNDERSTOOD } from '../../dist/wire/query.js';
import { emptyReply } from '../../dist/wire/reply.js';
import { queryBytes, withType } from '../messages.js';

const read = (bytes: Uint8Array, query = new Query()): number => query.read(bytes, 0, bytes.length);
const nameOf = (query: Query): string => Buffer.from(query.name.subarray(0, query.nameLength)).toString('latin1');

void t.test('a query: name, type, flags, EDNS', async (t) => {
  const query = new Query();
  const bytes = queryBytes('WwW.Example.COM', 'AAAA', { id: 0xbeef, edns: 4096, dnssecOk: true });
  t.equal(read(bytes, query), UNDERSTOOD);
  t.equal(nameOf(query), 'www.example.com');
  t.same([query.id, query.type, query.class, query.udpSize], [0xbeef, TYPE.AAAA, 1, 4096]);
  t.same([query.edns, query.dnssecOk, query.recursionDesired, query.isHostName], [true, true, true, true]);
  t.equal(query.end, 12 + 17 + 4);
  t.equal(read(queryBytes('.', 'NS'), query), UNDERSTOOD, 'the root');
  t.same([nameOf(query), query.isHostName, query.edns, query.udpSize], ['', false, false, 512], 'nothing is left of the one before');
  t.equal(read(queryBytes('a b.example', 'A'), query), UNDERSTOOD);
  t.notOk(query.isHostName, 'a blank is in no host name');
});

void t.test('what is refused, and how', async (t) => {
  const good = queryBytes('a.example', 'A');
  const changed = (change: (bytes: Uint8Array) => void): Uint8Array => {
    const bytes = Uint8Array.from(good);
    change(bytes);
    return bytes;
  };
  t.equal(read(good.subarray(0, 11)), SILENCE, 'shorter than a header');
  t.equal(read(changed((bytes) => (bytes[2] = 0x81))), SILENCE, 'a reply: two servers that answer each other never end');
  t.equal(read(changed((bytes) => (bytes[2] = 0x28))), RCODE.NOTIMP, 'an update');
  t.equal(read(changed((bytes) => (bytes[5] = 0))), RCODE.FORMERR, 'no question');
  t.equal(read(Buffer.concat([changed((bytes) => (bytes[5] = 2)), good.subarray(12)])), RCODE.FORMERR, 'two questions');
  t.equal(read(changed((bytes) => (bytes[7] = 1))), RCODE.FORMERR, 'an answer');
  t.equal(read(good.subarray(0, good.length - 1)), RCODE.FORMERR, 'torn off');
  t.equal(read(changed((bytes) => bytes.set([0xc0, 0x0c], 12))), RCODE.FORMERR, 'a pointer to itself');
  t.equal(read(changed((bytes) => bytes.set([0x41], 12))), RCODE.FORMERR, 'an extended label');
  t.equal(read(changed((bytes) => (bytes[bytes.length - 1] = 3))), RCODE.REFUSED, 'class CH');
  t.equal(read(withType(good, TYPE.AXFR, 9)), RCODE.NOTIMP, 'a zone');
  const edns = queryBytes('a.example', 'A', { edns: 1232 });
  const newer = Uint8Array.from(edns);
  newer[edns.length - 5] = 1;
  t.equal(read(newer), RCODE.BADVERS);
  const query = new Query();
  const out = new Uint8Array(512);
  const length = emptyReply(out, query, newer, 0, query.read(newer, 0, newer.length));
  t.equal(length, newer.length);
  t.equal(out[length - 6], 1, 'the upper bits of BADVERS stand in OPT');
  t.equal((out[3] ?? 0) & 0xf, 0);
  const twice = Buffer.concat([edns, edns.subarray(edns.length - 11)]);
  twice[11] = 2;
  t.equal(read(twice), RCODE.FORMERR, 'two OPT records (RFC 6891 section 6.1.1)');
  const long = new Uint8Array(12 + 260 + 5);
  long[5] = 1;
  for (let i = 0; i < 260; i += 2) long.set([1, 0x61], 12 + i);
  t.equal(read(long), RCODE.FORMERR, 'a name of more than 255 bytes');
});

void t.test('names come through as they are, whatever their letters', async () => {
  const label = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'X', 'Y', 'Z', '0', '1', '9', '-', '_'), minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 8 }), fc.integer({ min: 0, max: 64 }), (labels, shift) => {
      const name = labels.join('.');
      const message = queryBytes(name, 'A');
      // Somewhere in a larger buffer, as in a batch.
      const buffer = new Uint8Array(message.length + shift + 7).fill(0xff);
      buffer.set(message, shift);
      const query = new Query();
      assert.equal(query.read(buffer, shift, shift + message.length), UNDERSTOOD);
      assert.equal(nameOf(query), name.toLowerCase());
      assert.equal(query.isHostName, true);
      const out = new Uint8Array(512);
      const length = emptyReply(out, query, buffer, shift, RCODE.NXDOMAIN);
      assert.deepEqual(Buffer.from(out.subarray(12, length)), Buffer.from(message.subarray(12)), 'the question is repeated byte by byte');
      assert.deepEqual([out[2], out[3]], [0x81, 0x83]);
    }),
  );
});
