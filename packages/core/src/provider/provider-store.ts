/** The last good copy of a list on disk: the bytes as they came, and beside them what is known of them. */
import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { errorCode } from '../net/errors.js';

/** What a server said of a copy, so that it need not send it again. */
const FACTS = z.object({
  url: z.string(),
  etag: z.string().nullable(),
  lastModified: z.string().nullable(),
  /** When the server last confirmed it, in ms since the epoch. */
  updatedAt: z.number(),
  /** Of the bytes: a copy that somebody changed is none of the server's. */
  sha256: z.string(),
});

export type CopyFacts = z.infer<typeof FACTS>;

export interface StoredCopy {
  readonly bytes: Uint8Array;
  readonly sha256: string;
  /** When it was written, in ms since the epoch. */
  readonly writtenAt: number;
  /** null where there are none. */
  readonly facts: CopyFacts | null;
  /** The facts are of other bytes: it is cut off, or somebody wrote to it. */
  readonly changed: boolean;
}

/** Only the user's own: a URL often holds a token. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const MAX_FACTS = 64 * 1024;

export class ProviderStore {
  readonly #file: string;
  readonly #factsFile: string;

  constructor(file: string) {
    this.#file = file;
    this.#factsFile = `${file}.meta.json`;
  }

  /** null when there is none. Rejects when it cannot be read, or is longer than `maxBytes`. */
  async read(maxBytes: number): Promise<StoredCopy | null> {
    const found = await readFileAtMost(this.#file, maxBytes);
    if (found === null) return null;
    const facts = await this.#facts();
    const sha256 = digest(found.bytes);
    return { ...found, sha256, facts, changed: facts !== null && facts.sha256 !== sha256 };
  }

  /** The bytes first: in between, new bytes with old facts are fetched once more, and old bytes with new facts never would be. */
  async write(bytes: Uint8Array, facts: CopyFacts): Promise<void> {
    await replace(this.#file, bytes);
    await this.confirm(facts);
  }

  /** Facts that changed while the bytes did not. */
  async confirm(facts: CopyFacts): Promise<void> {
    await replace(this.#factsFile, Buffer.from(`${JSON.stringify(facts)}\n`));
  }

  async #facts(): Promise<CopyFacts | null> {
    try {
      const found = await readFileAtMost(this.#factsFile, MAX_FACTS);
      return found === null ? null : (FACTS.safeParse(JSON.parse(Buffer.from(found.bytes).toString())).data ?? null);
    } catch (error) {
      if (error instanceof Error) return null; // unreadable facts are as good as none
      throw error;
    }
  }
}

/** Where copies are kept that have no place of their own; null where the system knows no home. */
export function defaultCacheFolder(env: NodeJS.ProcessEnv = process.env): string | null {
  const given = env.XDG_CACHE_HOME ?? '';
  if (isAbsolute(given)) return join(given, 'nekit-kernel'); // a relative one is to be ignored, says its standard
  try {
    return join(homedir(), '.cache', 'nekit-kernel');
  } catch (error) {
    if (error instanceof Error) return null; // a user without an entry in passwd
    throw error;
  }
}

export function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export interface FileCopy {
  readonly bytes: Uint8Array;
  /** In ms since the epoch. */
  readonly writtenAt: number;
}

/** null: there is no such file. Rejects for anything but a file, and for one that is too long. */
export async function readFileAtMost(path: string, maxBytes: number): Promise<FileCopy | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK); // a named pipe would wait for somebody to write
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new Error(`${path} is no file`);
    if (found.size > maxBytes) throw new Error(`${path} has ${found.size} bytes, and ${maxBytes} are allowed`);
    return { bytes: await readExactly(handle, found.size, path), writtenAt: found.mtimeMs };
  } finally {
    await handle.close();
  }
}

async function readExactly(handle: FileHandle, size: number, path: string): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(size + 1);
  let length = 0;
  for (let read = -1; read !== 0 && length < bytes.length; length += read) ({ bytesRead: read } = await handle.read(bytes, length, bytes.length - length));
  if (length !== size) throw new Error(`${path} was written to while it was read`);
  return bytes.subarray(0, size);
}

/** Readers see the old file or the new one, and nothing in between. */
async function replace(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', FILE_MODE);
    try {
      await handle.writeFile(bytes);
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
