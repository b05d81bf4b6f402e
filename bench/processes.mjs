// Starting what is measured, and reading from /proc what it costs. Linux only.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

const READY_MS = 15_000;
const STOP_MS = 5_000;
/** Ticks of /proc/<pid>/stat; USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10;

/** Processes that run now; `stopAll` ends them. */
const running = new Set();
let over = false;

/** Starts a process; what it says on stderr is kept for an error message. */
export function start(command, options = {}) {
  if (over) throw new Error('the run is over');
  const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], ...options });
  const said = [];
  child.stderr.on('data', (text) => {
    said.push(String(text));
    if (said.length > 50) said.shift();
  });
  child.stdin.on('error', (error) => said.push(error.message));
  running.add(child);
  child.once('exit', () => running.delete(child));
  child.once('error', (error) => {
    running.delete(child);
    said.push(error.message);
  });
  return { child, pid: child.pid, said: () => said.join('').trim() };
}

export async function stop({ child }) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

export async function stopAll() {
  await Promise.all([...running].map((child) => stop({ child })));
}

/** Stops all, and nothing starts any more. */
export async function endAll() {
  over = true;
  await stopAll();
}

/** Runs to the end and returns the last line of its output as JSON. */
export async function result(command, timeoutMs, env) {
  const process = start(command, { env });
  process.child.stdin.end();
  const lines = [];
  createInterface({ input: process.child.stdout }).on('line', (line) => lines.push(line));
  const timer = setTimeout(() => process.child.kill('SIGKILL'), timeoutMs);
  const [code, signal] = await once(process.child, 'close');
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${command.join(' ')}: ${process.said() || `ended with ${code ?? signal}`}`);
  return JSON.parse(lines.at(-1) ?? 'null');
}

/** Settles with the first line of output that matches. */
export async function lineOf(process, pattern, timeoutMs = READY_MS) {
  const found = new Promise((resolve, reject) => {
    createInterface({ input: process.child.stdout }).on('line', (line) => {
      const match = pattern.exec(line);
      if (match !== null) resolve(match);
    });
    process.child.once('close', (code, signal) => reject(new Error(`ended with ${code ?? signal}: ${process.said()}`)));
    setTimeout(() => reject(new Error(`no ${pattern} within ${timeoutMs / 1000} s`)), timeoutMs).unref();
  });
  return found;
}

/** Ports of 127.0.0.1 that nobody uses, each another one. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Waits until somebody answers at the port. */
export async function listening(process, port) {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const error = await Promise.race([once(socket, 'connect').then(() => null), once(socket, 'error').then(([reason]) => reason)]).catch((reason) => reason);
    socket.destroy();
    if (error === null) return;
    if (process.child.exitCode !== null) throw new Error(`it ended with ${process.child.exitCode}: ${process.said()}`);
    if (Date.now() > deadline) throw new Error(`nothing listens on ${port} (${error.message}): ${process.said()}`);
    await pause(50);
  }
}

/** CPU milliseconds of a process and its descendants, ended ones included; KiB of memory of those that live. */
export async function costs(pid) {
  const processes = await family(pid);
  let cpuMs = 0;
  let rss = 0;
  let pss = 0;
  for (const { pid: member, ticks } of processes) {
    cpuMs += ticks * TICK_MS;
    const rollup = await readFile(`/proc/${member}/smaps_rollup`, 'utf8').catch((error) => {
      if (error.code === 'ENOENT' || error.code === 'ESRCH') return ''; // it ended meanwhile
      throw error;
    });
    rss += kibibytes(rollup, 'Rss');
    pss += kibibytes(rollup, 'Pss');
  }
  return { cpuMs, rss, pss };
}

function kibibytes(text, key) {
  return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
}

async function family(root) {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(names.map((name) => readFile(`/proc/${name}/stat`, 'utf8').catch(() => null)));
  const all = new Map();
  for (const stat of stats) {
    if (stat === null) continue;
    // proc(5): the name is in parentheses and may hold anything; parent is field 4, utime, stime, cutime, cstime are 14 to 17.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    all.set(Number.parseInt(stat, 10), { pid: Number.parseInt(stat, 10), parent: Number(fields[1]), ticks });
  }
  const members = [];
  const take = (pid) => {
    const member = all.get(pid);
    if (member === undefined) return;
    members.push(member);
    for (const other of all.values()) if (other.parent === pid) take(other.pid);
  };
  take(root);
  return members;
}
