/** A file is of one store of one process: a lock beside it says of which. A lock outlives a kill and a power cut, so it says enough to tell that its process has gone. */
import { open, readFile, realpath, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '@nekit/core';

const FILE_MODE = 0o600;

/** Files that stores of this process have: its number alone tells them not apart. */
const ownFiles = new Set<string>();

/** What the system knows of processes. */
export interface Processes {
  /** Ours. */
  readonly pid: number;
  isAlive(pid: number): boolean;
  /** Another one after each start of the machine; null: not known. */
  bootId(): Promise<string | null>;
  /** When it began, in any unit; null: not known. */
  startOf(pid: number): Promise<string | null>;
}

/** The returned function gives it back; null: another kernel has the file. Rejects with the error of the file system. */
export async function takeLock(file: string, processes: Processes = SYSTEM): Promise<(() => Promise<void>) | null> {
  const path = `${file}.lock`;
  const real = await realPath(file);
  if (ownFiles.has(real)) return null;
  ownFiles.add(real);
  let isTaken = false;
  try {
    const own = await ownText(processes);
    isTaken = await take(path, own, processes);
    if (!isTaken) return null;
    return async () => {
      try {
        // Who was sure that we had gone may have it by now.
        if ((await textOf(path)) === own) await rm(path, { force: true });
      } finally {
        ownFiles.delete(real);
      }
    };
  } finally {
    if (!isTaken) ownFiles.delete(real);
  }
}

async function take(path: string, own: string, processes: Processes): Promise<boolean> {
  for (let tries = 0; tries < 2; tries++) {
    if (await create(path, own)) return true;
    const found = await textOf(path);
    if (found === null) continue; // given back just now
    if (await isHeld(found, processes)) return false;
    await rm(path, { force: true }); // of one that crashed
  }
  return false;
}

/** false: there is one. */
async function create(path: string, text: string): Promise<boolean> {
  try {
    const lock = await open(path, 'wx', FILE_MODE);
    try {
      await lock.writeFile(text);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await lock.close();
    }
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** A line each; empty: not known. The number comes first and was all there was once. */
async function ownText(processes: Processes): Promise<string> {
  const { pid } = processes;
  return `${pid}\n${(await processes.bootId()) ?? ''}\n${(await processes.startOf(pid)) ?? ''}\n`;
}

/** Whether the process that wrote it is there: a number may be another's by now, after a start of the machine above all. */
async function isHeld(text: string, processes: Processes): Promise<boolean> {
  const [number = '', boot = '', start = ''] = text.split('\n');
  const pid = Number.parseInt(number, 10);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  const [bootNow, startNow] = [(await processes.bootId()) ?? '', (await processes.startOf(pid)) ?? ''];
  if (boot !== '' && bootNow !== '' && boot !== bootNow) return false;
  if (start !== '' && startNow !== '' && start !== startNow) return false;
  // Our own number is that of the same container before it started again, unless a thread of this very process is known to have written it.
  return pid === processes.pid ? boot !== '' && boot === bootNow && start !== '' && start === startNow : processes.isAlive(pid);
}

/** Equal for all paths to a file, also before it is there. */
async function realPath(file: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return join(await realpath(dirname(file)), basename(file));
  }
}

/** null: there is no such file. */
async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

const SYSTEM: Processes = {
  pid: process.pid,
  isAlive(pid) {
    try {
      process.kill(pid, 0);
      return true;
    } catch (error) {
      return errorCode(error) === 'EPERM';
    }
  },
  async bootId() {
    const text = await ofProc('sys/kernel/random/boot_id');
    return text?.trim() ?? null;
  },
  // The 22nd field (proc_pid_stat(5)); the second is a name, which may have blanks and parentheses in it.
  async startOf(pid) {
    const text = await ofProc(`${pid}/stat`);
    return text?.slice(text.lastIndexOf(')') + 2).split(' ')[22 - 3] ?? null;
  },
};

/** null: it is not there, as on systems without /proc, or not for us to see. */
function ofProc(name: string): Promise<string | null> {
  return readFile(`/proc/${name}`, 'utf8').catch(() => null);
}
