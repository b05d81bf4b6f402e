import assert from 'node:assert/strict';
import { isIP, SocketAddress } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { addressFamily, formatAddress, ipv4ToNumber, isMapped, normaliseAddress, parseAddress } from '../../dist/net/address.js';

const ipv4 = fc.ipV4();
const ipv6Bytes = fc.uint8Array({ minLength: 16, maxLength: 16 }).chain((bytes) =>
  // Addresses with runs of zeros, where the shortening happens.
  fc.subarray([0, 1, 2, 3, 4, 5, 6, 7]).map((zeros) => {
    const copy = Uint8Array.from(bytes);
    for (const word of zeros) copy.fill(0, word * 2, word * 2 + 2);
    return copy;
  }),
);

/** What the URL standard makes of a host, or null. */
function urlHost(host: string): string | null {
  return URL.canParse(`http://${host}/`) ? new URL(`http://${host}/`).hostname : null;
}

/** A number as inet_aton takes it: decimal, octal or hexadecimal, with zeros in front. */
const looseNumber = (max: number): fc.Arbitrary<string> =>
  fc
    .tuple(fc.oneof(fc.nat({ max: 255 }), fc.nat({ max })), fc.constantFrom(10, 8, 16), fc.nat({ max: 12 }), fc.boolean())
    .map(([value, base, zeros, upper]) => {
      const digits = value.toString(base);
      if (base === 10) return digits;
      const padded = '0'.repeat(zeros) + (upper ? digits.toUpperCase() : digits);
      return base === 8 ? `0${padded}` : `0${upper ? 'X' : 'x'}${padded}`;
    });

void t.test('canonical text of IPv6 (RFC 5952)', async () => {
  for (const [text, canonical] of [
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], // one group is not shortened
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], // the longest run
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], // the first of equal ones
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::1:2:3:4:5:6:7', '0:1:2:3:4:5:6:7'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['::1.2.3.4', '::102:304'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:C000:0201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:7f00:1', '127.0.0.1'],
    ['::ffff:192.0.2.1%eth0', '192.0.2.1'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
    ['FE80:0::1%Eth0.100', 'fe80::1%Eth0.100'],
  ] as const) {
    assert.equal(normaliseAddress(text), canonical, text);
  }
});

void t.test('IPv4 as inet_aton reads it', async () => {
  for (const [text, canonical] of [
    ['127.0.0.1', '127.0.0.1'],
    ['1.2.3.4.', '1.2.3.4'],
    ['0x7f.1', '127.0.0.1'],
    ['0X7F000001', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['017700000001', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['127.0.1', '127.0.0.1'],
    ['10.0x10203', '10.1.2.3'],
    ['192.168.257', '192.168.1.1'],
    ['0', '0.0.0.0'],
    ['0x', '0.0.0.0'],
    ['00', '0.0.0.0'],
    ['4294967295', '255.255.255.255'],
    ['00000000000000000000177.0.0.1', '127.0.0.1'],
    ['0x0000000000000000000000007f.1', '127.0.0.1'],
  ] as const) {
    assert.equal(normaliseAddress(text), canonical, text);
  }
});

void t.test('what is no address', async () => {
  for (const text of [
    ...['', '.', '..', '1.2.3.4.5', '1.2.3.256', '256.0.0.1', '1..2', '.1.2.3', '08', '1.2.3.08', '4294967296', '1.16777216', '0x100000000'],
    ...['0xg', '1.2.3.4 ', ' 1.2.3.4', '1.2.3.4\n', '1.2.3.-4', '+1.2.3.4', '1e3', 'example.com', '127.0.0.1%lo', '1.2.3.4..', '１２７.0.0.1'],
    ...[':', ':::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8::', '::1::', '1::2::3', '12345::', 'g::', '::1.2.3', '::1.2.3.256', '::01.2.3.4'],
    ...[
      '1.2.3.4::',
      '::1.2.3.4:5',
      '1:2:3:4:5:6:7:1.2.3.4',
      '[::1]',
      '::1/64',
      '::1%',
      '::1% eth0',
      '::1%eth0\r\n',
      `::1%${'z'.repeat(33)}`,
      ':1::2',
      '1:',
      ':1',
    ],
    `${'0:'.repeat(5000)}1`,
    '::'.repeat(5000),
    '1.'.repeat(5000),
  ]) {
    assert.equal(normaliseAddress(text), null, JSON.stringify(text.slice(0, 60)));
    assert.equal(parseAddress(text), null, JSON.stringify(text.slice(0, 60)));
  }
});

void t.test('addressFamily tells canonical hosts apart', async () => {
  for (const host of ['1.2.3.4', '0.0.0.0', '255.255.255.255']) assert.equal(addressFamily(host), 4);
  for (const host of ['::', '::1', 'fe80::1%eth0', '2001:db8::1', 'fe80::1%1', '::102:304']) assert.equal(addressFamily(host), 6);
  for (const host of ['example.com', 'a', 'host1', '1.2.3.com', '1.2.3.4x', 'a.b1', '']) assert.equal(addressFamily(host), 0);
});

void t.test('bytes', async () => {
  assert.deepEqual(parseAddress('1.2.3.4'), Uint8Array.of(1, 2, 3, 4));
  assert.equal(parseAddress('1.2.3.04'), null, 'parseAddress is strict');
  assert.equal(parseAddress('2130706433'), null);
  assert.equal(parseAddress('fe80::1%eth0')?.[0], 0xfe);
  assert.equal(ipv4ToNumber('255.255.255.255'), 2 ** 32 - 1);
  assert.equal(ipv4ToNumber('1.2.3'), -1);
  assert.equal(isMapped(parseAddress('::ffff:1.2.3.4') ?? new Uint8Array(16)), true);
  assert.equal(isMapped(parseAddress('::fffe:1.2.3.4') ?? new Uint8Array(16)), false);
});

void t.test('Node and the URL standard agree with us', async (t) => {
  await t.test('IPv6: format, then parse, is the same; Node takes it; URL writes it alike', async () => {
    fc.assert(
      fc.property(ipv6Bytes, (bytes) => {
        const text = formatAddress(bytes);
        if (isMapped(bytes)) {
          assert.equal(isIP(text), 4);
          return;
        }
        assert.equal(isIP(text), 6);
        assert.equal(urlHost(`[${text}]`), `[${text}]`);
        assert.deepEqual(parseAddress(text), bytes);
        assert.equal(normaliseAddress(text), text);
      }),
    );
  });

  await t.test('IPv6: any spelling', async () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const bytes = parseAddress(text);
        assert.notEqual(bytes, null, text);
        const canonical = urlHost(`[${text}]`);
        const ours = normaliseAddress(text) ?? '';
        assert.equal(ours.includes(':') ? `[${ours}]` : ours, bytes !== null && isMapped(bytes) ? formatAddress(bytes) : canonical);
      }),
    );
  });

  await t.test('IPv6: nonsense is refused where Node refuses it', async () => {
    const noise = fc.string({ unit: fc.constantFrom(...Array.from('0123456789abfF:::..%')), maxLength: 30 });
    fc.assert(
      fc.property(noise, (text) => {
        if (!text.includes(':') || text.includes('%')) return;
        assert.equal(parseAddress(text) !== null, isIP(text) === 6, text);
      }),
      { numRuns: 2000 },
    );
  });

  await t.test('IPv4: strict quads', async () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, fc.string({ unit: fc.constantFrom(...Array.from('0123456789.')), maxLength: 16 })), (text) => {
        assert.equal(parseAddress(text) !== null, isIP(text) === 4, text);
        assert.equal(ipv4ToNumber(text) !== -1, isIP(text) === 4, text);
        if (isIP(text) === 4) assert.equal(new SocketAddress({ address: text }).address, formatAddress(parseAddress(text) ?? new Uint8Array()));
      }),
      { numRuns: 2000 },
    );
  });

  await t.test('IPv4: loose forms', async () => {
    const parts = fc.tuple(fc.array(looseNumber(300), { maxLength: 4 }), looseNumber(2 ** 31 - 1), fc.boolean());
    fc.assert(
      fc.property(parts, ([heads, last, dot]) => {
        const text = [...heads, last].join('.') + (dot ? '.' : '');
        assert.equal(normaliseAddress(text), urlHost(text), text);
      }),
      { numRuns: 2000 },
    );
  });
});
