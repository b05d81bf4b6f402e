/**
 * Processes on Linux, by /proc: the tables of sockets tell the user and the inode of the client's socket, the descriptors of processes tell
 * whose inode it is. The second is slow (a machine has thousands of descriptors), so one search serves all who wait, processes that were found
 * before are looked at first, and an answer is kept for a few seconds: peers of one UDP socket and requests of one connection come in crowds. It is
 * kept for the inode, not for the port, which may be another process's next: the tables are read for everybody who asks.
 *
 * As an ordinary user only that user's processes are seen; of others' sockets the user is still known.
 */
import { formatEndpoint } from '../net/endpoint.js';
import { LocalAddresses } from '../net/local-addresses.js';
import type { Session } from '../net/session.js';
import type { Deadline, TimerWheel } from '../net/timer-wheel.js';
import { type Proc, systemProc } from './proc.js';
import type { ProcessFinder, ProcessInfo } from './process-finder.js';
import { type Program, SocketOwners } from './socket-owners.js';
import { addressBytes, readTables, SocketQuery } from './socket-table.js';

/** How long one waits for a search to begin, and then for its result, in ms. */
const LIMIT = 500;
/** How long an answer holds, in ms. Short: a socket may be handed on, and a process become another program. */
const KEEP = 3_000;
/** Answers that are kept. */
const MAX_KEPT = 1_024;
/** Sockets that are waited for; more are not looked for. */
const MAX_WAITING = 1_024;

interface Waiting {
  readonly query: SocketQuery;
  readonly answer: Promise<ProcessInfo | null>;
  readonly settle: (info: ProcessInfo | null) => void;
  readonly deadline: Deadline;
  settled: boolean;
}

interface Kept {
  readonly info: ProcessInfo | null;
  readonly until: number;
}

export class LinuxProcessFinder implements ProcessFinder {
  readonly #timers: TimerWheel;
  readonly #proc: Proc;
  readonly #owners: SocketOwners;
  readonly #local: LocalAddresses;
  /** By inode, the oldest first. */
  readonly #kept = new Map<string, Kept>();
  readonly #waiting = new Set<Waiting>();
  /** Those whose search has not begun, by what tells clients apart: who asks the same takes part. Later the tables that are read may be too old. */
  readonly #queue = new Map<string, Waiting>();
  #searching = false;
  #closed = false;

  constructor(timers: TimerWheel, proc: Proc = systemProc) {
    this.#timers = timers;
    this.#proc = proc;
    this.#owners = new SocketOwners(proc);
    this.#local = new LocalAddresses(timers);
  }

  find(session: Session): Promise<ProcessInfo | null> {
    const { source } = session;
    const address = addressBytes(source);
    if (this.#closed || source.port === 0 || address === null || !this.#local.has(source.host)) return Promise.resolve(null);
    const key = keyOf(session);
    const before = this.#queue.get(key);
    if (before !== undefined) return before.answer;
    if (this.#waiting.size >= MAX_WAITING) return Promise.resolve(null);
    const waiting = this.#wait(key, new SocketQuery(session, address));
    if (!this.#searching) void this.#work();
    return waiting.answer;
  }

  close(): void {
    this.#closed = true;
    for (const waiting of this.#waiting) waiting.settle(null);
    this.#kept.clear();
  }

  #wait(key: string, query: SocketQuery): Waiting {
    let resolve: (info: ProcessInfo | null) => void = () => undefined;
    const answer = new Promise<ProcessInfo | null>((settle) => {
      resolve = settle;
    });
    const waiting: Waiting = {
      query,
      answer,
      settled: false,
      deadline: this.#timers.after(LIMIT, () => waiting.settle(withoutProgram(query))),
      settle: (info) => {
        if (waiting.settled) return;
        waiting.settled = true;
        waiting.deadline.cancel();
        this.#waiting.delete(waiting);
        if (this.#queue.get(key) === waiting) this.#queue.delete(key);
        resolve(info);
      },
    };
    this.#waiting.add(waiting);
    this.#queue.set(key, waiting);
    return waiting;
  }

  #keep(inode: string, info: ProcessInfo | null): void {
    this.#kept.delete(inode);
    this.#kept.set(inode, { info, until: this.#timers.now() + KEEP });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT) return;
      this.#kept.delete(oldest);
    }
  }

  /** One search after the other, each for all who came meanwhile. */
  async #work(): Promise<void> {
    this.#searching = true;
    try {
      while (this.#queue.size > 0) {
        const batch = [...this.#queue.values()];
        this.#queue.clear();
        for (const waiting of batch) waiting.deadline.move(LIMIT);
        await this.#search(batch);
      }
    } finally {
      this.#searching = false;
    }
  }

  async #search(batch: readonly Waiting[]): Promise<void> {
    const isWanted = (): boolean => batch.some((waiting) => !waiting.settled);
    await readTables(
      this.#proc,
      batch.map(({ query }) => query),
      isWanted,
    );
    const byInode = new Map<string, Waiting[]>();
    for (const waiting of batch) {
      const { inode } = waiting.query;
      const kept = this.#kept.get(inode);
      if (inode === '') waiting.settle(null);
      else if (kept !== undefined && kept.until > this.#timers.now()) waiting.settle(kept.info);
      else byInode.set(inode, [...(byInode.get(inode) ?? []), waiting]);
    }
    if (byInode.size === 0) return;
    const named: Promise<void>[] = [];
    await this.#owners.find(byInode.keys(), new Set(batch.map(({ query }) => query.uid)), isWanted, (inode, pid) => {
      const waiting = byInode.get(inode) ?? [];
      byInode.delete(inode);
      named.push(this.#tell(inode, pid, waiting));
    });
    for (const [inode, waiting] of byInode) this.#settle(inode, waiting, { name: '', path: '' });
    await Promise.all(named);
  }

  async #tell(inode: string, pid: string, waiting: readonly Waiting[]): Promise<void> {
    this.#settle(inode, waiting, await this.#owners.program(pid));
  }

  #settle(inode: string, waiting: readonly Waiting[], program: Program): void {
    const [first] = waiting;
    if (first === undefined || this.#closed) return;
    const info = { ...program, uid: first.query.uid };
    this.#keep(inode, info);
    for (const one of waiting) one.settle(info);
  }
}

/** A port may be bound for several connections, to different ends; with UDP to none. */
function keyOf({ network, source, inboundPort, requested }: Session): string {
  const other = network === 'udp' ? '' : inboundPort === 0 ? formatEndpoint(requested) : inboundPort;
  return `${network} ${source.host} ${source.port} ${other}`;
}

/** What the table of sockets alone tells. */
function withoutProgram({ inode, uid }: SocketQuery): ProcessInfo | null {
  return inode === '' ? null : { name: '', path: '', uid };
}
