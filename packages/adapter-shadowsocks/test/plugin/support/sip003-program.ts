import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A SIP003 program for tests; what it does is said by the option `do`: `tell` sends what it was given and whatever it is sent back, `die` says something and
 * exits with 3, `die-once` dies only when `marker` names no file yet, `mute` never listens, `stay` listens and ignores SIGTERM,
 * `forward` carries bytes to the server and back.
 */
const TEXT = `
const fs = require('node:fs');
const net = require('node:net');
const { SS_REMOTE_HOST, SS_REMOTE_PORT, SS_LOCAL_HOST, SS_LOCAL_PORT, SS_PLUGIN_OPTIONS } = process.env;
const options = Object.fromEntries(SS_PLUGIN_OPTIONS.split(';').map((option) => option.split('=')));
if (options.pids) fs.appendFileSync(options.pids, process.pid + '\\n');
const die = () => {
  process.stderr.write('first\\nthe password is hunter22 \\u001b[31mred\\u001b[0m\\n');
  process.stdout.write('port ' + (SS_LOCAL_PORT > 0) + '\\n', () => process.exit(3));
};
const listen = () => {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    if (options.do === 'forward') {
      const remote = net.connect({ host: SS_REMOTE_HOST, port: Number(SS_REMOTE_PORT), allowHalfOpen: true });
      socket.on('error', () => remote.destroy()).pipe(remote);
      remote.on('error', () => socket.destroy()).pipe(socket);
      return;
    }
    let stdin = '';
    const given = { SS_REMOTE_HOST, SS_REMOTE_PORT, SS_LOCAL_HOST, SS_LOCAL_PORT, SS_PLUGIN_OPTIONS, pid: process.pid, args: process.argv.slice(2), stdin: '' };
    try {
      given.stdin = fs.readFileSync(0, 'utf8');
    } catch (error) {
      given.stdin = error.code;
    }
    socket.on('error', () => {});
    socket.write(JSON.stringify(given) + '\\n');
    socket.pipe(socket);
  });
  server.listen(Number(SS_LOCAL_PORT), SS_LOCAL_HOST);
};
if (options.do === 'die') die();
else if (options.do === 'die-once' && !fs.existsSync(options.marker)) {
  fs.writeFileSync(options.marker, '');
  die();
} else if (options.do === 'mute') setInterval(() => {}, 1000);
else {
  if (options.do === 'stay') process.on('SIGTERM', () => process.stdout.write('no'));
  setTimeout(listen, Number(options.late ?? 0));
}
`;

export interface TestProgram {
  readonly folder: string;
  readonly path: string;
  remove(): void;
}

export function makeProgram(): TestProgram {
  const folder = mkdtempSync(join(tmpdir(), 'nekit-'));
  const path = join(folder, 'plugin');
  writeFileSync(path, `#!${process.execPath}\n${TEXT}`);
  chmodSync(path, 0o755);
  return { folder, path, remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }) };
}

/** Whether a process is there (a zombie is not). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
  return !isZombie(pid);
}

/** Whether it has exited, and nobody has taken note of it: init may take its time with orphans. */
function isZombie(pid: number): boolean {
  try {
    return /^\d+ \(.*\) Z /s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false; // there is no /proc, or it is gone by now
  }
}
