/** Fake IPs in a file. A name is on the disk a second after it was assigned; what a crash loses is that second, and names come back to their number mostly even so (see NamePool). */
import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '@nekit/core';
import { takeLock } from './file-lock.js';
import { hasHead, headBytes, MAX_RECORD, readRecord, writeRecord } from './journal-format.js';
import type { FakeIpStore, StoreUser } from './store.js';

/** Names wait for others so long, in ms, to be written together. */
const BATCH_MS = 1_000;
/** What may wait, in bytes; beyond it the whole pool is written anew instead. */
const MAX_WAITING = 1 << 20;
/** What is read at a time. */
const READ = 1 << 18;
/** A file is written anew when it has so many records for each name … */
const WASTE = 2;
/** … and this many at least. */
const MIN_RECORDS = 4_096;

const FILE_MODE = 0o600; // it says where the user has been
const FOLDER_MODE = 0o700;

/** One kernel at a time has a file; a second one goes without, also of the same process. */
export class FileStore implements FakeIpStore {
  readonly #path: string;
  readonly #clock: Pick<Clock, 'after'>;
  #head: Uint8Array = new Uint8Array(0);
  #user: StoreUser | null = null;
  #warn: (message: string) => void = () => {};
  #file: FileHandle | null = null;
  /** Gives the lock back; null: we have none. */
  #unlock: (() => Promise<void>) | null = null;
  /** Records that are in the file. */
  #records = 0;
  #waiting = new Uint8Array(0);
  #used = 0;
  #waitingRecords = 0;
  /** Too much came at once: what waits was dropped, the pool has it. */
  #overflow = false;
  #stopTimer: (() => void) | null = null;
  #writing: Promise<void> = Promise.resolve();
  #closed: Promise<void> | null = null;

  constructor(path: string, clock: Pick<Clock, 'after'>) {
    this.#path = path;
    this.#clock = clock;
  }

  async open(key: string, user: StoreUser, warn: (message: string) => void): Promise<void> {
    this.#head = headBytes(key);
    this.#warn = warn;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: FOLDER_MODE });
      this.#unlock = await takeLock(this.#path);
      if (this.#unlock === null) {
        warn(`${this.#path} is in use by another kernel: fake IPs are not kept`);
        return;
      }
      const file = await open(this.#path, 'a+', FILE_MODE);
      this.#file = file;
      const length = await this.#read(file, user);
      await file.truncate(length);
      if (length === 0) await file.appendFile(this.#head);
      this.#user = user;
    } catch (error) {
      await this.#giveUp(error);
    }
  }

  put(index: number, name: Uint8Array): void {
    if (this.#user === null || this.#overflow) return;
    if (this.#used + MAX_RECORD > this.#waiting.length && !this.#grow()) {
      this.#overflow = true;
      return;
    }
    this.#used = writeRecord(this.#waiting, this.#used, index, name);
    this.#waitingRecords++;
    this.#stopTimer ??= this.#clock.after(BATCH_MS, () => {
      this.#stopTimer = null;
      void this.#flush();
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#stopTimer?.();
    this.#stopTimer = null;
    await this.#writing;
    // Anew, so that the order of use is kept as well.
    if (this.#user !== null) await this.#attempt(() => this.#rewrite());
    this.#user = null;
    await this.#attempt(() => this.#leave());
  }

  async #leave(): Promise<void> {
    const [file, unlock] = [this.#file, this.#unlock];
    this.#file = null;
    this.#unlock = null;
    try {
      await file?.close();
    } finally {
      await unlock?.();
    }
  }

  #flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#attempt(() => this.#write()));
    return this.#writing;
  }

  async #write(): Promise<void> {
    const { size = 0 } = this.#user ?? {};
    if (this.#overflow || this.#records + this.#waitingRecords > Math.max(MIN_RECORDS, WASTE * size)) {
      await this.#rewrite();
      return;
    }
    const bytes = this.#take();
    await this.#file?.appendFile(bytes);
    await this.#file?.datasync();
  }

  /** Readers see the old file or the new one. What comes while it is written is appended to the new one. */
  async #rewrite(): Promise<void> {
    const user = this.#user;
    if (user === null) return;
    this.#take();
    this.#overflow = false;
    const bytes = snapshot(this.#head, user);
    const temporary = `${this.#path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      const file = await open(temporary, 'ax', FILE_MODE);
      try {
        await file.appendFile(bytes);
        await file.datasync();
        await rename(temporary, this.#path);
      } catch (error) {
        await file.close();
        throw error;
      }
      const before = this.#file;
      this.#file = file;
      this.#records = user.size;
      await before?.close();
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** What waits, for the file. */
  #take(): Uint8Array {
    const bytes = this.#waiting.slice(0, this.#used);
    this.#records += this.#waitingRecords;
    this.#used = 0;
    this.#waitingRecords = 0;
    return bytes;
  }

  #grow(): boolean {
    const size = Math.max(4096, this.#waiting.length * 2);
    if (size > MAX_WAITING) return false;
    const larger = new Uint8Array(size);
    larger.set(this.#waiting.subarray(0, this.#used));
    this.#waiting = larger;
    return true;
  }

  /** Restores everything that is whole; how long that is, 0 if the file is of other ranges. */
  async #read(file: FileHandle, user: StoreUser): Promise<number> {
    let bytes: Uint8Array = new Uint8Array(0);
    /** Where `bytes` begins in the file. */
    let base = 0;
    let at = 0;
    for (let position = 0; ; ) {
      const chunk = new Uint8Array(READ);
      const { bytesRead } = await file.read(chunk, 0, READ, position);
      position += bytesRead;
      bytes = Buffer.concat([bytes.subarray(at), chunk.subarray(0, bytesRead)]);
      base += at;
      at = 0;
      if (base === 0 && at === 0) {
        if (!hasHead(bytes, this.#head)) return 0;
        at = this.#head.length;
      }
      let end = at;
      while (end > 0) {
        at = end;
        end = readRecord(bytes, at, (index, name) => user.restore(index, name));
        if (end > 0) this.#records++;
      }
      if (end === -1 || bytesRead === 0) return base + at;
    }
  }

  async #attempt(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      await this.#giveUp(error);
    }
  }

  async #giveUp(error: unknown): Promise<void> {
    this.#user = null;
    this.#warn(`fake IPs are not kept: ${error instanceof Error ? error.message : String(error)}`);
    await this.#leave().catch(() => undefined); // the first error is the one to tell
  }
}

/** In one piece: some 40 bytes a name. */
function snapshot(head: Uint8Array, user: StoreUser): Uint8Array {
  let bytes = new Uint8Array(head.length + user.size * 48 + MAX_RECORD);
  bytes.set(head);
  let at = head.length;
  user.forEach((index, name) => {
    if (at + MAX_RECORD > bytes.length) {
      const larger = new Uint8Array(bytes.length * 2);
      larger.set(bytes);
      bytes = larger;
    }
    at = writeRecord(bytes, at, index, name);
  });
  return bytes.subarray(0, at);
}
