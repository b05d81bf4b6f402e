import assert from 'node:assert/strict';
import { endianness } from 'node:os';
import t from 'tap';
import { PACKED_ADDRESS } from '../../dist/native/addon.js';
import { unpackAddress } from '../../dist/native/packed-address.js';

const skip = endianness() === 'LE' ? false : 'numbers are in the order of the machine';

void t.test('a scope id has all its 32 bits', { skip }, () => {
  for (const scope of [1, 0xffff, 0x10000, 0x12345678, 0xffffffff]) {
    const bytes = Buffer.alloc(8 + PACKED_ADDRESS);
    bytes.set([0xfe, 0x80], 8);
    bytes[8 + 15] = 1;
    bytes.writeUInt16LE(443, 8 + 16);
    bytes[8 + 18] = 6;
    bytes.writeUInt32LE(scope, 8 + 20);
    assert.deepEqual(unpackAddress(bytes, 8), { host: `fe80::1%${scope}`, port: 443 });
  }
  return Promise.resolve();
});
