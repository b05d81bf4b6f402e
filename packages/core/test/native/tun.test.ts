// A real TUN by the addon, in a network namespace of its own: what comes in batches, super-packets both ways, every size, closing in the middle. For the sanitizers above all
// (npm run test:asan); what a kernel does with it is in test/netns. The test starts itself again inside of the namespace.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { availableParallelism, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import {
  buildPacket,
  FLAG,
  LONGEST_PACKET,
  type Packet,
  type PacketDevice,
  packetAt,
  parsePacket,
  SeededRandom,
  type TcpPacket,
  type UdpPacket,
} from '../../dist/ip.js';
import { findAddon } from '../../dist/native/load.js';
import { openTunBy } from '../../dist/native/open-tun.js';
import { TunDevice } from '../../dist/native/tun-device.js';
import { eventually } from '../../dist/testing.js';

const SELF = fileURLToPath(import.meta.url);
const INSIDE = 'inside';
const MTU = 1_500;
/** Connections at once, and bytes of each: enough for batches that are full. */
const FLOWS = 8;
const EACH = 2 << 20;
/** What each of them sends, so that segments that were joined wrongly are seen. */
const TEXT = new SeededRandom(1).bytes(EACH);
/** Of a super-packet that is longer than its length field can say, in bytes of payload. Linux takes those of IPv4 whole from 6.6 on; others are cut. */
const LARGE = 200_000;
const TAKES_LARGE = !/^([0-5]|6\.[0-5])\./.test(release());
/** Where it lies behind a plain header of IPv4. */
const TCP_CHECKSUM = 20 + 16;

function unlessTun(): string | false {
  if (process.platform !== 'linux') return 'only Linux has TUNs here';
  if (process.getuid?.() !== 0) return 'needs root';
  if (findAddon().addon === null) return 'the native addon is not loaded';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch (error) {
    return `no /dev/net/tun: ${error instanceof Error ? error.message : String(error)}`;
  }
  return spawnSync('unshare', ['-n', 'true']).status !== 0 && 'this machine gives no network namespaces';
}

if (process.argv[2] === INSIDE) await inside(process.argv[3] === 'offload');
else {
  const skip = unlessTun();
  for (const offload of [true, false]) {
    void t.test(`a TUN ${offload ? 'with' : 'without'} offloads`, { skip, timeout: 120_000 }, async (t) => {
      const child = spawn('unshare', ['-n', process.execPath, '--enable-source-maps', SELF, INSIDE, offload ? 'offload' : 'plain'], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const said: string[] = [];
      for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (part: Buffer) => said.push(part.toString()));
      const [code] = (await once(child, 'close')) as [number | null];
      t.equal(code, 0, said.join(''));
      t.match(said.join(''), /over/);
    });
  }
}

/** Puts a packet into the device's slab; `segmentSize`: of a super-packet. */
function put(device: PacketDevice, packet: Uint8Array, segmentSize = 0): void {
  const at = device.sink.reserve(packet.length, segmentSize);
  assert.notEqual(at, -1);
  device.sink.bytes.set(packet, at);
}

/** What came. */
interface Seen {
  /** The largest payload, and the bytes of all payloads of TCP. */
  largest: number;
  text: number;
  /** What resets have acknowledged. */
  readonly resets: number[];
  /** Packets whose flow is another when it is asked for. */
  foreign: number;
  /** Segments whose bytes are not those that were sent. */
  wrong: number;
  /** The first sequence number of each client's port. */
  readonly begins: Map<number, number>;
}

/** Answers what comes: UDP goes back to where it came from, as a super-packet from 3,000 bytes on; TCP is taken, and acknowledged once for each batch and flow. */
function answer(device: PacketDevice, seen: Seen): void {
  device.start({
    packets: (batch) => {
      const last = new Map<number, TcpPacket>();
      for (let i = 0; i < batch.length; i++) {
        const packet = packetAt(batch, i);
        if (batch.flow[i] !== batch.flowOf(batch, i)) seen.foreign++;
        seen.largest = Math.max(seen.largest, packet.payload.length);
        if (packet.kind === 'udp') put(device, buildPacket(turned(packet)));
        else if (packet.kind === 'tcp') {
          seen.text += packet.payload.length;
          if ((packet.flags & FLAG.syn) !== 0) seen.begins.set(packet.sourcePort, packet.sequence + 1);
          if (!isText(packet.payload, (packet.sequence - (seen.begins.get(packet.sourcePort) ?? 0)) >>> 0)) seen.wrong++;
          if ((packet.flags & FLAG.rst) !== 0) seen.resets.push(packet.acknowledgment);
          last.set(packet.sourcePort, packet);
        }
      }
      for (const packet of last.values()) acknowledge(device, packet);
      device.flush();
    },
    failed: () => {},
  });
}

/** Whether these are the bytes from `at` on of TEXT again and again. */
function isText(bytes: Uint8Array, at: number): boolean {
  for (let done = 0; done < bytes.length; ) {
    const expected = TEXT.subarray((at + done) % EACH, ((at + done) % EACH) + bytes.length - done);
    if (Buffer.compare(bytes.subarray(done, done + expected.length), expected) !== 0) return false;
    done += expected.length;
  }
  return true;
}

/** Lends the device a packet of TCP from nowhere, without an ACK: the reset for it says how long it was. */
function lendLarge(device: PacketDevice, source: string, destination: string): void {
  const { sink, arena } = device;
  const isIPv6 = source.includes(':');
  const headers = buildPacket({
    kind: 'tcp',
    source,
    destination,
    sourcePort: 7,
    destinationPort: 7,
    sequence: 1_000,
    acknowledgment: 0,
    flags: FLAG.psh,
    window: 1,
    options: {},
    payload: new Uint8Array(0),
  });
  headers.fill(0, isIPv6 ? 4 : 2, isIPv6 ? 6 : 4);
  const from = arena.allocate(256 * 1024);
  const at = sink.lend?.(headers.length, from, LARGE, MTU - headers.length) ?? -1;
  assert.ok(from !== -1 && at !== -1);
  sink.bytes.set(headers, at);
  device.flush();
  arena.release(from, 256 * 1024);
}

function turned<P extends TcpPacket | UdpPacket>(packet: P): P {
  const { source, destination, sourcePort, destinationPort } = packet;
  return { ...packet, source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort };
}

function acknowledge(device: PacketDevice, packet: TcpPacket): void {
  const isSyn = (packet.flags & FLAG.syn) !== 0;
  if (!isSyn && packet.payload.length === 0) return;
  const acknowledgment = (packet.sequence + packet.payload.length + (isSyn ? 1 : 0)) >>> 0;
  const options = isSyn ? { mss: 1_460, windowScale: 7 } : {};
  const flags = isSyn ? FLAG.syn | FLAG.ack : FLAG.ack;
  const answer = buildPacket({ ...turned(packet), sequence: isSyn ? 1 : 2, acknowledgment, flags, window: 65_535, options, payload: new Uint8Array(0) });
  answer.fill(0xff, TCP_CHECKSUM, TCP_CHECKSUM + 2); // it is the device's to do
  put(device, answer);
}

function threads(): string[] {
  return readdirSync('/proc/self/task').map((task) => readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim());
}

/** What the kernel has not taken of what was written to a device, and of TCP. */
function refusedBy(name: string): Record<'packets' | 'segments' | 'checksums', number> {
  const [{ stats64 }] = JSON.parse(spawnSync('ip', ['-s', '-j', 'link', 'show', name], { encoding: 'utf8' }).stdout) as [
    { stats64: { rx: { errors: number; dropped: number } } },
  ];
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
    .map((line) => line.split(' '));
  const counter = (which: string): number => Number(values?.[names?.indexOf(which) ?? -1]);
  return { packets: stats64.rx.errors + stats64.rx.dropped, segments: counter('InErrs'), checksums: counter('InCsumErrors') };
}

/** Acknowledges nothing to nobody, at the end of each turn that brought UDP: a turn after which more is to be read at once leaves that to the thread. */
async function fillTurns(device: PacketDevice): Promise<void> {
  const DATAGRAMS = 2_000; // 2.8 MiB, of which a turn reads one
  const ack = { sequence: 1, acknowledgment: 1, flags: FLAG.ack, window: 65_535, options: {}, payload: new Uint8Array(0) };
  let seen = 0;
  device.start({
    packets: (batch, more) => {
      for (let i = 0; i < batch.length; i++) {
        const packet = packetAt(batch, i);
        if (packet.kind === 'udp') seen++;
        if (packet.kind === 'udp' && !more && i === batch.length - 1) put(device, buildPacket({ ...turned(packet), ...ack, kind: 'tcp' }));
      }
      device.flush();
    },
    failed: () => {},
  });
  const socket = createSocket('udp4').bind(0, '10.8.0.1');
  await once(socket, 'listening');
  const say = (): void => socket.send(new Uint8Array(1_452), 53, '10.8.0.2');
  say();
  await eventually(() => seen === 1);
  assert.ok(!threads().includes('nekit-acks'), 'a turn that is not full needs no thread');
  for (let i = 1; i < DATAGRAMS; i++) say();
  await eventually(() => seen === DATAGRAMS);
  if (availableParallelism() > 1)
    assert.ok(threads().includes('nekit-acks'), `acknowledgments of a full turn have their thread, beside ${threads().join(' ')}`);
  socket.close();
  device.close();
}

/** A device that stays keeps what it was told: who opens it without offloads hears this host all the same, and so does a stranger. */
async function stays(openTun: ReturnType<typeof openTunBy>): Promise<void> {
  assert.equal(spawnSync('ip', ['tuntap', 'add', 'mode', 'tun', 'name', 'stays']).status, 0);
  for (const offload of [false, true, false]) {
    let segments = 0;
    const device = openTun({ name: 'stays', addresses: [{ address: '10.7.0.1', prefix: 24 }], mtu: MTU, offload, arenaBytes: 1 << 20, warn: console.error });
    device.start({
      packets: (batch) => {
        for (let i = 0; i < batch.length; i++) if (batch.protocol[i] === 6) segments++;
      },
      failed: () => {},
    });
    const socket = net.connect(80, '10.7.0.2').on('error', () => {});
    await eventually(() => segments > 0);
    socket.destroy();
    device.close();
  }
  assert.equal(spawnSync('ip', ['link', 'del', 'stays']).status, 0);
  // One for several queues may be in use by others, and what we asked for would hold for them.
  assert.equal(spawnSync('ip', ['tuntap', 'add', 'mode', 'tun', 'name', 'several', 'multi_queue']).status, 0);
  assert.throws(() => openTun({ name: 'several', addresses: [], mtu: MTU, offload: true, warn: console.error }), /several queues/);
  assert.equal(spawnSync('ip', ['link', 'del', 'several']).status, 0);
}

/** The kernel leaves us the checksum of a packet within another: it is as right as one of its own. */
async function tunnelled(device: PacketDevice): Promise<void> {
  const ETHERNET = 14;
  const VXLAN = 8;
  const set = `ip link add inner address 02:00:00:00:00:01 type vxlan id 1 remote 10.9.0.2 dstport 4789; ip addr add 172.16.0.1/24 dev inner; ip link set inner mtu 1400 up;
    ip neigh add 172.16.0.2 lladdr 02:00:00:00:00:02 dev inner`;
  const { status, stderr } = spawnSync('sh', ['-ec', set], { encoding: 'utf8' });
  if (status !== 0) {
    console.log(`left out: this system has no VXLAN: ${stderr}`);
    return;
  }
  const inner: (Packet | null)[] = [];
  device.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) {
        const packet = packetAt(batch, i);
        if (packet.kind === 'udp' && packet.destinationPort === 4_789 && packet.payload[VXLAN + 12] === 0x08)
          inner.push(parsePacket(packet.payload.subarray(VXLAN + ETHERNET)));
      }
    },
    failed: () => {},
  });
  const socket = net.connect(80, '172.16.0.2').on('error', () => {});
  await eventually(() => inner.some((packet) => packet === null || packet.kind === 'tcp'));
  assert.ok(!inner.includes(null), 'a packet within a packet has a wrong checksum');
  socket.destroy();
  assert.equal(spawnSync('ip', ['link', 'del', 'inner']).status, 0);
}

async function inside(offload: boolean): Promise<void> {
  delete process.env.LD_PRELOAD; // ip(8) is not ours to look at for leaks
  const openTun = openTunBy(findAddon().addon);
  if (offload) await stays(openTun);
  const fullTurns = { name: 'full', addresses: [{ address: '10.8.0.1', prefix: 24 }], mtu: MTU, offload, arenaBytes: 1 << 20, warn: console.error };
  await fillTurns(openTun(fullTurns));
  const addresses = [
    { address: '10.9.0.1', prefix: 24 },
    { address: 'fd09::1', prefix: 64 },
  ];
  const open = (name: string): PacketDevice => openTun({ name, addresses, mtu: MTU, offload, arenaBytes: 1 << 20, warn: console.error });
  const device = open('one');
  const seen: Seen = { largest: 0, text: 0, resets: [], foreign: 0, wrong: 0, begins: new Map() };
  answer(device, seen);

  // UDP of every size, both families.
  for (const [family, local, remote] of [['udp4', '10.9.0.1', '10.9.0.2'] as const, ['udp6', 'fd09::1', 'fd09::2'] as const]) {
    const socket = createSocket(family);
    const back: number[] = [];
    socket.on('message', (message) => back.push(message.length)).bind(0, local);
    await once(socket, 'listening');
    const { port } = socket.address();
    for (let length = 0; length <= 1_452; length += 132) {
      const before = back.length;
      // IPv6 finds its own address usable only after a moment: what is lost is sent again.
      await eventually(() => {
        if (back.length === before) socket.send(new Uint8Array(length), 53, remote);
        return back.length > before;
      });
      assert.equal(back[before], length);
    }
    // A super-packet towards the kernel: cut by it, or by the addon.
    const before = back.length;
    const payload = new Uint8Array(12_345).fill(7);
    const many = buildPacket({ kind: 'udp', source: remote, destination: local, sourcePort: 53, destinationPort: port, payload });
    put(device, many, 1_000);
    device.flush();
    await eventually(() => back.length >= before + 13);
    assert.equal(
      back.slice(before).reduce((sum, length) => sum + length, 0),
      12_345,
    );
    // Of more datagrams than Linux cuts one into.
    put(device, buildPacket({ kind: 'udp', source: remote, destination: local, sourcePort: 53, destinationPort: port, payload: new Uint8Array(200 * 20) }), 20);
    device.flush();
    await eventually(() => back.length >= before + 13 + 200);
    socket.close();
  }

  // TCP out of the kernel: super-packets where there are offloads.
  const sockets = Array.from({ length: FLOWS }, () => net.connect(80, '10.9.0.2'));
  for (const socket of sockets) {
    await once(socket, 'connect');
    socket.on('error', () => {}); // in the end nobody is there any more
    socket.write(TEXT);
  }
  await eventually(() => seen.text >= FLOWS * EACH, 60_000);
  assert.equal(seen.foreign, 0);
  assert.equal(seen.wrong, 0);
  // Segments of one that follow one another come as one, where there are no offloads, too.
  const lone = net.connect(80, '10.9.0.2');
  sockets.push(lone);
  lone.on('error', () => {});
  await once(lone, 'connect');
  const most = offload ? LONGEST_PACKET : MTU;
  for (let flows = FLOWS + 1; seen.largest <= most && flows < 4 * FLOWS; flows++) {
    lone.write(TEXT);
    await eventually(() => seen.text >= flows * EACH, 60_000);
  }
  assert.ok(seen.largest > most, `the largest payload was ${seen.largest}`);
  assert.equal(seen.wrong, 0);
  if (availableParallelism() > 1)
    assert.ok(threads().includes('nekit-acks'), `acknowledgments between batches have their thread, beside ${threads().join(' ')}`);
  // What it has written was good, too.
  assert.deepEqual(refusedBy('one'), { packets: 0, segments: 0, checksums: 0 });
  assert.ok(device instanceof TunDevice);
  assert.equal(device.drops.at(-1), 0, 'packets that could not be written');

  // Larger than a packet: whole, or in parts.
  if (offload) {
    for (const [family, source, destination] of [[4, '10.9.0.2', '10.9.0.1'] as const, [6, 'fd09::2', 'fd09::1'] as const]) {
      seen.resets.length = 0;
      lendLarge(device, source, destination);
      await eventually(() => seen.resets.includes(1_000 + LARGE));
      assert.equal(seen.resets.length, family === 4 && TAKES_LARGE ? 1 : Math.ceil(LARGE / 65_535), `IPv${family}`);
    }
    assert.deepEqual(refusedBy('one'), { packets: 0, segments: 0, checksums: 0 });
    assert.equal(device.drops.at(-1), 0, 'packets that could not be written');
  }

  await tunnelled(device);
  answer(device, seen);

  // Packets of no shape: counted, and nothing else.
  for (let length = 1; length < 100; length++) put(device, new Uint8Array(length).fill(length));
  for (const size of [1, 7, 1_460]) put(device, new Uint8Array(20_000).fill(0x45), size);
  device.flush();
  assert.equal(device.sink.reserve(MTU + 1, 0), -1);

  // Closed while something is under way; opened again under the same name.
  for (const socket of sockets) socket.write(new Uint8Array(1 << 20));
  put(device, new Uint8Array(100));
  device.close();
  device.flush();
  for (const socket of sockets) socket.destroy();
  const again = open('one');
  answer(again, seen);
  again.close();
  console.log('over'); // and the process ends by itself: nothing is left that would keep it
}
