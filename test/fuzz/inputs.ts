/**
 * Inputs that are malformed by construction: each breaks its protocol in a known way, so that none of them may reach a target, whatever else
 * is random in it. `TARGET` stands for the target's endpoint in HTTP; SOCKS requests get its port in bytes.
 */
import fc from 'fast-check';

/** What a client sends; then it waits, or ends (FIN) or resets the connection. */
export interface Malformed {
  readonly protocol: 'http' | 'socks';
  readonly what: string;
  readonly bytes: Buffer;
  /** Sizes of the pieces that it is sent in; the last one takes the rest. */
  readonly pieces: readonly number[];
  readonly then: 'wait' | 'end' | 'reset';
}

const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/);
const text = fc.stringMatching(/^[ -~]{0,30}$/);
const octets = (max: number, min = 0): fc.Arbitrary<Buffer> => fc.uint8Array({ minLength: min, maxLength: max }).map((array) => Buffer.from(array));

/** Harmless fields, so that what is wrong stands at a random place. */
const fields = fc
  .array(
    fc.tuple(token, text).map(([name, value]) => `X-${name}: ${value.trim()}\r\n`),
    { maxLength: 6 },
  )
  .map((list) => list.join(''));

interface Head {
  readonly line: string;
  readonly fields: string;
  readonly body?: string;
}

type Case = readonly [what: string, arbitrary: fc.Arbitrary<Head | string>];

function httpCases(target: string): readonly Case[] {
  const get = `GET http://${target}/ HTTP/1.1\r\n`;
  const post = `POST http://${target}/ HTTP/1.1\r\n`;
  const host = `Host: ${target}\r\n`;
  const broken = (what: string, bad: fc.Arbitrary<string>, line = get): Case => [
    what,
    fc.tuple(fields, bad, fields).map(([before, wrong, after]) => ({ line, fields: host + before + wrong + after })),
  ];
  const wrongLine = (what: string, line: fc.Arbitrary<string>): Case => [
    what,
    fc.tuple(line, fields).map(([wrong, rest]) => ({ line: wrong, fields: host + rest })),
  ];
  const control = fc.constantFrom('\0', '\x01', '\x07', '\x0b', '\x1f', '\x7f');
  return [
    broken(
      'a space before the colon',
      token.map((name) => `${name} : x\r\n`),
    ),
    broken(
      'a folded line',
      fc.tuple(token, text).map(([name, value]) => `${name}: a\r\n ${value}\r\n`),
    ),
    broken(
      'a bare LF',
      token.map((name) => `${name}: x\n`),
    ),
    broken(
      'a bare CR',
      token.map((name) => `${name}: x\ry\r\n`),
    ),
    broken(
      'a control character in a value',
      control.map((char) => `X-A: a${char}b\r\n`),
    ),
    broken(
      'a control character in a name',
      control.map((char) => `X${char}A: b\r\n`),
    ),
    broken(
      'a line without a colon',
      token.map((name) => `${name}\r\n`),
    ),
    broken('an empty name', fc.constant(': x\r\n')),
    broken('a second Host', fc.constant('Host: other.test\r\n')),
    broken(
      'length and chunked',
      fc.constantFrom('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', 'Transfer-Encoding: chunked\r\nContent-Length: 0\r\n'),
      post,
    ),
    broken(
      'two lengths',
      fc.tuple(fc.nat(9), fc.nat(9)).map(([one, other]) => `Content-Length: ${one}\r\nContent-Length: ${other + 10}\r\n`),
      post,
    ),
    broken('a list of lengths', fc.constant('Content-Length: 5, 5\r\n'), post),
    broken(
      'a length that is none',
      fc.constantFrom('-1', '+5', '0x5', '5.0', '5 5', 'five', '', '99999999999999999999').map((value) => `Content-Length: ${value}\r\n`),
      post,
    ),
    broken(
      'an odd Transfer-Encoding',
      fc
        .constantFrom('chunked, chunked', 'xchunked', 'chunked;a=b', 'identity', 'gzip, chunked', 'chunked, gzip', '"chunked"', '\x0bchunked')
        .map((value) => `Transfer-Encoding: ${value}\r\n`),
      post,
    ),
    wrongLine(
      'an odd version',
      fc
        .constantFrom('HTTP/1.2', 'HTTP/2.0', 'HTTP/0.9', 'http/1.1', 'HTTP/1.1.1', 'HTTP/11', 'HTTPS/1.1', '')
        .map((version) => `GET http://${target}/ ${version}\r\n`),
    ),
    wrongLine(
      'a target that is not absolute',
      fc.constantFrom('/', '*', target, `//${target}/`, '').map((uri) => `GET ${uri} HTTP/1.1\r\n`),
    ),
    wrongLine(
      'another scheme',
      fc.constantFrom('https', 'ftp', 'file', 'javascript', 'ws').map((scheme) => `GET ${scheme}://${target}/ HTTP/1.1\r\n`),
    ),
    wrongLine(
      'a user in the target',
      token.map((name) => `GET http://${name}@${target}/ HTTP/1.1\r\n`),
    ),
    wrongLine(
      'an odd method',
      fc.constantFrom('G ET', 'GET\t', 'G(ET)', 'get/', 'GÄT', 'NONSENSE').map((method) => `${method} http://${target}/ HTTP/1.1\r\n`),
    ),
    wrongLine(
      'spaces in the line',
      fc.constantFrom('GET  ', 'GET \t').map((method) => `${method}http://${target}/ /x HTTP/1.1\r\n`),
    ),
    wrongLine(
      'CONNECT without a port',
      fc
        .constantFrom('127.0.0.1', 'localhost', '[::1]', 'a.test:', 'a.test:0', 'a.test:65536', 'a.test:-1', 'a.test:80x')
        .map((uri) => `CONNECT ${uri} HTTP/1.1\r\n`),
    ),
    wrongLine('CONNECT to a URI', fc.constant(`CONNECT http://${target}/ HTTP/1.1\r\n`)),
    broken('CONNECT with a body', fc.constantFrom('Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n'), `CONNECT ${target} HTTP/1.1\r\n`),
    broken(
      'a head without end',
      fc.nat(50_000).map((length) => `X-Long: ${'a'.repeat(70_000 + length)}\r\n`),
    ),
    [
      'a head that stops',
      fc
        .tuple(fc.nat({ max: get.length - 2 }), fc.boolean())
        .map(([at, connect]) => (connect ? `CONNECT ${target} HTTP/1.1\r\n${host}` : get.slice(0, at + 1))),
    ],
    ['letters', fc.stringMatching(/^[A-Za-z][ -~]{0,200}$/).map((line) => `${line.replaceAll(/http:/gi, '')}\r\n\r\n`)],
    ['a letter and octets', octets(400).map((random) => `G${random.toString('latin1')}`)],
  ];
}

function httpInput(target: string): fc.Arbitrary<{ what: string; bytes: Buffer }> {
  return fc.oneof(
    ...httpCases(target).map(([what, arbitrary]) =>
      arbitrary.map((head) => ({ what, bytes: Buffer.from(typeof head === 'string' ? head : `${head.line}${head.fields}\r\n${head.body ?? ''}`, 'latin1') })),
    ),
  );
}

function socksInput(port: number): fc.Arbitrary<{ what: string; bytes: Buffer }> {
  const portBytes = [port >> 8, port & 0xff];
  const loopback = Buffer.from([1, 127, 0, 0, 1, ...portBytes]);
  const hello = Buffer.from([5, 1, 0]);
  const cases: readonly (readonly [what: string, arbitrary: fc.Arbitrary<Buffer>])[] = [
    ['no methods', octets(20).map((rest) => Buffer.concat([Buffer.from([5, 0]), rest]))],
    [
      'methods that nobody has',
      fc
        .tuple(octets(200, 1), octets(20))
        .map(([methods, rest]) => Buffer.concat([Buffer.from([5, methods.length]), methods.map((method) => (method % 0x7c) + 3), rest])),
    ],
    [
      'another version in the request',
      fc
        .integer({ min: 0, max: 255 })
        .filter((version) => version !== 5)
        .map((version) => Buffer.concat([hello, Buffer.from([version, 1, 0]), loopback])),
    ],
    [
      'an unknown command',
      fc
        .integer({ min: 0, max: 255 })
        .filter((command) => command !== 1 && command !== 3)
        .map((command) => Buffer.concat([hello, Buffer.from([5, command, 0]), loopback])),
    ],
    [
      'an unknown address type',
      fc.tuple(fc.constantFrom(0, 2, 5, 0x7f, 0xff), octets(30)).map(([type, rest]) => Buffer.concat([hello, Buffer.from([5, 1, 0, type]), rest])),
    ],
    ['port 0', fc.constant(Buffer.concat([hello, Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, 0, 0])]))],
    ['an empty name', fc.constant(Buffer.concat([hello, Buffer.from([5, 1, 0, 3, 0, ...portBytes])]))],
    [
      'a name that is none',
      fc
        .tuple(fc.constantFrom('\0', ' ', '/', '?', '#', '%', '\n', '@', '\\', '\u00ad/'), text)
        .map(([bad, rest]) => Buffer.from(`127.0.0.1${bad}${rest}`))
        .map((name) => Buffer.concat([hello, Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from(portBytes)])),
    ],
    ['a name that stops', octets(100).map((name) => Buffer.concat([hello, Buffer.from([5, 1, 0, 3, 255]), name]))],
    ['a request that stops', fc.integer({ min: 1, max: 12 }).map((length) => Buffer.concat([hello, Buffer.from([5, 1, 0]), loopback]).subarray(0, length))],
    [
      'a password of another version',
      fc
        .integer({ min: 0, max: 255 })
        .filter((version) => version !== 1)
        .map((version) => Buffer.concat([Buffer.from([5, 1, 2, version, 1, 0x61, 1, 0x62, 5, 1, 0]), loopback])),
    ],
    [
      'SOCKS4 with an odd command',
      fc
        .integer({ min: 0, max: 255 })
        .filter((command) => command !== 1)
        .map((command) => Buffer.from([4, command, ...portBytes, 127, 0, 0, 1, 0])),
    ],
    [
      'SOCKS4 without the end of the user',
      octets(600).map((user) => Buffer.concat([Buffer.from([4, 1, ...portBytes, 127, 0, 0, 1]), user.map((octet) => octet | 1)])),
    ],
    [
      'SOCKS4a with a name that is none',
      fc.constantFrom(' ', '/', '%', '\x01').map((bad) => Buffer.concat([Buffer.from([4, 1, ...portBytes, 0, 0, 0, 1, 0]), Buffer.from(`127.0.0.1${bad}\0`)])),
    ],
    [
      'another first octet',
      fc.tuple(fc.constantFrom(0, 1, 2, 3, 6, 0x16, 0x20, 0x7f, 0x80, 0xff), octets(300)).map(([first, rest]) => Buffer.concat([Buffer.from([first]), rest])),
    ],
  ];
  return fc.oneof(...cases.map(([what, arbitrary]) => arbitrary.map((bytes) => ({ what, bytes: Buffer.from(bytes) }))));
}

/** Any malformed input, for a target on 127.0.0.1 with this port. */
export function malformed(port: number): fc.Arbitrary<Malformed> {
  const target = `127.0.0.1:${port}`;
  const input = fc.oneof(
    httpInput(target).map((made) => ({ protocol: 'http' as const, ...made })),
    socksInput(port).map((made) => ({ protocol: 'socks' as const, ...made })),
  );
  return fc
    .tuple(input, fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 5 }), fc.constantFrom('wait', 'wait', 'end', 'reset'))
    .map(([made, pieces, then]) => ({ ...made, pieces, then }));
}
