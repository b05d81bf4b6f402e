/**
 * Look-ups by sockets of ours: where auto-route sends the questions of this machine into the TUN, getaddrinfo would ask us. As much as it takes to find
 * a server: /etc/hosts, then the servers of /etc/resolv.conf, over UDP. The plugin dns does all of it better, and takes its place.
 */
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { addressFamily, normaliseAddress } from './address.js';
import { type Cancel, CancelSource } from './cancel.js';
import type { Clock } from './clock.js';
import { type DnsAnswer, dnsQuestion, RECORD_TYPE, type RecordType, readDnsAnswer } from './dns-message.js';
import { NetError, toNetError } from './errors.js';
import type { Sockets } from './sockets.js';
import type { SystemLookup } from './system-resolver.js';
import { isSameAddress } from './zone.js';

const PORT = 53;
/** How long a server may take, in ms, and how often all are asked. */
const PATIENCE = 1_500;
const ROUNDS = 2;
/** The C library takes as many (resolv.conf(5), MAXNS). */
const MAX_SERVERS = 3;

/**
 * How long who has addresses of one family waits for those of the other, in ms (RFC 8305 section 3): IPv6 does not hold up what has IPv4 for long. The answer
 * is kept, so it is not the 50 ms of that section, which a server that has to ask others often takes, and IPv4, which more machines have a way to, gets a second asking.
 */
const WAIT_FOR = { 4: 2 * PATIENCE, 6: 750 };

const NXDOMAIN = 3;

export interface DnsLookupOptions {
  readonly sockets: Sockets;
  readonly clock: Clock;
  /** For tests. */
  readonly files?: DnsFiles;
  readonly port?: number;
}

export interface DnsFiles {
  readonly hosts: string;
  readonly resolvConf: string;
  /** Where systemd-resolved has the servers that it asks, when resolv.conf names only itself: its own questions come to us. */
  readonly behindStub: string;
}

const FILES: DnsFiles = { hosts: '/etc/hosts', resolvConf: '/etc/resolv.conf', behindStub: '/run/systemd/resolve/resolv.conf' };

/** For SystemResolver, which keeps answers and bounds how many ask. */
export function dnsLookup({ sockets, clock, files = FILES, port = PORT }: DnsLookupOptions): SystemLookup {
  const ask = async (name: string, type: RecordType, servers: readonly string[], signal: Cancel): Promise<readonly string[]> => {
    /** Why servers could not even be asked: this machine may not have their family. */
    let failure: Error | null = null;
    let isAsked = false;
    for (let i = 0; i < ROUNDS * servers.length && signal.reason === null; i++) {
      const server = servers[i % servers.length] ?? '';
      let answer: DnsAnswer | null;
      try {
        answer = await askServer({ sockets, clock, server, port, name, type, signal });
      } catch (error) {
        failure = toNetError(error, server);
        continue;
      }
      isAsked = true;
      if (answer !== null && (answer.rcode === 0 || answer.rcode === NXDOMAIN) && !(answer.truncated && answer.addresses.length === 0)) return answer.addresses;
    }
    if (failure !== null && !isAsked) throw failure;
    throw new NetError('name', `no server of ${files.resolvConf} knows ${name}`, { code: 'DNS_NO_ANSWER' });
  };
  return async (name, family) => {
    const known = hostsIn(await textOf(files.hosts), name);
    if (known.length > 0) return known.map((address) => ({ address }));
    const servers = await serversOf(files);
    const late = new CancelSource();
    const four = ask(name, RECORD_TYPE.A, servers, late);
    const found = await (family === 4 ? four : both(four, ask(name, RECORD_TYPE.AAAA, servers, late), clock));
    late.cancel(new NetError('aborted', 'the addresses of the other family are enough'));
    if (found.length > 0) return found.map((address) => ({ address }));
    throw new NetError('name', `${name} has no address`, { code: 'ENOTFOUND' });
  };
}

/** The addresses of both families, IPv6 first; of one where the other has none or is late. Rejects where a look-up failed and the other has none. */
function both(four: Promise<readonly string[]>, six: Promise<readonly string[]>, clock: Clock): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const found: { 4: readonly string[]; 6: readonly string[] } = { 4: [], 6: [] };
    let failure: NetError | null = null;
    let left = 2;
    let stopTimer = (): void => {};
    const finish = (): void => {
      stopTimer();
      const all = [...found[6], ...found[4]];
      if (all.length === 0 && failure !== null) reject(failure);
      else resolve(all);
    };
    const wait = (family: 4 | 6, other: 4 | 6, answer: Promise<readonly string[]>): void => {
      void answer
        .then(
          (addresses) => {
            found[family] = addresses;
          },
          (error: unknown) => {
            failure ??= toNetError(error);
          },
        )
        .then(() => {
          if (--left === 0) finish();
          else if (found[family].length > 0) stopTimer = clock.after(WAIT_FOR[other], finish);
        });
    };
    wait(4, 6, four);
    wait(6, 4, six);
  });
}

interface Asked {
  readonly sockets: Sockets;
  readonly clock: Clock;
  readonly server: string;
  readonly port: number;
  readonly name: string;
  readonly type: RecordType;
  readonly signal: Cancel;
}

/** One question by a socket of its own, so that its port is as hard to guess as its id. null: no answer in time, or the signal fired. Rejects with the system's error where there can be no socket. */
function askServer({ sockets, clock, server, port, name, type, signal }: Asked): Promise<DnsAnswer | null> {
  const question = dnsQuestion(randomInt(0x10000), name, type);
  if (question === null) return Promise.resolve(null);
  return new Promise((resolve) => {
    const finish = (answer: DnsAnswer | null): void => {
      stopTimer();
      forget();
      socket.close();
      resolve(answer);
    };
    const socket = sockets.bindUdp(
      { host: addressFamily(server) === 6 ? '::' : '0.0.0.0', port: 0 },
      {
        received: ({ length, bytes, start, end, peer }) => {
          for (let i = 0; i < length; i++) {
            const from = peer[i];
            if (from === undefined || from.port !== port || !isSameAddress(from.host, server)) continue;
            const answer = readDnsAnswer(question, type, bytes.subarray(start[i] ?? 0, end[i] ?? 0));
            if (answer !== null) return finish(answer);
          }
        },
        failed: () => finish(null),
      },
    );
    const stopTimer = clock.after(PATIENCE, () => finish(null));
    const forget = signal.onCancel(() => finish(null));
    if (!socket.send(question, 0, question.length, server, port)) finish(null);
  });
}

async function serversOf({ resolvConf, behindStub }: DnsFiles): Promise<readonly string[]> {
  const named = nameserversIn(await textOf(resolvConf));
  const behind = named.every(isLoopback) ? nameserversIn(await textOf(behindStub)) : [];
  const servers = behind.length > 0 ? behind : named;
  return servers.length > 0 ? servers : ['127.0.0.1'];
}

/** What is not there says nothing. */
function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}

function nameserversIn(text: string): string[] {
  const found = text.split('\n').map((line) => normaliseAddress(/^nameserver[ \t]+(\S+)/.exec(line)?.[1] ?? '-'));
  return found.filter((address) => address !== null).slice(0, MAX_SERVERS);
}

function hostsIn(text: string, name: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = (line.split('#', 1)[0] ?? '').trim().split(/\s+/);
    return names.some((known) => known.toLowerCase() === name) ? (normaliseAddress(address) ?? []) : [];
  });
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
