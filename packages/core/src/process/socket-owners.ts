import { basename } from 'node:path';
import { orElse, type Proc } from './proc.js';

/** Limits of one search. */
const MAX_PROCESSES = 4_096;
const MAX_DESCRIPTORS = 65_536;
/** A process with more descriptors is a server rather than a client: it is looked at when the others have been. */
const MANY_DESCRIPTORS = 512;
/** Asked at the same time: Node's threads serve others' look-ups, too. */
const AT_ONCE = 32;
/** Processes that are looked at first, since they had sockets that were asked for. */
const MAX_RECENT = 32;

export interface Program {
  readonly name: string;
  readonly path: string;
}

/** A search in its bounds. */
interface Search {
  /** Of sockets that have no process yet, as `/proc/…/fd` spells them. */
  readonly missing: Set<string>;
  readonly wanted: () => boolean;
  readonly found: (inode: string, pid: string) => void;
  readonly seen: Set<string>;
  /** Processes with many descriptors: put off. */
  readonly large: { readonly folder: string; readonly pid: string; readonly names: readonly string[] }[];
  descriptors: number;
}

/** Which process holds a socket: /proc tells only the other way round, so the descriptors of one process after the other are looked at. */
export class SocketOwners {
  readonly #proc: Proc;
  /** Process numbers, the latest last. */
  readonly #recent = new Set<string>();

  constructor(proc: Proc) {
    this.#proc = proc;
  }

  /** Calls `found` for each inode whose process was seen, until all are, or `wanted` says no, or a limit is reached. */
  async find(inodes: Iterable<string>, uids: ReadonlySet<number | null>, wanted: () => boolean, found: (inode: string, pid: string) => void): Promise<void> {
    const search: Search = { missing: new Set(inodes), wanted, found, seen: new Set(), large: [], descriptors: 0 };
    await this.#lookAt([...this.#recent].reverse(), search, Number.POSITIVE_INFINITY);
    if (!goesOn(search)) return;
    // What was started last is most likely to talk.
    const pids = (await orElse(this.#proc.list('/proc'), [])).filter((name) => /^[0-9]+$/.test(name)).sort((a, b) => Number(b) - Number(a));
    const { likely, others } = await this.#byUser(pids.slice(0, MAX_PROCESSES), uids, search);
    await this.#lookAt(likely, search);
    await this.#lookAt(others, search);
    for (const { pid, folder, names } of search.large) await this.#follow(pid, folder, names, search);
  }

  /** The program of a process; empty texts where it is hidden or gone. */
  async program(pid: string): Promise<Program> {
    const link = await orElse(this.#proc.link(`/proc/${pid}/exe`), '');
    const path = link.replace(/ \(deleted\)$/, ''); // an update replaced it
    if (path !== '') return { name: basename(path), path };
    return { name: (await orElse(this.#proc.text(`/proc/${pid}/comm`), '')).trim(), path: '' };
  }

  /** A socket's user is nearly always its process's; where that gave up rights afterwards it is not. */
  async #byUser(pids: readonly string[], uids: ReadonlySet<number | null>, search: Search): Promise<{ likely: string[]; others: string[] }> {
    const likely: string[] = [];
    const others: string[] = [];
    for (let from = 0; from < pids.length && goesOn(search); from += AT_ONCE) {
      const some = pids.slice(from, from + AT_ONCE);
      const owners = await Promise.all(some.map((pid) => orElse(this.#proc.owner(`/proc/${pid}`), null)));
      some.forEach((pid, i) => {
        const owner = owners[i] ?? null;
        if (owner !== null) (uids.has(owner) ? likely : others).push(pid);
      });
    }
    return { likely, others };
  }

  async #lookAt(pids: readonly string[], search: Search, many = MANY_DESCRIPTORS): Promise<void> {
    for (const pid of pids) {
      if (!goesOn(search)) return;
      if (search.seen.has(pid)) continue;
      search.seen.add(pid);
      const folder = `/proc/${pid}/fd`;
      const names = await orElse(this.#proc.list(folder), null);
      if (names === null)
        this.#recent.delete(pid); // gone, or another user's
      else if (names.length > many) search.large.push({ folder, pid, names });
      else await this.#follow(pid, folder, names, search);
    }
  }

  async #follow(pid: string, folder: string, names: readonly string[], search: Search): Promise<void> {
    for (let from = 0; from < names.length && goesOn(search); from += AT_ONCE) {
      const some = names.slice(from, from + AT_ONCE);
      search.descriptors += some.length;
      const links = await Promise.all(some.map((name) => orElse(this.#proc.link(`${folder}/${name}`), '')));
      for (const link of links) {
        const inode = /^socket:\[([0-9]+)\]$/.exec(link)?.[1];
        if (inode === undefined || !search.missing.delete(inode)) continue;
        this.#remember(pid);
        search.found(inode, pid);
      }
    }
  }

  #remember(pid: string): void {
    this.#recent.delete(pid);
    this.#recent.add(pid);
    if (this.#recent.size <= MAX_RECENT) return;
    for (const oldest of this.#recent) {
      this.#recent.delete(oldest);
      return;
    }
  }
}

function goesOn(search: Search): boolean {
  return search.missing.size > 0 && search.descriptors < MAX_DESCRIPTORS && search.wanted();
}
