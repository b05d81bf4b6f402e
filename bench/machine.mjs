// What the machine is, and the settings of it that a run changes.
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { options } from './options.mjs';

const TCP_SYSCTL = '/proc/sys/net/ipv4';
/** One stream is fastest and steadiest under reno, more are erratic under it; the default of the machine may be either. */
const CONGESTION = { 1: 'reno', 8: 'bbr', 16: 'bbr', 64: 'bbr' };

/** A network namespace of our own: nobody else's traffic, our congestion control for every proxy, few TIME_WAIT sockets. */
export function canHaveNamespace() {
  return process.getuid?.() === 0 && spawnSync('unshare', ['--net', '--', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' }).status === 0;
}

/** The arguments of `unshare` that run a command in a network namespace of its own. */
export function inNamespaceOfItsOwn(command) {
  return ['--net', '--', 'sh', '-c', 'ulimit -n "$(ulimit -Hn)" && ip link set lo up && exec "$@"', 'sh', ...command];
}

export async function limitTimeWait() {
  if (options.inNamespace) await writeFile(`${TCP_SYSCTL}/tcp_max_tw_buckets`, '1000');
}

/** Sets the congestion control of every new socket, the proxies' included, where we own the namespace. Returns what is in force. */
export async function setCongestion(streams) {
  const wanted = options.congestion ?? CONGESTION[streams] ?? 'reno';
  const available = await readFile(`${TCP_SYSCTL}/tcp_available_congestion_control`, 'utf8');
  if (options.inNamespace && available.split(/\s/).includes(wanted)) await writeFile(`${TCP_SYSCTL}/tcp_congestion_control`, wanted);
  return (await readFile(`${TCP_SYSCTL}/tcp_congestion_control`, 'utf8')).trim();
}

/** Without a namespace at least the generator's sockets can be set to reno. */
export async function loadEnvironment() {
  const allowed = await readFile(`${TCP_SYSCTL}/tcp_allowed_congestion_control`, 'utf8');
  return !options.inNamespace && allowed.split(/\s/).includes('reno') ? { LOAD_CONGESTION: 'reno' } : {};
}

export async function descriptorLimit() {
  return Number(/^Max open files\s+\S+\s+(\d+)/m.exec(await readFile('/proc/self/limits', 'utf8'))?.[1] ?? 1024);
}

/**
 * Puts us ahead of what else runs here, so that strangers' load shows less; not everybody may. Where the scheduler groups processes by
 * session, the nice value counts inside of the session only, and the session has one of its own. Returns how to put that back, and why
 * it was not done.
 */
export async function prioritise() {
  const group = '/proc/self/autogroup';
  try {
    os.setPriority(-10);
    const before = /nice (-?\d+)/.exec(await readFile(group, 'utf8').catch(() => ''))?.[1];
    if (before === undefined) return { undo: async () => {} };
    await writeFile(group, '-10');
    return { undo: () => writeFile(group, before) };
  } catch (error) {
    return { undo: async () => {}, refused: error instanceof Error ? error.message : String(error) };
  }
}

export async function machine() {
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    node: process.version,
    loadBefore: os.loadavg()[0],
    busyCores: await busyCores(),
    namespace: options.inNamespace,
    congestionDefault: (await readFile(`${TCP_SYSCTL}/tcp_congestion_control`, 'utf8')).trim(),
    commit: spawnSync('git', ['describe', '--always', '--dirty'], { cwd: fileURLToPath(new URL('.', import.meta.url)), encoding: 'utf8' }).stdout?.trim() ?? '',
    at: new Date().toISOString(),
  };
}

/** How many cores others keep busy, over half a second. */
async function busyCores() {
  const idleMs = () => os.cpus().reduce((sum, cpu) => sum + cpu.times.idle, 0);
  const [before, began] = [idleMs(), performance.now()];
  await pause(500);
  const took = performance.now() - began;
  return Math.max(0, os.cpus().length - (idleMs() - before) / took);
}
