/**
 * Sockets in the kernel's tables. Read first: proc_pid_net(5), and `get_tcp4_sock` of Linux's net/ipv4/tcp_ipv4.c for the columns:
 *
 *     sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
 *      0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 12345 …
 *
 * An address is written as its 32-bit words, each as the machine holds it in memory: 127.0.0.1 is 0100007F on a little-endian one.
 */
import { endianness } from 'node:os';
import { parseAddress } from '../net/address.js';
import type { Endpoint } from '../net/endpoint.js';
import type { Network, Session } from '../net/session.js';
import { orElse, type Proc, type ProcFile } from './proc.js';

/** Bytes that one read may bring. The kernel gives some 4 KB at a time. */
const PIECE = 64 * 1024;
/** Bytes of a table that are looked at: some 200,000 sockets. */
const MAX_TABLE = 32 * 1024 * 1024;

/** States (linux/tcp_states.h) in which a socket is nobody's any more, or no connection. */
const TIME_WAIT = 6;
const LISTEN = 10;

/** How well a row fits; the best possible ends the search. */
const EXACT = 3;

/** A client's socket that is looked for in the tables, and the best row so far. */
export class SocketQuery {
  readonly network: Network;
  readonly port: number;
  /** As the tables for IPv4 and IPv6 spell the address; the first is null for an IPv6 one. */
  readonly #local: readonly [v4: string | null, v6: string];
  readonly #remote: readonly [v4: string | null, v6: string] | null;
  readonly #remotePort: number;
  readonly #listenerPort: number;
  #rank = 0;
  #uid: number | null = null;
  #inode = '';

  constructor(session: Session, source: Uint8Array) {
    this.network = session.network;
    this.port = session.source.port;
    this.#local = spellings(source);
    const remote = addressBytes(session.requested);
    this.#remote = remote === null ? null : spellings(remote);
    this.#remotePort = session.requested.port;
    this.#listenerPort = session.inboundPort;
  }

  get hasIPv4(): boolean {
    return this.#local[0] !== null;
  }

  /** Nothing can fit better. */
  get found(): boolean {
    return this.#rank === EXACT;
  }

  get uid(): number | null {
    return this.#uid;
  }

  /** '' if no socket was found. */
  get inode(): string {
    return this.#inode;
  }

  /** `row`: its columns. `family`: 0 for the IPv4 table, 1 for the other. */
  offer(row: readonly string[], family: 0 | 1): void {
    const [, local = '', remote = '', state = '', , , , uid = '', , inode = ''] = row;
    if (inode === '' || inode === '0') return; // closed by its process
    const rank = this.network === 'tcp' ? this.#rankTcp(local, remote, state, family) : this.#rankUdp(local, family);
    if (rank <= this.#rank) return;
    this.#rank = rank;
    this.#inode = inode;
    this.#uid = /^[0-9]+$/.test(uid) ? Number(uid) : null;
  }

  /**
   * The other end has to be our listener, or what was asked for (TUN, redirection). Any state will do but those of no connection: a TUN client is
   * still in SYN-SENT, a client that half-closed in FIN-WAIT.
   */
  #rankTcp(local: string, remote: string, state: string, family: 0 | 1): number {
    const code = Number.parseInt(state, 16);
    if (code === LISTEN || code === TIME_WAIT || addressOf(local) !== this.#local[family]) return 0;
    const port = portOf(remote);
    if (this.#listenerPort !== 0 && port === this.#listenerPort) return EXACT;
    if (this.#remote !== null && port === this.#remotePort && addressOf(remote) === this.#remote[family]) return EXACT;
    return this.#listenerPort === 0 ? 1 : 0;
  }

  /** Datagrams leave by a socket that may be bound to no address, and a v6 one may carry v4. */
  #rankUdp(local: string, family: 0 | 1): number {
    const address = addressOf(local);
    if (address === this.#local[family]) return EXACT;
    if (!/^0+$/.test(address)) return 0;
    return this.hasIPv4 === (family === 0) ? 2 : 1;
  }
}

/** The address as bytes, or null for a name. */
export function addressBytes({ host }: Endpoint): Uint8Array | null {
  return parseAddress(host);
}

/** Looks all of them up, as long as `wanted` says so. Each table is read once at most. */
export async function readTables(proc: Proc, queries: readonly SocketQuery[], wanted: () => boolean): Promise<void> {
  for (const network of ['tcp', 'udp'] as const) {
    const ours = queries.filter((query) => query.network === network);
    for (const family of [0, 1] as const) {
      const open = ours.filter((query) => !query.found && (family === 1 || query.hasIPv4));
      if (open.length === 0 || !wanted()) continue;
      await readTable(proc, `/proc/net/${network}${family === 0 ? '' : '6'}`, family, open, wanted);
    }
  }
}

async function readTable(proc: Proc, path: string, family: 0 | 1, queries: readonly SocketQuery[], wanted: () => boolean): Promise<void> {
  const file = await orElse(proc.open(path), null); // without IPv6 there is no such table
  if (file === null) return;
  try {
    await readRows(file, family, byPort(queries), () => wanted() && queries.some((query) => !query.found));
  } finally {
    await orElse(file.close(), undefined);
  }
}

async function readRows(file: ProcFile, family: 0 | 1, wantedPorts: ReadonlyMap<number, readonly SocketQuery[]>, goOn: () => boolean): Promise<void> {
  const buffer = Buffer.allocUnsafe(PIECE);
  let held = 0;
  for (let total = 0; total < MAX_TABLE && goOn(); ) {
    const count = await orElse(file.read(buffer, held), 0);
    if (count === 0) return;
    total += count;
    const bytes = buffer.subarray(0, held + count);
    let start = 0;
    for (let newline = bytes.indexOf(NEWLINE); newline !== -1; newline = bytes.indexOf(NEWLINE, start)) {
      const queries = wantedPorts.get(localPort(bytes, start, newline));
      if (queries !== undefined) {
        const row = bytes.toString('latin1', start, newline).trim().split(/ +/);
        for (const query of queries) query.offer(row, family);
      }
      start = newline + 1;
    }
    bytes.copyWithin(0, start);
    held = bytes.length - start;
    if (held === buffer.length) return; // no table has such lines
  }
}

const NEWLINE = 0x0a;
const COLON = 0x3a;

/** The port of a line's first address, -1 in the heading. No string for each of thousands of lines. */
function localPort(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  for (let colons = 0; at < end; at++) if (bytes[at] === COLON && ++colons === 2) break;
  if (at + 4 >= end) return -1;
  let port = 0;
  for (let i = at + 1; i <= at + 4; i++) {
    const code = bytes[i] ?? 0;
    const digit = code <= 0x39 ? code - 0x30 : code - 0x37;
    if (digit < 0 || digit > 15) return -1;
    port = port * 16 + digit;
  }
  return port;
}

function byPort(queries: readonly SocketQuery[]): ReadonlyMap<number, readonly SocketQuery[]> {
  const ports = new Map<number, SocketQuery[]>();
  for (const query of queries) {
    const list = ports.get(query.port);
    if (list === undefined) ports.set(query.port, [query]);
    else list.push(query);
  }
  return ports;
}

function addressOf(column: string): string {
  return column.slice(0, Math.max(0, column.indexOf(':')));
}

function portOf(column: string): number {
  return Number.parseInt(column.slice(column.indexOf(':') + 1), 16);
}

/** An IPv4 address stands in the IPv6 table as an IPv4-mapped one. */
function spellings(address: Uint8Array): readonly [v4: string | null, v6: string] {
  if (address.length === 4) return [words(address), words(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...address))];
  return [null, words(address)];
}

const LITTLE_ENDIAN = endianness() === 'LE';

function words(address: Uint8Array): string {
  let text = '';
  for (let i = 0; i < address.length; i += 4) {
    const word = Buffer.from(address.subarray(i, i + 4));
    text += (LITTLE_ENDIAN ? word.reverse() : word).toString('hex');
  }
  return text.toUpperCase();
}
