// Look-ups by our own sockets: messages, and a name server of our own.
import dgram from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { systemError } from '../../dist/native/errno.js';
import { systemClock } from '../../dist/net/clock.js';
import { dnsLookup } from '../../dist/net/dns-lookup.js';
import { dnsQuestion, RECORD_TYPE, readDnsAnswer } from '../../dist/net/dns-message.js';
import type { Sockets } from '../../dist/net/sockets.js';
import { allSockets, eventually, FakeClock, settle } from '../../dist/testing.js';

/** Records behind a question: a CNAME, then the address. */
function answerTo(question: Uint8Array, records: readonly (readonly [type: number, bytes: Uint8Array])[], flags = 0x8180): Buffer {
  const head = Buffer.from(question.subarray(0, 12));
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(records.length, 6);
  const all = records.map(([type, bytes]) => Buffer.concat([Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, bytes.length]), bytes]));
  return Buffer.concat([head, question.subarray(12), ...all]);
}

const A = Uint8Array.of(192, 0, 2, 1);
const AAAA = Buffer.from('20010db8000000000000000000000001', 'hex');

t.test('a question, and its answer', async (t) => {
  const question = dnsQuestion(0x1234, 'a.example', RECORD_TYPE.A) ?? new Uint8Array(0);
  t.equal(Buffer.from(question).toString('hex'), '1234010000010000000000000161076578616d706c650000010001');
  const answer = answerTo(question, [
    [5, Buffer.from('\x01b\xc0\x0e', 'latin1')],
    [1, A],
    [28, AAAA],
  ]);
  t.same(readDnsAnswer(question, RECORD_TYPE.A, answer), { rcode: 0, addresses: ['192.0.2.1'], truncated: false });
  const loud = Buffer.from(answer);
  loud[13] = 0x41;
  t.same(readDnsAnswer(question, RECORD_TYPE.A, loud)?.addresses, ['192.0.2.1'], 'in capitals');
  t.match(readDnsAnswer(question, RECORD_TYPE.A, answerTo(question, [], 0x8383)), { rcode: 3, addresses: [], truncated: true });
  const others = [
    answerTo(question, [[1, A]], 0x0180),
    answerTo(dnsQuestion(0x1235, 'a.example', 1) ?? A, [[1, A]]),
    answerTo(dnsQuestion(0x1234, 'b.example', 1) ?? A, [[1, A]]),
  ];
  for (const other of others) t.equal(readDnsAnswer(question, RECORD_TYPE.A, other), null, 'of another question, or none at all');
  for (const bad of ['', 'a..b', 'a'.repeat(64), `${'a.'.repeat(126)}bc`]) t.equal(dnsQuestion(1, bad, RECORD_TYPE.A), null);
  for (let length = 0; length < answer.length; length++) t.ok((readDnsAnswer(question, RECORD_TYPE.A, answer.subarray(0, length))?.addresses.length ?? 0) <= 1);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      readDnsAnswer(question, RECORD_TYPE.A, Buffer.concat([answer.subarray(0, 27), bytes]));
      readDnsAnswer(question, RECORD_TYPE.A, bytes);
    }),
  );
});

async function server(t: Test, answer: (question: Buffer, type: number) => readonly Buffer[]): Promise<number> {
  const socket = dgram.createSocket('udp4');
  t.teardown(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  socket.on('message', (question, { port, address }) => {
    for (const message of answer(question, question.readUInt16BE(question.length - 4))) socket.send(message, port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket.address().port;
}

function files(t: Test, texts: Partial<Record<'hosts' | 'resolvConf' | 'behindStub', string>>): Record<'hosts' | 'resolvConf' | 'behindStub', string> {
  const folder = mkdtempSync(join(tmpdir(), 'nekit-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, name), text);
  return { hosts: join(folder, 'hosts'), resolvConf: join(folder, 'resolvConf'), behindStub: join(folder, 'behindStub') };
}

for (const sockets of allSockets()) {
  t.test(`${sockets.kind}: hosts, then the servers of resolv.conf`, async (t) => {
    t.teardown(() => sockets.close());
    const asked: string[] = [];
    const port = await server(t, (question, type) => {
      const host = question
        .subarray(12, -5)
        .toString('latin1')
        .replace(/[^a-z0-9]+/g, '.');
      asked.push(`${host} ${type}`);
      if (host.includes('none')) return [answerTo(question, [], 0x8183)];
      if (host.includes('broken')) return [answerTo(question, [], 0x8182)];
      const forged = answerTo(question, [[1, Uint8Array.of(6, 6, 6, 6)]]);
      forged[0] = (forged[0] ?? 0) ^ 1;
      return [forged, Buffer.from('?'), answerTo(question, type === 1 ? [[1, A]] : [[28, AAAA]])];
    });
    const given = files(t, { hosts: '# none\n192.0.2.9 here.example Alias # local\n', resolvConf: 'options ndots:1\nnameserver 127.0.0.1\n' });
    const lookup = dnsLookup({ sockets, clock: systemClock, files: given, port });
    t.same(await lookup('alias', 0), [{ address: '192.0.2.9' }]);
    t.same(asked, [], 'nobody was asked');
    t.same(await lookup('web.example', 0), [{ address: '2001:db8::1' }, { address: '192.0.2.1' }]);
    t.same(await lookup('web.example', 4), [{ address: '192.0.2.1' }]);
    await t.rejects(lookup('none.example', 0), { failure: 'name', code: 'ENOTFOUND' });
    await t.rejects(lookup('broken.example', 4), { failure: 'name', code: 'DNS_NO_ANSWER' });
    t.equal(asked.filter((question) => question.includes('broken')).length, 2, 'twice, and not without end');
  });
}

t.test('behind the stub of systemd-resolved its own servers are asked', async (t) => {
  for (const sockets of allSockets()) {
    t.teardown(() => sockets.close());
    const port = await server(t, (question) => [answerTo(question, [[1, A]])]);
    const given = files(t, { resolvConf: 'nameserver 127.0.0.53\n', behindStub: 'nameserver 127.0.0.1\n' });
    t.same(await dnsLookup({ sockets, clock: systemClock, files: given, port })('web.example', 4), [{ address: '192.0.2.1' }]);
  }
});

t.test('a server of a family that this machine has not is passed over', async (t) => {
  const [sockets] = allSockets();
  if (sockets === undefined) throw new Error('there are always some');
  t.teardown(() => sockets.close());
  const without6: Sockets = {
    kind: sockets.kind,
    listen: (...given) => sockets.listen(...given),
    connect: (...given) => sockets.connect(...given),
    bindUdp(options, handlers) {
      if (options.host === '::') throw systemError(constants.errno.EAFNOSUPPORT, 'bind');
      return sockets.bindUdp(options, handlers);
    },
    close: () => sockets.close(),
  };
  const port = await server(t, (question) => [answerTo(question, [[1, A]])]);
  const both = files(t, { resolvConf: 'nameserver 2001:db8::53\nnameserver 127.0.0.1\n' });
  t.same(await dnsLookup({ sockets: without6, clock: systemClock, files: both, port })('web.example', 4), [{ address: '192.0.2.1' }]);
  const none = files(t, { resolvConf: 'nameserver 2001:db8::53\n' });
  await t.rejects(
    dnsLookup({ sockets: without6, clock: systemClock, files: none, port })('web.example', 4),
    { code: 'EAFNOSUPPORT' },
    'why, where none is left',
  );
});

t.test('a family that is not answered for holds up what the other has no longer than it should, and leaves nothing', async (t) => {
  const [sockets] = allSockets();
  if (sockets === undefined) throw new Error('there are always some');
  t.teardown(() => sockets.close());
  let open = 0;
  let asked = 0;
  const counted: Sockets = {
    kind: sockets.kind,
    listen: (...given) => sockets.listen(...given),
    connect: (...given) => sockets.connect(...given),
    bindUdp(options, handlers) {
      const socket = sockets.bindUdp(options, handlers);
      open++;
      const close = socket.close.bind(socket);
      socket.close = () => {
        open--;
        close();
      };
      return socket;
    },
    close: () => sockets.close(),
  };
  const given = files(t, { resolvConf: 'nameserver 127.0.0.1\nnameserver 127.0.0.1\n' });
  for (const [answered, silent, waits, wanted] of [
    ['A', 'AAAA', 750, '192.0.2.1'],
    ['AAAA', 'A', 3_000, '2001:db8::1'],
  ] as const) {
    const port = await server(t, (question, type) => {
      asked++;
      return type !== RECORD_TYPE[answered] ? [] : [answerTo(question, [type === 1 ? [1, A] : [28, AAAA]])];
    });
    const clock = new FakeClock();
    let found: unknown = null;
    asked = 0;
    const looking = dnsLookup({ sockets: counted, clock, files: given, port })('web.example', 0).then((answer) => (found = answer));
    await eventually(() => asked === 2 && open === 1);
    await settle();
    await clock.advance(waits - 10);
    t.equal(found, null, `${answered} waits for ${silent}`);
    await clock.advance(10);
    await looking;
    t.strictSame(found, [{ address: wanted }]);
    await settle();
    t.strictSame([open, clock.pending], [0, 0], 'nothing stays');
  }
  const port = await server(t, (question, type) => [answerTo(question, type === 1 ? [[1, A]] : [], type === 1 ? 0x8180 : 0x8182)]);
  t.strictSame(await dnsLookup({ sockets: counted, clock: new FakeClock(), files: given, port })('web.example', 0), [{ address: '192.0.2.1' }], 'one fails');
  t.equal(open, 0);
});
