// Installs the peers that no Debian package brings into bench/build/peers: sing-box (needs Go), shadowsocks-rust (needs Rust) and Node 22
// and 24 (npm package `node`).
// What is there in the pinned version is left as it is.
//
//   npm run bench:peers [-- sing-box shadowsocks-rust node22 node24]
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import { dirname } from 'node:path';
import { pinned } from './pinned.mjs';

const wanted = process.argv.slice(2);
for (const name of wanted)
  if (!pinned.some((peer) => peer.name === name)) throw new Error(`no peer ${name}; known: ${pinned.map((peer) => peer.name).join(', ')}`);

os.setPriority(15); // a build takes minutes, and others work here too
for (const peer of pinned.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const failure = existsSync(peer.file) ? null : await install(peer);
  process.stdout.write(`${peer.name}: ${failure ?? peer.file}\n`);
  if (failure !== null) process.exitCode = 1;
}

/** Null, or why it is not there. */
async function install({ name, file, install: command, env, minutes }) {
  process.stdout.write(`# ${name}: ${command.join(' ')}\n`);
  await mkdir(dirname(file), { recursive: true });
  const { error, signal, status } = spawnSync(command[0], command.slice(1), {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
    timeout: minutes * 60_000,
  });
  if (error !== undefined) return `not installed: ${error.message}`;
  if (status !== 0) return `not installed: ${command[0]} ended with ${status ?? signal}`;
  return existsSync(file) ? null : `not installed: ${command[0]} made no ${file}`;
}
