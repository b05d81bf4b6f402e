/**
 * A home with a TUN and the net outside:
 *
 *   home: clients, kernel (tun7)  ── veth ──  outside: servers on 203.0.113.1 and 2001:db8:113::1
 *
 * What goes to the servers' networks goes into the TUN; the kernel's own sockets are bound to the cable.
 */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@nekit/core/testing';
import { Namespace } from './namespace.js';
import { makeFolder } from './programs.js';

export const SERVER = '203.0.113.1';
export const SERVER_6 = '2001:db8:113::1';

export const CLI = fileURLToPath(new URL('../../packages/cli/bin/nekit-kernel.js', import.meta.url));

/** Of the device; the addresses are Clash's. */
export const TUN = 'tun7';

export interface StartOptions {
  /** Whether routes of IPv6 are set as well; true. */
  readonly ipv6?: boolean;
  /** A command that runs the kernel: what stands behind it is the kernel's own command line. */
  readonly through?: readonly string[];
  /** Lines of shell that bring the device up, where the kernel does not. */
  readonly setUp?: string;
}

export interface TunHome {
  readonly home: Namespace;
  readonly outside: Namespace;
  /** Where `start` writes the config. */
  readonly configFile: string;
  /** The kernel's log so far. */
  log(): string;
  /** Sends what goes to the servers into the TUN, which is up. */
  route(options?: Pick<StartOptions, 'ipv6'>): Promise<void>;
  /** Starts the kernel on a config and sets the routes; settles when both are there. */
  start(config: string, args?: readonly string[], options?: StartOptions): Promise<ChildProcess>;
  close(): Promise<void>;
}

export async function makeTunHome(): Promise<TunHome> {
  const [home, outside] = [await Namespace.make(), await Namespace.make()];
  const folder = makeFolder();
  const configFile = join(folder.path, 'config.yaml');
  let log = '';
  await home.connect('cable', outside, 'cable');
  await home.sh('ip addr add 10.1.0.1/24 dev cable; ip -6 addr add fd01::1/64 dev cable nodad');
  await outside.sh(
    `ip addr add 10.1.0.2/24 dev cable; ip -6 addr add fd01::2/64 dev cable nodad; ip addr add ${SERVER}/32 dev lo; ip -6 addr add ${SERVER_6}/128 dev lo nodad`,
  );
  // Bound to the cable, a socket finds these; all others find those of the TUN, which come first.
  await home.sh('ip route add 203.0.113.0/24 via 10.1.0.2 dev cable metric 100; ip -6 route add 2001:db8:113::/64 via fd01::2 dev cable metric 2000');
  const route = async ({ ipv6 = true }: Pick<StartOptions, 'ipv6'> = {}): Promise<void> => {
    await home.sh(`ip route replace 203.0.113.0/24 dev ${TUN} metric 1`);
    if (ipv6) await home.sh(`ip -6 route replace 2001:db8:113::/64 dev ${TUN} metric 1`);
  };
  return {
    home,
    outside,
    configFile,
    log: () => log,
    route,
    async start(config, args = [], { ipv6 = true, through = [], setUp = '' } = {}) {
      writeFileSync(configFile, config);
      log = '';
      const [command = '', ...rest] = [...through, process.execPath, CLI, 'run', '-c', configFile, ...args];
      const kernel = home.spawn(command, rest);
      for (const pipe of [kernel.stdout, kernel.stderr])
        pipe?.on('data', (part: Buffer) => {
          log += part.toString();
        });
      const isUp = async (): Promise<boolean> => {
        const { code, stdout } = await home.run('ip', ['link', 'show', TUN]);
        if (code === 0 && setUp !== '' && !stdout.includes('UP')) await home.sh(setUp);
        return stdout.includes('UP');
      };
      // The device is up before the rest of the start is through.
      for (const end = performance.now() + 20_000; !((await isUp()) && log.includes('nekit-kernel runs')); ) {
        if (kernel.exitCode !== null || performance.now() > end) throw new Error(`the kernel has no TUN: ${log}`);
      }
      await route({ ipv6 });
      return kernel;
    },
    async close() {
      await home.close();
      await outside.close();
      folder.remove();
    },
  };
}

/** A server of Node's in a namespace; settles when it has said that it listens. */
export async function serve(namespace: Namespace, text: string): Promise<ChildProcess> {
  const child = namespace.spawn(process.execPath, ['-e', text], { PATH: process.env.PATH });
  let said = '';
  child.stdout?.on('data', (part: Buffer) => {
    said += part.toString();
  });
  child.stderr?.on('data', (part: Buffer) => {
    said += part.toString();
  });
  await eventually(() => said.includes('ready'), 15_000, `a server: ${said}`);
  return child;
}
