import http from 'node:http';
import { CancelSource, type InboundConnection, NetError, never, StreamReader } from '@nekit/core';
import { eventually, pipePair, testContext, testInboundContext, within } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { HttpProtocol } from '../dist/inbound/http-protocol.js';
import { checkParserVersion } from '../dist/inbound/request-parser.js';
import { BodyMeter } from '../dist/message/body-meter.js';
import { readHead } from '../dist/message/head.js';
import { type InboundUnderTest, startInbound } from './support/inbound-under-test.js';
import { type Origin, ok, startOrigin } from './support/origins.js';
import { RawClient } from './support/raw-client.js';

const RUNS = process.env.NEKIT_FULL === '1' ? 1_000 : 300;

let inbound: InboundUnderTest;
let origin: Origin;
let answer = ok('hello');

t.before(async () => {
  origin = await startOrigin((request) => (request.includes('\r\n\r\n') ? answer : null));
  inbound = await startInbound({ timeouts: { handshake: 300, httpKeepAlive: 300, firstByte: 2_000 } });
});

t.teardown(async () => {
  await inbound.close();
  await origin.close();
});

function answers(text: string): number {
  return text.match(/^HTTP\/1\.1 \d/gm)?.length ?? 0;
}

/** Sends it, with FIN behind it or not, and gives what comes back until the end. */
async function say(text: string, end: boolean): Promise<string> {
  const client = await RawClient.say(inbound.port, text);
  if (end) client.end();
  const back = await client.all();
  client.close();
  return back;
}

t.test('what must not be forwarded', async (t) => {
  const host = `127.0.0.1:${origin.port}`;
  const line = `POST http://${host}/ HTTP/1.1\r\n`;
  const own = `Host: ${host}\r\n`;
  const next = `GET http://${host}/smuggled HTTP/1.1\r\n${own}\r\n`;
  const cases: [name: string, request: string, status?: number][] = [
    ['length and chunks', `${line}${own}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['chunks and length', `${line}${own}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
    ['two lengths', `${line}${own}Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456`],
    ['two equal lengths', `${line}${own}Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345`],
    ['a list of lengths', `${line}${own}Content-Length: 5, 5\r\n\r\n12345`],
    ['a signed length', `${line}${own}Content-Length: +5\r\n\r\n12345`],
    ['a negative length', `${line}${own}Content-Length: -5\r\n\r\n12345`],
    ['a hexadecimal length', `${line}${own}Content-Length: 0x5\r\n\r\n12345`],
    ['a length beyond reason', `${line}${own}Content-Length: 99999999999999999999\r\n\r\n`],
    ['a length beyond what a number holds', `${line}${own}Content-Length: 9999999999999999\r\n\r\n`],
    ['an empty length', `${line}${own}Content-Length:\r\n\r\n`],
    ['an unknown coding', `${line}${own}Transfer-Encoding: gzip\r\n\r\n${next}`],
    ['chunked not last', `${line}${own}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
    ['gzip, chunked', `${line}${own}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    ['chunked twice', `${line}${own}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['chunked, chunked', `${line}${own}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`],
    ['xchunked', `${line}${own}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ['chunked in quotes', `${line}${own}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`],
    ['chunked with a parameter', `${line}${own}Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n`],
    ['identity', `${line}${own}Transfer-Encoding: identity\r\n\r\n${next}`],
    ['an empty coding', `${line}${own}Transfer-Encoding:\r\n\r\n${next}`],
    ['a space in front of the colon', `${line}${own}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
    ['a tab in front of the colon', `${line}${own}Content-Length\t: 5\r\n\r\n12345`],
    ['a space in a name', `${line}${own}X Y: z\r\n\r\n`],
    ['a name with a bracket', `${line}${own}X[Y]: z\r\n\r\n`],
    ['an empty name', `${line}${own}: z\r\n\r\n`],
    ['a line without colon', `${line}${own}nonsense\r\n\r\n`],
    ['a folded field', `${line}${own}X: y\r\n z\r\n\r\n`],
    ['a field folded by a tab', `${line}${own}X: y\r\n\tz\r\n\r\n`],
    ['a space in front of the first field', `${line} ${own}\r\n`],
    ['a bare LF between fields', `${line}${own}X: y\nZ: a\r\n\r\n`],
    ['a bare LF behind the request line', `POST http://${host}/ HTTP/1.1\n${own}\r\n`],
    ['only bare LFs', `GET http://${host}/ HTTP/1.1\nHost: ${host}\n\n`],
    ['a bare CR in a value', `${line}${own}X: y\rZ: a\r\n\r\n`],
    ['a bare CR in front of the end', `${line}${own}X: y\r\r\n\r\n`],
    ['a NUL in a value', `${line}${own}X: y\0z\r\n\r\n`],
    ['a NUL in a name', `${line}${own}X\0: y\r\n\r\n`],
    ['a NUL in the target', `GET http://${host}/\0 HTTP/1.1\r\n${own}\r\n`],
    ['a DEL in a value', `${line}${own}X: y\x7f\r\n\r\n`],
    ['two hosts', `${line}${own}Host: elsewhere.test\r\n\r\n`],
    ['two equal hosts', `${line}${own}${own}\r\n`],
    ['no host', `${line}\r\n`],
    ['a host that is none', `${line}Host: a b\r\n\r\n`],
    ['a list of hosts', `${line}Host: a.test, b.test\r\n\r\n`],
    ['a host with a path', `${line}Host: a.test/b\r\n\r\n`],
    ['a host with a user', `${line}Host: a@b.test\r\n\r\n`],
    ['HTTP/0.9', `GET http://${host}/\r\n\r\n`],
    ['chunks in HTTP/1.0', `POST http://${host}/ HTTP/1.0\r\n${own}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['HTTP/1.2', `GET http://${host}/ HTTP/1.2\r\n${own}\r\n`],
    ['HTTP/2.0', `GET http://${host}/ HTTP/2.0\r\n${own}\r\n`, 505],
    ['HTTP/11', `GET http://${host}/ HTTP/11\r\n${own}\r\n`],
    ['http/1.1 in small letters', `GET http://${host}/ http/1.1\r\n${own}\r\n`],
    ['RTSP', `OPTIONS http://${host}/ RTSP/1.0\r\n${own}\r\n`],
    ['ICE', `SOURCE http://${host}/ ICE/1.0\r\n${own}\r\n`],
    ['two spaces in the request line', `GET  http://${host}/ HTTP/1.1\r\n${own}\r\n`],
    ['a space behind the version', `GET http://${host}/ HTTP/1.1 \r\n${own}\r\n`],
    ['a space in the target', `GET http://${host}/a b HTTP/1.1\r\n${own}\r\n`],
    ['a tab for a space', `GET\thttp://${host}/\tHTTP/1.1\r\n${own}\r\n`],
    ['a method that nobody knows', `BREW http://${host}/ HTTP/1.1\r\n${own}\r\n`],
    ['a method in small letters', `get http://${host}/ HTTP/1.1\r\n${own}\r\n`],
    ['a header section of 65 KiB', `${line}${own}X: ${'y'.repeat(66_000)}\r\n\r\n`, 431],
    ['a header section without end', `${line}${own}${`X: ${'y'.repeat(1000)}\r\n`.repeat(80)}`, 431],
    ['a target of 65 KiB', `GET http://${host}/${'a'.repeat(66_000)} HTTP/1.1\r\n${own}\r\n`, 431],
    ['20,000 short fields', `${line}${own}${'X: y\r\n'.repeat(20_000)}\r\n`, 431],
    ['blank lines for ever', '\r\n'.repeat(40)],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ];
  for (const [name, request, status] of cases) {
    const accepted = origin.log().length;
    const text = await say(request, false);
    t.match(text, new RegExp(`^HTTP/1\\.1 ${status ?? 400} [\\s\\S]*\\r\\nConnection: close\\r\\n`), name);
    t.equal(answers(text), 1, 'one answer, and nothing behind it is looked at');
    t.equal(origin.log().length, accepted, 'the origin heard nothing');
  }
  t.same(inbound.thrown, []);
});

t.test('bodies that break their framing are cut off, and what follows is not a request', async (t) => {
  const host = `127.0.0.1:${origin.port}`;
  answer = '';
  t.teardown(() => {
    answer = ok('hello');
  });
  const head = `POST http://${host}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const next = `GET http://${host}/smuggled HTTP/1.1\r\nHost: x\r\n\r\n`;
  for (const [name, body] of [
    ['a size that is none', 'zz\r\nab\r\n0\r\n\r\n'],
    ['a negative size', '-1\r\nab\r\n0\r\n\r\n'],
    ['a size with 0x', '0x2\r\nab\r\n0\r\n\r\n'],
    ['an enormous size', 'fffffffffffffffff\r\nab\r\n0\r\n\r\n'],
    ['a size with a space in front', ' 2\r\nab\r\n0\r\n\r\n'],
    ['no size', '\r\nab\r\n0\r\n\r\n'],
    ['a bare LF behind the size', '2\nab\r\n0\r\n\r\n'],
    ['a bare CR behind the size', '2\rab\r\n0\r\n\r\n'],
    ['data longer than it says', '2\r\nabc\r\n0\r\n\r\n'],
    ['data shorter than it says', '4\r\nab\r\n0\r\n\r\n'],
    ['a bare LF behind the data', '2\r\nab\n0\r\n\r\n'],
    ['a bare LF behind the last chunk', '0\n\r\n'],
    ['a trailer with a space in its name', '0\r\nX y: z\r\n\r\n'],
    ['a trailer with a bare LF', '0\r\nX: z\n\r\n'],
    ['a NUL in an extension', '2;a=\0\r\nab\r\n0\r\n\r\n'],
    ['an extension of 20 KiB', `2;a=${'b'.repeat(20_000)}\r\nab\r\n0\r\n\r\n`],
    ['a trailer section of 70 KiB', `0\r\n${`X: ${'y'.repeat(1000)}\r\n`.repeat(70)}\r\n`],
  ] as const) {
    const text = await say(head + body + next, false);
    t.match(text, /^HTTP\/1\.1 4\d\d [\s\S]*Connection: close\r\n/, name);
    t.equal(answers(text), 1, name);
    t.notMatch(origin.log(), /smuggled/, name);
    await eventually(() => origin.connections() === 0, 5_000, `${name}: the origin's connection is cut`);
  }
  t.same(inbound.thrown, []);
});

/** Where something goes into a text. */
const ILLEGAL: readonly ((line: string) => string)[] = [
  (line) => `${line.slice(0, 3)}\0${line.slice(3)}`,
  (line) => `${line}\n`,
  (line) => `${line}\r`,
  (line) => ` ${line}`,
  (line) => `\t${line}`,
  (line) => line.replace(':', ' :'),
  (line) => `${line}\x7f`,
  (line) => `(${line}`,
  (line) => `${line}\r\nTransfer-Encoding: x, chunked`,
  (line) => `${line}\r\nContent-Length: 1\r\nContent-Length: 2`,
  (line) => `${line}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked`,
  (line) => `${line}\r\nHost: again.test`,
];

const fieldLine = fc.constantFrom(
  'Accept: */*',
  'User-Agent: x',
  'Cookie: a=b',
  'X-Long-Name-Of-Nothing: 1',
  'Cache-Control: no-cache',
  'Connection: keep-alive',
);

/** Several at a time: what is malformed is often a matter of waiting. */
const AT_ONCE = 10;

async function check<T>(arbitrary: fc.Arbitrary<T>, holds: (value: T) => Promise<void>): Promise<void> {
  const batch = fc.array(arbitrary, { minLength: AT_ONCE, maxLength: AT_ONCE });
  await fc.assert(
    fc.asyncProperty(batch, async (values) => {
      await Promise.all(values.map(holds));
    }),
    { numRuns: RUNS / AT_ONCE, endOnFailure: true },
  );
}

t.test(`${RUNS} requests with one thing wrong with them`, async (t) => {
  const host = `127.0.0.1:${origin.port}`;
  const before = origin.log().length;
  const request = fc.record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'CONNECT'),
    lines: fc.array(fieldLine, { maxLength: 5 }),
    where: fc.nat(),
    spoil: fc.constantFrom(...ILLEGAL),
    behind: fc.uint8Array({ maxLength: 40 }),
    end: fc.boolean(),
  });
  await check(request, async ({ method, lines, where, spoil, behind, end }) => {
    const fields = [`Host: ${host}`, ...lines];
    const at = where % fields.length;
    fields[at] = spoil(fields[at] ?? '');
    const target = method === 'CONNECT' ? host : `http://${host}/`;
    const text = await say(`${method} ${target} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n${Buffer.from(behind).toString('latin1')}`, end);
    if (!/^HTTP\/1\.1 4\d\d /.test(text)) throw new Error(`answered with ${JSON.stringify(text)}`);
    if (origin.log().length !== before) throw new Error('the origin was reached');
  });
  t.same(inbound.thrown, []);
});

t.test(`${RUNS} runs of bytes that are nothing in particular`, async (t) => {
  const hasty = await startInbound({ timeouts: { handshake: 100, httpKeepAlive: 100 } });
  t.teardown(() => hasty.close());
  const words = [
    'GET ',
    'CONNECT ',
    'POST ',
    'http://',
    '127.0.0.1',
    ':',
    ' HTTP/1.1',
    '\r\n',
    '\r\n\r\n',
    'Host: a',
    'Content-Length: 3',
    'Transfer-Encoding: chunked',
    '0\r\n\r\n',
    ' ',
    '\n',
  ];
  const piece = fc.oneof(
    fc.constantFrom(...words),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  );
  await check(fc.record({ pieces: fc.array(piece, { minLength: 1, maxLength: 12 }), end: fc.boolean() }), async ({ pieces, end }) => {
    const client = await RawClient.say(hasty.port, pieces.join(''));
    if (end) client.end();
    const text = await client.all(3_000);
    client.close();
    if (text !== '' && !/^HTTP\/1\.1 [45]\d\d /.test(text)) throw new Error(`answered with ${JSON.stringify(text)}`);
  });
  t.same(hasty.thrown, []);
  t.equal(hasty.dials(), 0, 'nobody was dialled');
  await eventually(() => hasty.connections() === 0);
});

t.test(`${RUNS} responses that are nothing in particular`, async (t) => {
  const words = [
    'HTTP/1.1 ',
    '200 OK',
    '101 x',
    '100 x',
    '204 x',
    '304 x',
    '\r\n',
    '\r\n\r\n',
    'Content-Length: 3',
    'Transfer-Encoding: chunked',
    'Connection: close',
    'Upgrade: x',
    'abc',
    '3\r\nabc\r\n',
    '0\r\n\r\n',
  ];
  const piece = fc.oneof(
    fc.constantFrom(...words, ok('x')),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  );
  const odd = await startOrigin((request, socket) => {
    const said = /\r\nX-Say: ([0-9a-f]*)\r\n/.exec(request)?.[1];
    if (said !== undefined) socket.end(Buffer.from(said, 'hex'));
    return null;
  });
  t.teardown(() => odd.close());
  const host = `127.0.0.1:${odd.port}`;
  await check(fc.record({ pieces: fc.array(piece, { maxLength: 10 }), method: fc.constantFrom('GET', 'HEAD', 'POST') }), async ({ pieces, method }) => {
    const said = Buffer.from(pieces.join(''), 'latin1').toString('hex');
    const text = await say(`${method} http://${host}/ HTTP/1.1\r\nHost: x\r\nX-Say: ${said}\r\nConnection: close\r\n\r\n`, false);
    if (text !== '' && !text.startsWith('HTTP/1.1 ')) throw new Error(`answered with ${JSON.stringify(text)}`);
  });
  t.same(inbound.thrown, []);
  await eventually(() => odd.connections() === 0);
  t.match(await say(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`, false), /hello$/, 'and it still works');
});

t.test('requests in every fragmentation', async (t) => {
  // One that waits for the whole request: an answer to a head alone may rightly end the connection.
  const patient = http.createServer((request, response) => request.resume().once('end', () => response.end('hello')));
  await new Promise<void>((resolve) => patient.listen(0, '127.0.0.1', resolve));
  t.teardown(() => patient.close().closeAllConnections());
  const address = patient.address();
  const host = `127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`;
  const requests =
    `GET http://${host}/1 HTTP/1.1\r\nHost: x\r\n\r\n` +
    `\r\nPOST http://${host}/2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n` +
    `POST http://${host}/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc`;
  const one = await RawClient.connect(inbound.port);
  for (const char of requests) one.send(char);
  t.equal((await one.all()).split('hello').length, 4, 'byte by byte');
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: requests.length }), { maxLength: 6 }), async (cuts) => {
      const client = await RawClient.connect(inbound.port);
      const places = [0, ...cuts.sort((a, b) => a - b), requests.length];
      for (let i = 1; i < places.length; i++) {
        client.send(requests.slice(places[i - 1], places[i]));
        await new Promise(setImmediate);
      }
      const text = await client.all();
      if (text.split('hello').length !== 4) throw new Error(JSON.stringify(text));
    }),
    { numRuns: 40 },
  );
});

t.test('one bad client hurts no other', async (t) => {
  const host = `127.0.0.1:${origin.port}`;
  const good = await RawClient.say(inbound.port, `GET http://${host}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
  await good.until('hello');
  for (let i = 0; i < 20; i++) {
    const bad = await RawClient.say(inbound.port, ['GET / HTTP/1.1\r\n\0', 'CONNECT x HTTP/1.1\r\n\r\n', '\r\n\r\n\r\n', 'POST http://x'][i % 4] ?? '');
    if (i % 3 === 0) bad.reset();
    else bad.close();
  }
  good.clear();
  good.send(`GET http://${host}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
  t.match(await good.until('hello'), /200/);
  good.close();
  await eventually(() => inbound.connections() === 0 && inbound.timers.size <= inbound.protocol.idleConnections);
});

t.test('where a chunked body ends, however it is cut', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 6 }),
      fc.array(fc.constantFrom('X: 1', 'Long-Trailer: 0000000000'), { maxLength: 2 }),
      fc.boolean(),
      fc.uint8Array({ maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
      (chunks, trailers, extension, behind, cuts) => {
        const body = Buffer.concat([
          ...chunks.flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)}${extension ? ';a="0"' : ''}\r\n`), chunk, Buffer.from('\r\n')]),
          Buffer.from(`0\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`),
        ]);
        const meter = new BodyMeter({ kind: 'chunked' });
        const all = Buffer.concat([body, behind]);
        let taken = 0;
        for (let at = 0, i = 0; at < all.length; i++) {
          const piece = all.subarray(at, at + (cuts[i % cuts.length] ?? 1));
          const count = meter.measure(piece);
          taken += count;
          at += piece.length;
          if (meter.done) break;
        }
        return meter.done && taken === body.length;
      },
    ),
    { numRuns: RUNS },
  );
});

t.test('heads are cut out exactly', async (t) => {
  const [near, far] = pipePair({ highWaterMark: 1_000_000 });
  const reader = new StreamReader(near);
  for (const byte of Buffer.from('A\r\n\r\nB: c\r\n')) await far.write([Uint8Array.of(byte)]);
  t.equal(Buffer.from((await readHead(reader)) ?? []).toString(), 'A\r\n\r\n');
  await far.write([Buffer.from('\r\nrest')]);
  t.equal(Buffer.from((await readHead(reader)) ?? []).toString(), 'B: c\r\n\r\n');
  await far.closeWrite();
  await t.rejects(readHead(reader), { code: 'UNEXPECTED_END' });
  const [, ended] = pipePair();
  await ended.closeWrite();
});

t.test('CONNECT keeps the native end of the client’s stream', async (t) => {
  const [near, far] = pipePair();
  const { context } = testContext();
  const detached: string[] = [];
  const stream = {
    read: () => near.read(),
    write: (chunks: readonly Uint8Array[]) => near.write(chunks),
    closeWrite: () => near.closeWrite(),
    abort: (reason: Error) => near.abort(reason),
    native: {
      detach: (unread: readonly Uint8Array[]) => {
        detached.push(Buffer.concat(unread).toString());
        return Promise.reject(new NetError('aborted', 'only looking'));
      },
    },
  };
  const endpoint = { host: '127.0.0.1', port: 1 };
  const connection: InboundConnection = { stream, source: endpoint, local: endpoint, port: 1, signal: new CancelSource(), retired: never, users: null };
  const inboundContext = testInboundContext({
    name: 'x',
    type: 'http',
    handleStream: async (request) => {
      const client = await request.accept();
      await t.rejects(async () => client.native?.detach([]));
    },
    get: (wanted) => context.get(wanted),
  });
  await far.write([Buffer.from('CONNECT a.test:443 HTTP/1.1\r\n\r\npayload')]);
  await within(new HttpProtocol().serve(connection, inboundContext));
  t.same(detached, ['payload']);
  t.equal(Buffer.concat((await far.read()) ?? []).toString(), 'HTTP/1.1 200 Connection established\r\n\r\n');
});

t.test('first bytes, and the parser’s age', async (t) => {
  const protocol = new HttpProtocol();
  t.ok(protocol.takes(Buffer.from('GET')));
  t.ok(protocol.takes(Buffer.from('c')));
  for (const first of [0x04, 0x05, 0x16, 0x0d, 0x20, 0x40, 0x5b, 0x60, 0x7b, 0xc3]) t.notOk(protocol.takes(Uint8Array.of(first)), String(first));
  t.doesNotThrow(() => checkParserVersion());
  t.doesNotThrow(() => checkParserVersion('10.0.0'));
  t.throws(() => checkParserVersion('8.1.1'), { code: 'HTTP_PARSER_TOO_OLD' });
  t.throws(() => checkParserVersion(''), { code: 'HTTP_PARSER_TOO_OLD' });
});
