// A real TUN by the addon, in a network namespace of its own: what comes in batches, super-packets both ways, every size, closing in the middle. For the sanitizers above all
// (npm run test:asan); what a kernel does with it is in test/netns. The test starts itself again inside of the namespace.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { buildPacket, FLAG, type PacketDevice, packetAt, type TcpPacket, type UdpPacket } from '../../dist/ip.js';
import { findAddon } from '../../dist/native/load.js';
import { openTunBy } from '../../dist/native/open-tun.js';
import { eventually } from '../../dist/testing.js';

const SELF = fileURLToPath(import.meta.url);
const INSIDE = 'inside';
const MTU = 1_500;

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

/** Answers what comes: UDP goes back to where it came from, as a super-packet from 3,000 bytes on; TCP is taken and acknowledged. */
function answer(device: PacketDevice, seen: { largest: number; text: number }): void {
  device.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) {
        const packet = packetAt(batch, i);
        seen.largest = Math.max(seen.largest, packet.payload.length);
        if (packet.kind === 'udp') put(device, buildPacket(turned(packet)));
        else if (packet.kind === 'tcp') acknowledge(device, packet, seen);
      }
      device.flush();
    },
    failed: () => {},
  });
}

function turned<P extends TcpPacket | UdpPacket>(packet: P): P {
  const { source, destination, sourcePort, destinationPort } = packet;
  return { ...packet, source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort };
}

function acknowledge(device: PacketDevice, packet: TcpPacket, seen: { text: number }): void {
  const isSyn = (packet.flags & FLAG.syn) !== 0;
  if (!isSyn && packet.payload.length === 0) return;
  seen.text += packet.payload.length;
  const acknowledgment = (packet.sequence + packet.payload.length + (isSyn ? 1 : 0)) >>> 0;
  const options = isSyn ? { mss: 1_460, windowScale: 7 } : {};
  const flags = isSyn ? FLAG.syn | FLAG.ack : FLAG.ack;
  put(device, buildPacket({ ...turned(packet), sequence: isSyn ? 1 : 2, acknowledgment, flags, window: 65_535, options, payload: new Uint8Array(0) }));
}

async function inside(offload: boolean): Promise<void> {
  const openTun = openTunBy(findAddon().addon);
  const addresses = [
    { address: '10.9.0.1', prefix: 24 },
    { address: 'fd09::1', prefix: 64 },
  ];
  const open = (name: string): PacketDevice => openTun({ name, addresses, mtu: MTU, offload, arenaBytes: 1 << 20, warn: console.error });
  const device = open('one');
  const seen = { largest: 0, text: 0 };
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
    socket.close();
  }

  // TCP out of the kernel: super-packets where there are offloads.
  const socket = net.connect(80, '10.9.0.2');
  await once(socket, 'connect');
  socket.write(new Uint8Array(4 << 20));
  await eventually(() => seen.text >= 4 << 20, 60_000);
  assert.equal(seen.largest > MTU, offload, `the largest payload was ${seen.largest}`);

  // Packets of no shape: counted, and nothing else.
  for (let length = 1; length < 100; length++) put(device, new Uint8Array(length).fill(length));
  for (const size of [1, 7, 1_460]) put(device, new Uint8Array(20_000).fill(0x45), size);
  device.flush();
  assert.equal(device.sink.reserve(MTU + 1, 0), -1);

  // Closed while something is under way; opened again under the same name.
  socket.write(new Uint8Array(1 << 20));
  put(device, new Uint8Array(100));
  device.close();
  device.flush();
  socket.on('error', () => {}); // nobody is there any more
  socket.destroy();
  const again = open('one');
  answer(again, seen);
  again.close();
  console.log('over'); // and the process ends by itself: nothing is left that would keep it
}
