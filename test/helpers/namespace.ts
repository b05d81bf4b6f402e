/** Network namespaces that a test makes and removes: nothing of the machine's own network is touched. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { eventually } from '@nekit/core/testing';
import { hasProgram, type Outcome, type RunOptions, run } from './programs.js';

/** For tap's `skip`: false, or why there are no namespaces with a TUN here. */
export function unlessNamespaces(...programs: readonly string[]): string | false {
  if (process.platform !== 'linux') return 'only Linux has network namespaces';
  const missing = ['ip', 'nsenter', 'unshare', ...programs].filter((name) => !hasProgram(name));
  if (missing.length > 0) return `not installed: ${missing.join(', ')} (see .ci/debian-packages)`;
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch (error) {
    return `no /dev/net/tun: ${error instanceof Error ? error.message : String(error)}`;
  }
  return spawnSync('unshare', ['-n', 'true']).status !== 0 && 'this machine gives no network namespaces';
}

/** A namespace of its own, which ends with `close`, and with this process. */
export class Namespace {
  readonly #holder: ChildProcess;
  readonly #children: ChildProcess[] = [];
  /** Of nsenter: which of its namespaces are entered. */
  readonly #kinds: readonly string[];

  private constructor(holder: ChildProcess, kinds: readonly string[]) {
    this.#holder = holder;
    this.#kinds = kinds;
  }

  /** `resolvConf`: a file that programs in it see as /etc/resolv.conf. */
  static async make({ resolvConf }: { readonly resolvConf?: string } = {}): Promise<Namespace> {
    // Mounts of a namespace of its own are seen by nobody else.
    const kinds = resolvConf === undefined ? ['-n'] : ['-n', '-m'];
    const mount = resolvConf === undefined ? '' : 'mount --bind "$1" /etc/resolv.conf && ';
    // Tells when it is inside, and ends when our end of its input does.
    const script = `${mount}ip link set lo up && echo inside && exec cat`;
    const holder = spawn('unshare', [...kinds, 'sh', '-c', script, 'sh', resolvConf ?? ''], { stdio: ['pipe', 'pipe', 'inherit'] });
    let said = '';
    holder.stdout?.on('data', (part: Buffer) => {
      said += part.toString();
    });
    await eventually(() => said.includes('inside'), 10_000, 'a namespace');
    return new Namespace(holder, kinds);
  }

  get pid(): number {
    return this.#holder.pid ?? 0;
  }

  /** Runs a program in it, to its end. */
  run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run('nsenter', this.#enter(command, args), options);
  }

  /** A line of shell that must succeed: setting things up. */
  async sh(line: string): Promise<string> {
    const { code, stdout, stderr } = await this.run('sh', ['-ec', line], { ms: 20_000 });
    if (code !== 0) throw new Error(`${line}: ${code}: ${stderr}`);
    return stdout.toString();
  }

  /** Starts a program in it, which is ended by `close` at the latest. */
  spawn(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess {
    const child = spawn('nsenter', this.#enter(command, args), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.push(child);
    return child;
  }

  #enter(command: string, args: readonly string[]): string[] {
    return ['-t', String(this.pid), ...this.#kinds, command, ...args];
  }

  /** A cable to another namespace, with an interface of the given name at each end. */
  async connect(name: string, other: Namespace, otherName: string): Promise<void> {
    await this.sh(`ip link add ${name} type veth peer name ${otherName} netns ${other.pid}; ip link set ${name} up`);
    await other.sh(`ip link set ${otherName} up`);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#children, this.#holder].map(ended));
  }
}

/** Ends a program that may have ended already: SIGTERM, and SIGKILL after 5 s. */
export async function ended(child: ChildProcess): Promise<void> {
  child.stdin?.end();
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await gone;
  clearTimeout(late);
}
