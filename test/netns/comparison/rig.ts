/**
 * Runs in a network namespace of its own: sends every scenario's segments (or those of the scenarios that are named) to Linux's TCP and to ours, and prints both records as JSON.
 *
 *     craft ── 10.77.0.1, fd77::1: Linux's own TCP
 *       └───── forwarded ── ours ── 10.78.0.9, fd78::9: our stack
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync, writeSync } from 'node:fs';
import { packetAt, type TcpPacket } from '@nekit/core/ip';
import { findAddon } from '../../../packages/core/dist/native/load.js';
import { openTunBy } from '../../../packages/core/dist/native/open-tun.js';
import type { Family } from './packets.js';
import { Probe, type Step, type Wire } from './probe.js';
import { SCENARIOS, type Scenario } from './scenarios.js';
import { type Apps, listenOnLinux, listenOnOurs, type Side } from './targets.js';

const ADDRESSES = {
  4: { linux: '10.77.0.1', ours: '10.78.0.9' },
  6: { linux: 'fd77::1', ours: 'fd78::9' },
} as const;

/** Each flow has a client of its own: Linux keeps a path's MTU by address. */
function clientAddress(family: Family, number: number): string {
  return family === 4 ? `10.77.${1 + (number >> 8)}.${number & 255}` : `fd77::1:${number.toString(16)}`;
}

export type Answers = Record<string, Record<Side, readonly Step[]>>;

function sysctl(...settings: readonly string[]): void {
  execFileSync('sysctl', ['-qw', ...settings]);
}

async function main(): Promise<void> {
  sysctl('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0');
  sysctl('net.ipv4.tcp_syncookies=0', 'net.ipv4.tcp_max_syn_backlog=4096', 'net.core.somaxconn=4096');
  const openTun = openTunBy(findAddon().addon);
  const common = { mtu: 1_500, offload: false, warn: (message: string) => process.stderr.write(`${message}\n`) };
  const before = tunDescriptors();
  const craft = openTun({
    ...common,
    name: 'craft',
    addresses: [
      { address: ADDRESSES[4].linux, prefix: 16 },
      { address: ADDRESSES[6].linux, prefix: 64 },
    ],
    arenaBytes: 0,
  });
  // Bytes as they are: the device itself would make every checksum right.
  const descriptor = tunDescriptors().find((fd) => !before.includes(fd));
  if (descriptor === undefined) throw new Error('the descriptor of the TUN is not to be found');
  const device = openTun({
    ...common,
    name: 'ours',
    addresses: [
      { address: '10.78.0.1', prefix: 24 },
      { address: 'fd78::1', prefix: 64 },
    ],
    arenaBytes: 32 << 20,
  });
  const linux = await listenOnLinux([ADDRESSES[4].linux, ADDRESSES[6].linux]);
  const ours = listenOnOurs(device);
  const listeners = new Map<string, (packet: TcpPacket) => void>();
  const wire: Wire = {
    send: (packet) => void writeSync(descriptor, packet),
    listen: (address, port, receive) => void listeners.set(`${address} ${port}`, receive),
  };
  craft.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) {
        const packet = packetAt(batch, i);
        if (packet.kind === 'tcp') listeners.get(`${packet.source} ${packet.destinationPort}`)?.(packet);
      }
    },
    failed: (error) => {
      throw error;
    },
  });
  let flows = 0;
  const answers: Answers = {};
  const run = async (scenario: Scenario, family: Family, side: Side, apps: Apps): Promise<readonly Step[]> => {
    const number = flows++;
    const probe = new Probe({ wire, apps, family, local: clientAddress(family, number), remote: ADDRESSES[family][side], port: 20_000 + number });
    try {
      await scenario.run(probe);
    } catch (error) {
      probe.record.push([`the scenario broke: ${error instanceof Error ? error.message : String(error)}`, []]);
    }
    return probe.record;
  };
  const chosen = process.argv.slice(2);
  const all = SCENARIOS.filter(({ name }) => chosen.length === 0 || chosen.includes(name)).flatMap((scenario) =>
    ([4, 6] as const).map(async (family) => {
      const [ofLinux, ofOurs] = await Promise.all([run(scenario, family, 'linux', linux.apps), run(scenario, family, 'ours', ours.apps)]);
      answers[`IPv${family} ${scenario.name}`] = { linux: ofLinux, ours: ofOurs };
    }),
  );
  await Promise.all(all);
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}

function tunDescriptors(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => linkOf(fd) === '/dev/net/tun');
}

function linkOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    return error instanceof Error ? error.message : ''; // the one that reads the folder is gone by now
  }
}

await main();
