/** Where names and their numbers are kept over a restart, and shared. */

/** What a store is given by the pool that uses it. */
export interface StoreUser {
  /** A name (1 to 255 bytes, lower case) has this number: found when it was opened, or assigned by another kernel that shares the store. */
  restore(index: number, name: Uint8Array): void;
  /** All that there are, the least recently used first; `name` is lent. */
  forEach(run: (index: number, name: Uint8Array) => void): void;
  /** How many. */
  readonly size: number;
}

/**
 * Implement it to keep names somewhere else (a database), or to share them. `put` comes for every new name: take it, and do the work later. What cannot be kept is told by
 * `warn`, once; names are assigned all the same.
 */
export interface FakeIpStore {
  /** Restores what was kept for `key` (the ranges); what was kept for another is dropped: its numbers mean other addresses. Never rejects for want of a file. */
  open(key: string, user: StoreUser, warn: (message: string) => void): Promise<void>;
  /** `name` has this number from here on, and whatever had either has not. The bytes are lent. */
  put(index: number, name: Uint8Array): void;
  /** Everything is kept when it settles. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** In memory: for several kernels of one process. Each opens it as its own by `share()`. */
export class MemoryStore {
  readonly #names = new Map<number, Uint8Array>();
  readonly #users = new Set<StoreUser>();
  #key: string | null = null;

  share(): FakeIpStore {
    let user: StoreUser | null = null;
    return {
      open: (key, given) => {
        if (this.#key !== key) this.#names.clear();
        this.#key = key;
        for (const [index, name] of this.#names) given.restore(index, name);
        user = given;
        this.#users.add(given);
        return Promise.resolve();
      },
      put: (index, name) => {
        const own = Uint8Array.from(name);
        this.#names.delete(index);
        this.#names.set(index, own);
        for (const other of this.#users) if (other !== user) other.restore(index, own);
      },
      close: () => {
        if (user !== null) this.#users.delete(user);
        return Promise.resolve();
      },
    };
  }
}
