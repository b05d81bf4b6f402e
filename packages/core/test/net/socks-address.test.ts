import fc from 'fast-check';
import t from 'tap';
import { isNetError } from '../../dist/net/errors.js';
import { encodeSocksAddress, hostOfName, portAt, readSocksAddress, socksAddressEnd } from '../../dist/net/socks-address.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytes = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');

t.test('known ones, both ways', async (t) => {
  for (const [host, port, wire] of [
    ['192.0.2.1', 80, '01 c0000201 0050'],
    ['2001:db8::1', 443, '04 20010db8000000000000000000000001 01bb'],
    ['example.com', 65535, '03 0b 6578616d706c652e636f6d ffff'],
    ['a', 0, '03 01 61 0000'],
  ] as const) {
    t.equal(hex(encodeSocksAddress({ host, port })), hex(bytes(wire)), host);
    const shifted = Buffer.concat([Buffer.from('xyz'), bytes(wire), Buffer.from('payload')]);
    t.strictSame(readSocksAddress(shifted, 3), { host, port, end: shifted.length - 7 });
  }
});

t.test('what cannot be written', async (t) => {
  const errorOf = (host: string, ...names: [string?, string?]): string => {
    try {
      return hex(encodeSocksAddress({ host, port: 1 }, ...names));
    } catch (error) {
      return isNetError(error) ? `${error.failure} ${error.code}: ${error.message}` : String(error);
    }
  };
  t.equal(errorOf('fe80::1%eth0'), 'unreachable SOCKS5_ZONE: fe80::1%eth0 has a zone, which a SOCKS5 request cannot carry');
  t.equal(errorOf(''), 'name SOCKS5_NAME_LENGTH: a name of 0 bytes does not fit into a SOCKS5 request');
  t.equal(errorOf('ü'.repeat(128), 'Shadowsocks', 'SS'), 'name SS_NAME_LENGTH: a name of 256 bytes does not fit into a Shadowsocks request');
  t.equal(errorOf('x'.repeat(256), 'Shadowsocks'), 'name SHADOWSOCKS_NAME_LENGTH: a name of 256 bytes does not fit into a Shadowsocks request');
  t.match(errorOf('x'.repeat(255)), /^03ff(78){255}0001$/);
});

t.test('what is no address, or not yet', async (t) => {
  for (const type of [0, 2, 5, 0x13, 255]) t.equal(readSocksAddress(Uint8Array.of(type, 1, 2, 3), 0), null, `type ${type}`);
  t.equal(readSocksAddress(new Uint8Array(0), 0), undefined);
  t.equal(socksAddressEnd(Uint8Array.of(3), 0), undefined, 'a name whose length is to come');
  t.equal(socksAddressEnd(Uint8Array.of(3, 9), 0), 2 + 9 + 2);
  t.equal(socksAddressEnd(Uint8Array.of(4), 0), 19);
  t.strictSame(readSocksAddress(Uint8Array.of(3, 0, 0, 80), 0), { host: null, port: 80, end: 4 }, 'an empty name is none');
  t.strictSame(readSocksAddress(bytes('03 03 612062 0050'), 0), { host: null, port: 80, end: 7 });
  t.strictSame(
    readSocksAddress(bytes('04 00000000000000000000ffff7f000001 0050'), 0),
    { host: '127.0.0.1', port: 80, end: 19 },
    'no way around rules for IPv4',
  );
  t.strictSame(readSocksAddress(Buffer.concat([Uint8Array.of(3, 10), Buffer.from('2130706433'), Uint8Array.of(0, 80)]), 0)?.host, '127.0.0.1');
  t.equal(hostOfName(Buffer.from('EXAMPLE.com.')), 'example.com');
  t.equal(portAt(Uint8Array.of(1, 2, 3), 1), 0x0203);
});

t.test('any bytes in any fragmentation', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 20 }), (wire, at) => {
      const found = readSocksAddress(wire, at);
      const end = socksAddressEnd(wire, at);
      if (found === null) return end === null;
      if (found === undefined) return end === undefined || (end !== null && end > wire.length);
      if (found.end !== end || found.end > wire.length) return false;
      for (let length = at; length < found.end; length++) if (readSocksAddress(wire.subarray(0, length), at) !== undefined) return false;
      if (found.host === null) return true;
      // Whatever is read can be written, and means the same.
      const again = readSocksAddress(encodeSocksAddress({ host: found.host, port: found.port }), 0);
      return again?.host === found.host && again.port === found.port;
    }),
  );
});
