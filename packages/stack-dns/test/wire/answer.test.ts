import assert from 'node:assert/strict';
import type { Answer as DnsRecord } from 'dns-packet';
import fc from 'fast-check';
import t from 'tap';
import { addressesOf, ageTtls, readAnswer } from '../../dist/wire/answer.js';
import { Query, UNDERSTOOD } from '../../dist/wire/query.js';
import { matchOf, queryMessage, questionFor } from '../../dist/wire/question.js';
import { copiedReply } from '../../dist/wire/reply.js';
import { decoded, queryBytes, questionLength, replyTo } from '../messages.js';

const soa: DnsRecord = {
  type: 'SOA',
  name: 'example',
  ttl: 300,
  data: { mname: 'ns.example', rname: 'root.example', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 60 },
};
const a = (data: string, ttl = 100): DnsRecord => ({ type: 'A', name: 'a.example', ttl, data });

void t.test('an answer: what is in it, and how long it holds', async (t) => {
  const query = queryBytes('a.example', 'A');
  const length = questionLength(query);
  const read = (options: Parameters<typeof replyTo>[1]): NonNullable<ReturnType<typeof readAnswer>> => {
    const answer = readAnswer(replyTo(query, options), length);
    assert.ok(answer !== null);
    return answer;
  };
  const good = read({ answers: [{ type: 'CNAME', name: 'a.example', ttl: 50, data: 'b.example' }, a('192.0.2.1'), a('192.0.2.2', 80)], edns: true });
  t.same(addressesOf(good), ['192.0.2.1', '192.0.2.2']);
  t.equal(good.ttl, 50, 'the least of its records');
  t.equal(good.ttls.length, 3, 'without OPT, whose field is no TTL');
  t.same(decoded(good.bytes).additionals, []);
  const none = read({ rcode: 3, authorities: [soa] });
  t.equal(none.ttl, 60, 'NXDOMAIN: the lesser of TTL and MINIMUM (RFC 2308 section 5)');
  t.ok(none.negative);
  t.equal(read({ authorities: [soa] }).ttl, 60, 'NODATA');
  t.equal(read({}).ttl, 0, 'without SOA it is not kept');
  t.equal(read({ rcode: 2, authorities: [soa] }).ttl, 0, 'nor are errors');
  t.equal(read({ answers: [a('192.0.2.1', 0xffffffff)] }).ttl, 0, 'the top bit means 0');
  t.equal(read({ answers: [a('192.0.2.1', 1_000_000)] }).ttl, 86_400, 'no longer than a day');
  t.equal(readAnswer(replyTo(query, { answers: [a('192.0.2.1')] }).subarray(0, -1), length), null, 'torn off');
});

void t.test('a kept answer for another client: its id, its spelling, its age', async (t) => {
  const asked = queryBytes('a.example', 'A', { id: 1 });
  const answer = readAnswer(replyTo(asked, { answers: [a('192.0.2.1')] }), questionLength(asked));
  assert.ok(answer !== null);
  const mine = queryBytes('A.eXample', 'A', { id: 0x4242, edns: 1232 });
  const query = new Query();
  assert.equal(query.read(mine, 0, mine.length), UNDERSTOOD);
  const out = new Uint8Array(1500);
  const size = copiedReply(out, query, mine, 0, answer.bytes);
  ageTtls(out, answer, 30, 0);
  const reply = decoded(out.slice(0, size));
  t.equal(reply.id, 0x4242);
  t.equal(reply.questions?.[0]?.name, 'A.eXample');
  t.match(reply.answers, [{ type: 'A', ttl: 70, data: '192.0.2.1' }]);
  t.match(reply.additionals, [{ type: 'OPT' }], 'OPT to who sent OPT');
});

void t.test('whether a message answers a question', async (t) => {
  const question = questionFor('www.example', 1);
  assert.ok(question !== null);
  const sent = queryMessage(question, { id: 77, spelling: new Uint8Array(32).fill(0xaa), edns: true });
  const length = question.wire.length + 4;
  t.match(Buffer.from(sent).toString('latin1'), /WwW/, 'the case of letters is random');
  const reply = replyTo(sent, {});
  t.equal(matchOf(sent, length, reply), 'yes');
  const lower = Uint8Array.from(reply);
  lower.set(question.wire, 12);
  t.equal(matchOf(sent, length, lower), 'but for case');
  const changed = (at: number, value: number): Uint8Array => Uint8Array.from(reply, (byte, i) => (i === at ? value : byte));
  for (const [at, value] of [
    [1, 78],
    [2, 0x01],
    [5, 2],
    [13, 0x78],
    [12 + length - 3, 28],
    [12 + length - 1, 3],
  ] as const)
    t.equal(matchOf(sent, length, changed(at, value)), 'no', `byte ${at}`);
  t.equal(matchOf(sent, length, reply.subarray(0, 20)), 'no', 'torn off');
});

void t.test('bytes that are no answer never throw', async () => {
  const query = queryBytes('a.example', 'A');
  const good = replyTo(query, { answers: [a('192.0.2.1'), a('192.0.2.2')], authorities: [soa], edns: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(good.length), fc.nat(255)), { maxLength: 8 }), fc.nat(good.length), (changes, cut) => {
      const bytes = Uint8Array.from(good.subarray(0, good.length - (cut % 40)));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      const answer = readAnswer(bytes, questionLength(query));
      if (answer !== null) {
        addressesOf(answer);
        ageTtls(Uint8Array.from(answer.bytes), answer, 5, 0);
      }
    }),
    { numRuns: process.env.NEKIT_FULL === '1' ? 200_000 : 5_000 },
  );
});
