import { open, readdir, readFile, readlink, stat } from 'node:fs/promises';

/** What is asked of /proc. Tests count it, or bring their own. All of it rejects where a process has gone or belongs to somebody else. */
export interface Proc {
  /** The bytes of a file, piece by piece into `buffer`, from `offset` on: 0 at its end. */
  open(path: string): Promise<ProcFile>;
  list(path: string): Promise<readonly string[]>;
  link(path: string): Promise<string>;
  owner(path: string): Promise<number>;
  text(path: string): Promise<string>;
}

export interface ProcFile {
  read(buffer: Uint8Array, offset: number): Promise<number>;
  close(): Promise<void>;
}

export const systemProc: Proc = {
  async open(path) {
    const handle = await open(path, 'r');
    return {
      read: async (buffer, offset) => (await handle.read(buffer, offset, buffer.length - offset, null)).bytesRead,
      close: () => handle.close(),
    };
  },
  list: (path) => readdir(path),
  link: (path) => readlink(path),
  owner: async (path) => (await stat(path)).uid,
  text: (path) => readFile(path, 'utf8'),
};

/** The value, or `otherwise` where the process has gone meanwhile or is not ours to look at: common, and no reason to stop a search. */
export function orElse<T, D>(asked: Promise<T>, otherwise: D): Promise<T | D> {
  return asked.catch(() => otherwise);
}
