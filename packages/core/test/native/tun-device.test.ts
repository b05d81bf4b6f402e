// TunDevice and its rtnetlink messages on an addon of our own: what a machine without rights can see of them. The real thing: test/netns.
import assert from 'node:assert/strict';
import { endianness } from 'node:os';
import t from 'tap';
import { addAddress, linkInfo, setLink } from '../../dist/native/link-config.js';
import { attributesOf, FLAG_ACK, NetlinkMessage, netlinkAsk } from '../../dist/native/netlink.js';
import { openTunBy } from '../../dist/native/open-tun.js';
import { TUN_PACKETS, TUN_SLAB, type Tun, type TunAddon } from '../../dist/native/tun-addon.js';
import { TunDevice, type TunOptions } from '../../dist/native/tun-device.js';

const skip = endianness() !== 'LE' && 'the messages below are those of a little-endian machine';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** An answer of the kernel: an acknowledgment or an error. */
function acknowledged(errno = 0): Uint8Array {
  const answer = Buffer.alloc(36);
  answer.writeUInt32LE(36, 0);
  answer.writeUInt16LE(2, 4);
  answer.writeInt32LE(-errno, 16);
  return answer;
}

/** RTM_NEWLINK with an MTU and a queue length, and its acknowledgment. */
function linkAnswer(index: number, mtu: number, queue: number, up = true): Uint8Array {
  const body = Buffer.alloc(48);
  body.writeUInt32LE(48, 0);
  body.writeUInt16LE(16, 4);
  body.writeInt32LE(index, 20);
  body.writeUInt32LE(up ? 0x1043 : 0x1002, 24);
  body.writeUInt16LE(8, 32);
  body.writeUInt16LE(4, 34);
  body.writeUInt32LE(mtu, 36);
  body.writeUInt16LE(8, 40);
  body.writeUInt16LE(13, 42);
  body.writeUInt32LE(queue, 44);
  return Buffer.concat([body, acknowledged()]);
}

void t.test('messages, byte by byte', { skip }, async () => {
  const sent: string[] = [];
  const call = (request: Uint8Array): Uint8Array => {
    sent.push(hex(request));
    return linkAnswer(7, 1500, 500);
  };
  assert.deepEqual(linkInfo(call, 'tun7'), { index: 7, mtu: 1500, queueLength: 500, up: true });
  setLink(call, 7, { mtu: 9000, queueLength: 10_000 });
  setLink(call, 7, { up: true });
  setLink(call, 7, { up: false });
  addAddress(call, 7, { address: '198.18.0.1', prefix: 30 });
  addAddress(call, 7, { address: 'fdfe:dcba:9876::1', prefix: 126 });
  // length type flags sequence port | family … index flags change | length type value
  assert.deepEqual(
    sent,
    [
      '2c000000 1200 0500 01000000 00000000 00000000 00000000 00000000 00000000 0900 0300 74756e3700 000000',
      '30000000 1000 0500 01000000 00000000 00000000 07000000 00000000 00000000 0800 0400 28230000 0800 0d00 10270000',
      '20000000 1000 0500 01000000 00000000 00000000 07000000 01000000 01000000',
      '20000000 1000 0500 01000000 00000000 00000000 07000000 00000000 01000000',
      '28000000 1400 0505 01000000 00000000 02 1e 00 00 07000000 0800 0200 c6120001 0800 0100 c6120001',
      `48000000 1400 0505 01000000 00000000 0a 7e 00 00 07000000 1400 0200 fdfedcba987600000000000000000001 1400 0100 fdfedcba987600000000000000000001 0800 0800 02000000`,
    ].map((message) => message.replaceAll(' ', '')),
  );
});

void t.test('a message grows', async () => {
  const message = new NetlinkMessage(1, FLAG_ACK, new Uint8Array(4));
  for (let i = 0; i < 100; i++) message.uint32(i, i);
  const attributes = attributesOf(message.bytes(), 20);
  assert.equal(attributes.size, 100);
  assert.equal(message.bytes().length, 20 + 800);
});

void t.test('answers that are cut off, lie about their length or say nothing', { skip }, async () => {
  const whole = linkAnswer(7, 1500, 500);
  const ask = (answer: Uint8Array | number): unknown => netlinkAsk(() => answer, new NetlinkMessage(1, FLAG_ACK, new Uint8Array(4)), 'a test');
  for (let length = 0; length <= whole.length; length++) assert.doesNotThrow(() => ask(whole.subarray(0, length)));
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 1, 3, 255]) {
      const bad = Uint8Array.from(whole);
      bad[at] = value;
      try {
        linkInfo(() => bad, 'x');
      } catch (error) {
        assert.match(String(error), /^Error: interface x: /); // an error number, as the answer now says
      }
    }
  }
  assert.throws(() => ask(-1), { code: 'EPERM', message: 'a test: EPERM' });
  assert.throws(() => ask(acknowledged(19)), { code: 'ENODEV' });
});

void t.test('an address that is there already is no error', { skip }, async () => {
  addAddress(() => acknowledged(17), 1, { address: '10.0.0.1', prefix: 8 });
  assert.throws(() => addAddress(() => acknowledged(1), 1, { address: '10.0.0.1', prefix: 8 }), { code: 'EPERM' });
  assert.throws(() => addAddress(() => acknowledged(), 1, { address: 'nowhere', prefix: 8 }), TypeError);
});

/** Numbers of one record: start, end, segment size; where more payload lies, and how much. */
const RECORD = 7;

/** What an addon was asked for. */
interface Fake {
  readonly addon: TunAddon;
  readonly written: { readonly records: number[]; readonly bytes: Uint8Array }[];
  readonly calls: string[];
  deliver(count: number, more?: boolean): void;
}

function fake(
  answer: { readonly open?: number; readonly adopt?: number; readonly offload?: number; netlink?(request: Uint8Array): Uint8Array | number } = {},
): Fake {
  const written: { records: number[]; bytes: Uint8Array }[] = [];
  const calls: string[] = [];
  let deliver = (_count: number, _more: boolean): void => {};
  class FakeTun implements Tun {
    readonly name = 'tun7';
    readonly offload = answer.offload ?? 3;
    constructor(batch: { bytes: Uint8Array; start: Uint32Array }, drops: Float64Array, onPackets: (count: number, more: boolean) => void) {
      assert.ok(batch.bytes.length >= TUN_SLAB && batch.start.length === TUN_PACKETS && drops.length === 10);
      deliver = onPackets;
    }
    open(name: string, offload: boolean, multiQueue: boolean): number {
      calls.push(`open ${name} ${offload} ${multiQueue}`);
      return -(answer.open ?? 0);
    }
    adopt(fd: number, offload: boolean): number {
      calls.push(`adopt ${fd} ${offload}`);
      return -(answer.adopt ?? 0);
    }
    write(bytes: Uint8Array, records: Uint32Array, count: number): number {
      written.push({ records: [...records.subarray(0, RECORD * count)], bytes });
      return count;
    }
    source(): number {
      return 0;
    }
    flow(): number {
      return 7;
    }
    close(): void {
      calls.push('close');
    }
  }
  return {
    addon: { Tun: FakeTun, netlink: answer.netlink ?? (() => linkAnswer(7, 1500, 10_000)) },
    written,
    calls,
    deliver: (count, more = false) => deliver(count, more),
  };
}

const options = (over: Partial<TunOptions> = {}): TunOptions => ({
  name: 'tun7',
  addresses: [{ address: '198.18.0.1', prefix: 30 }],
  mtu: 1500,
  offload: true,
  arenaBytes: 0,
  warn: (message) => assert.fail(message),
  ...over,
});

const ERRORS: readonly [errno: number, message: string][] = [
  [
    1,
    'the TUN device tun7 cannot be opened: not permitted: run it with sudo, or give node the right with: sudo setcap cap_net_admin+ep "$(readlink -f "$(command -v node)")"',
  ],
  [2, 'the TUN device tun7 cannot be opened: there is no /dev/net/tun: sudo modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)'],
  [13, 'the TUN device tun7 cannot be opened: not permitted: run it with sudo'],
  [16, 'the TUN device tun7 cannot be opened: somebody else has it open: stop the other program, or choose another name with "device"'],
  [19, 'the TUN device tun7 cannot be opened: the kernel has no TUN: sudo modprobe tun'],
  [
    22,
    'the TUN device tun7 cannot be opened: it is no TUN device, or of another kind (TAP, for several queues, or with a protocol word in front of each packet)',
  ],
  [24, 'the TUN device tun7 cannot be opened: TUN: EMFILE'],
];
void t.test('what cannot be opened says what to do', { skip: process.platform !== 'linux' && 'the numbers are those of Linux' }, async () => {
  for (const [errno, message] of ERRORS) assert.throws(() => new TunDevice(fake({ open: errno }).addon, options()), { code: 'TUN_UNAVAILABLE', message });
  assert.throws(() => new TunDevice(fake({ open: 1 }).addon, options({ name: '' })), { message: /^a TUN device cannot be opened: not permitted/ });
  assert.throws(() => new TunDevice(fake({ adopt: 22 }).addon, options({ fileDescriptor: 5 })), {
    message: /^file descriptor 5 cannot be opened: it is no TUN device/,
  });
  assert.throws(() => openTunBy(null)(options()), { code: 'TUN_UNAVAILABLE', message: /needs the native addon, which is not loaded/ });
});

void t.test('what cannot be set up leaves nothing open', { skip }, async () => {
  const { addon, calls } = fake({ netlink: () => -1 });
  assert.throws(() => new TunDevice(addon, options()), {
    code: 'TUN_UNAVAILABLE',
    message: /^the TUN device tun7 cannot be set up: not permitted: run it with sudo, or .*setcap/,
  });
  assert.deepEqual(calls, ['open tun7 true false', 'close']);
});

/** Answers as a kernel that refuses requests of which `refuses` says so. */
function refusing(refuses: (request: Buffer) => number): (request: Uint8Array) => Uint8Array {
  return (request) => {
    const errno = refuses(Buffer.from(request));
    return errno === 0 ? linkAnswer(7, 1500, 500) : acknowledged(errno);
  };
}

void t.test('a queue that stays short, and IPv6 that is switched off, are warnings', { skip }, async () => {
  const warnings: string[] = [];
  const netlink = refusing((request) =>
    request.readUInt16LE(4) === 20 && request[16] === 10 ? 13 : request.readUInt16LE(4) === 16 && request.includes(Buffer.of(8, 0, 13, 0)) ? 1 : 0,
  );
  const addresses = [
    { address: '198.18.0.1', prefix: 30 },
    { address: 'fd00::1', prefix: 126 },
  ];
  const device = new TunDevice(fake({ netlink }).addon, options({ addresses, warn: (message) => warnings.push(message) }));
  assert.deepEqual(warnings, [
    'the queue of tun7 stays at 500 packets: interface settings: EPERM',
    'no IPv6 by tun7, as this system has it switched off: address fd00::1/126: EACCES',
  ]);
  assert.equal(device.index, 7);
  const four = refusing((request) => (request.readUInt16LE(4) === 20 ? 13 : 0));
  assert.throws(() => new TunDevice(fake({ netlink: four }).addon, options({ warn: () => undefined })), { message: /address 198\.18\.0\.1\/30: EACCES/ });
});

void t.test('a descriptor: its interface is left alone, and its MTU is asked', { skip }, async () => {
  const { addon, calls } = fake({
    netlink: (request) => (Buffer.from(request).readUInt16LE(4) === 18 ? linkAnswer(9, 1400, 500) : assert.fail('it was changed')),
  });
  const device = new TunDevice(addon, options({ fileDescriptor: 3, mtu: 9000, offload: false }));
  assert.deepEqual([device.index, device.sink.mtu, calls], [9, 1400, ['adopt 3 false']]);
  const warnings: string[] = [];
  const elsewhere = new TunDevice(
    fake({ netlink: () => acknowledged(19) }).addon,
    options({ fileDescriptor: 3, mtu: 1380, warn: (message) => warnings.push(message) }),
  );
  assert.deepEqual([elsewhere.index, elsewhere.sink.mtu], [0, 1380]);
  assert.deepEqual(warnings, ['the MTU of tun7 is taken to be 1380, for it cannot be asked: interface tun7: ENODEV']);
});

void t.test('packets: written in one call, at once when there is no room, and none longer than the MTU without a segment size', { skip }, async () => {
  const { addon, written } = fake();
  const device = new TunDevice(addon, options());
  const { sink } = device;
  assert.equal(sink.reserve(1501, 0), -1);
  assert.equal(sink.reserve(65_536, 1000), -1);
  const first = sink.reserve(100, 0);
  const second = sink.reserve(65_535, 1400);
  assert.equal(sink.lend?.(100, 0, 255_901, 1400), -1);
  assert.equal(sink.lend?.(1501, 0, 0, 0), -1);
  const third = sink.lend?.(100, 4_096, 65_000, 1400) ?? -1;
  assert.ok(first >= TUN_SLAB && second >= first + 100 && third >= second + 65_535);
  device.flush();
  device.flush();
  assert.deepEqual(
    written.map(({ records }) => records),
    [[first, first + 100, 0, 0, 0, 0, 0, second, second + 65_535, 1400, 0, 0, 0, 0, third, third + 100, 1400, 4_096, 65_000, 0, 0]],
  );
  const large = sink.lend?.(100, 4_096, 255_900, 1400) ?? -1;
  device.flush();
  assert.deepEqual(written.at(-1)?.records, [large, large + 100, 1400, 4_096, 255_900, 0, 0]);
  assert.equal(sink.largestLent, 256_000);
  const plain = new TunDevice(fake({ offload: 1 }).addon, options()).sink;
  assert.deepEqual([plain.largest, plain.largestLent], [65_535, 65_535]);
  assert.equal(plain.lend?.(100, 0, 65_436, 1400), -1);
  written.length = 0;
  const ends = new Set<number>();
  for (let i = 0; i < 3000; i++) ends.add(sink.reserve(1500, 0));
  device.flush();
  assert.deepEqual(
    written.reduce((sum, { records }) => sum + records.length / RECORD, 0),
    3000,
  );
  assert.ok(!ends.has(-1) && Math.max(...ends) + 1500 <= sink.bytes.length);
  for (const { records } of written)
    for (let i = RECORD; i < records.length; i += RECORD) assert.ok((records[i] ?? 0) >= (records[i - RECORD + 1] ?? 0), 'they do not overlap');
});

void t.test('what the addon tells: batches, and once that the device is gone', { skip }, async () => {
  const { addon, deliver, calls } = fake();
  const device = new TunDevice(addon, options());
  const heard: string[] = [];
  deliver(3); // nobody listens yet
  device.start({
    packets: (batch, more) => heard.push(`${batch.length} packets${more === true ? ', and more' : ''}`),
    failed: ({ code, message }) => heard.push(`${code}: ${message}`),
  });
  deliver(3);
  deliver(4, true);
  deliver(0);
  deliver(-77);
  deliver(-14);
  device.close();
  deliver(1);
  assert.deepEqual(heard, [
    '3 packets',
    '4 packets, and more',
    '0 packets',
    'DEVICE_GONE: the TUN device tun7 is gone: it was removed',
    'DEVICE_GONE: the TUN device tun7 is gone: its memory was transferred to another thread',
  ]);
  assert.equal(calls.at(-1), 'close');
});
