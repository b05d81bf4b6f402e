/** TCP connections on loopback for tests of sockets and relays, and what a process holds open. */
import { readdirSync, readlinkSync } from 'node:fs';
import type { NetError } from '../../dist/net/errors.js';
import type { BoundListener, Incoming, SocketOptions, Sockets } from '../../dist/net/sockets.js';
import type { Stream } from '../../dist/net/stream.js';
import { within } from '../../dist/testing/wait.js';

export const LOOPBACK = '127.0.0.1';

/** Sockets of this process: what must be back at its start when all connections are closed. */
export function openDescriptors(): number {
  let count = 0;
  for (const fd of readdirSync('/proc/self/fd')) if (linkOf(fd).startsWith('socket:')) count++;
  return count;
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''; // the folder's own
    throw error;
  }
}

export interface ConnectOptions extends SocketOptions {
  readonly host?: string;
}

/** `connect` as a promise. */
export function connectTo(sockets: Sockets, port: number, { host = LOOPBACK, ...options }: ConnectOptions = {}): Promise<Stream> {
  return within(new Promise<Stream>((resolve, reject) => sockets.connect(host, port, options, resolve, reject)), 10_000, `a connection to ${host}:${port}`);
}

/** One end of a connection that was accepted, and what was told of its end. */
export interface Accepted {
  readonly incoming: Incoming;
  readonly stream: Stream;
  readonly aborts: NetError[];
  closes: number;
}

export function open(incoming: Incoming): Accepted {
  const aborts: NetError[] = [];
  const accepted: Accepted = {
    incoming,
    stream: incoming.open(
      (error) => aborts.push(error),
      () => {
        accepted.closes++;
      },
    ),
    aborts,
    closes: 0,
  };
  return accepted;
}

/** A listener that opens all that comes, in order. */
export class Door {
  readonly accepted: Accepted[] = [];
  readonly failed: NetError[] = [];
  readonly #waiting: ((accepted: Accepted) => void)[] = [];
  #listener: BoundListener | null = null;
  #taken = 0;

  static async open(sockets: Sockets, host = LOOPBACK, port = 0): Promise<Door> {
    const door = new Door();
    door.#listener = await sockets.listen(
      { host, port, backlog: 511 },
      {
        connection: (incoming) => {
          const accepted = open(incoming);
          door.accepted.push(accepted);
          door.#waiting.shift()?.(accepted);
        },
        failed: (error) => door.failed.push(error),
      },
    );
    return door;
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /** The next one. */
  next(): Promise<Accepted> {
    const there = this.accepted[this.#taken++];
    return there !== undefined ? Promise.resolve(there) : within(new Promise((resolve) => this.#waiting.push(resolve)), 10_000, 'a connection');
  }

  close(): void {
    this.#listener?.close();
  }
}

export interface Pair extends Accepted {
  /** The end that connected. */
  readonly near: Stream;
}

/** One connection, through a listener that lives no longer than it takes. */
export async function connectPair(from: Sockets, to: Sockets, host = LOOPBACK): Promise<Pair> {
  const door = await Door.open(to, host);
  try {
    const [near, accepted] = await Promise.all([connectTo(from, door.port, { host }), door.next()]);
    return Object.assign(accepted, { near });
  } finally {
    door.close();
  }
}

/** Turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}
