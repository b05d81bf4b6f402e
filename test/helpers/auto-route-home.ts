/**
 * A home whose TUN sets its own routes:
 *
 *   guest 192.168.7.2, fd07::2 ── lan ── home: kernel (tun7), 10.1.0.1, fd01::1 ── cable ── outside: servers on 203.0.113.1 and 2001:db8:113::1, and on 10.1.0.2, fd01::2
 *
 * The way outside is home's default route. Nothing but the kernel sets rules, and reverse paths are checked strictly.
 */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@nekit/core/testing';
import { Namespace } from './namespace.js';
import { makeFolder, type Outcome } from './programs.js';
import { CLI, SERVER, SERVER_6, TUN } from './tun-home.js';

export interface RunningKernel {
  readonly process: ChildProcess;
  /** Of this process, so far. */
  log(): string;
  /** Sends the signal and waits for the end: the exit code, or the signal. */
  end(signal: NodeJS.Signals): Promise<number | string | null>;
}

export interface StartOptions {
  /** Where the config is written. */
  readonly file?: string;
  /** A command that runs the kernel: what stands behind it is the kernel's own command line. */
  readonly through?: readonly string[];
}

export interface AutoRouteHome {
  readonly home: Namespace;
  readonly outside: Namespace;
  readonly guest: Namespace;
  readonly configFile: string;
  /** A file beside the config. */
  write(name: string, text: string): string;
  /** Starts a kernel and waits until it says that the TUN runs. */
  start(config: string, options?: StartOptions): Promise<RunningKernel>;
  /** Runs a command of the CLI in home, to its end. */
  cli(...args: readonly string[]): Promise<Outcome>;
  /** Rules of both families but for those that every system has, and what table 2022 holds. */
  rules(): Promise<string[]>;
  close(): Promise<void>;
}

export async function makeAutoRouteHome(): Promise<AutoRouteHome> {
  const [home, outside, guest] = [await Namespace.make(), await Namespace.make(), await Namespace.make()];
  const folder = makeFolder();
  const configFile = join(folder.path, 'config.yaml');
  await home.connect('cable', outside, 'cable');
  await home.connect('lan', guest, 'lan');
  await home.sh(`
    ip addr add 10.1.0.1/24 dev cable; ip -6 addr add fd01::1/64 dev cable nodad
    ip addr add 192.168.7.1/24 dev lan; ip -6 addr add fd07::1/64 dev lan nodad
    ip route add default via 10.1.0.2; ip -6 route add default via fd01::2
    for name in all default cable lan; do echo 1 > /proc/sys/net/ipv4/conf/$name/rp_filter; done
    echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding`);
  await outside.sh(`
    ip addr add 10.1.0.2/24 dev cable; ip -6 addr add fd01::2/64 dev cable nodad
    ip addr add ${SERVER}/32 dev lo; ip -6 addr add ${SERVER_6}/128 dev lo nodad`);
  await guest.sh(`
    ip addr add 192.168.7.2/24 dev lan; ip -6 addr add fd07::2/64 dev lan nodad
    ip route add default via 192.168.7.1; ip -6 route add default via fd07::1`);
  return {
    home,
    outside,
    guest,
    configFile,
    write(name, text) {
      const file = join(folder.path, name);
      writeFileSync(file, text);
      return file;
    },
    async start(config, { file = configFile, through = [] } = {}) {
      writeFileSync(file, config);
      const [command, ...args] = [...through, process.execPath, CLI, 'run', '-c', file];
      const kernel = home.spawn(command, args);
      let log = '';
      for (const pipe of [kernel.stdout, kernel.stderr])
        pipe?.on('data', (part: Buffer) => {
          log += part.toString();
        });
      await eventually(() => kernel.exitCode !== null || /listener tun \(tun\) on/.test(log), 20_000, 'a kernel with a TUN');
      if (kernel.exitCode !== null) throw new Error(`the kernel has ended: ${log}`);
      return {
        process: kernel,
        log: () => log,
        end: (signal) =>
          new Promise((resolve) => {
            kernel.once('exit', (code, by) => resolve(code ?? by));
            kernel.kill(signal);
          }),
      };
    },
    cli: (...args) => home.run(process.execPath, [CLI, ...args], { ms: 20_000 }),
    async rules() {
      const text = await home.sh('ip rule; ip -6 rule; ip route show table 2022 2>/dev/null || true; ip -6 route show table 2022 2>/dev/null || true');
      return text.split('\n').filter((line) => line !== '' && !/^(?:0:|3276[67]:)/.test(line));
    },
    async close() {
      await Promise.all([home.close(), outside.close(), guest.close()]);
      folder.remove();
    },
  };
}

export { SERVER, SERVER_6, TUN };
