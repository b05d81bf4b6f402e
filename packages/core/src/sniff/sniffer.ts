/** Which clients' first bytes are looked at, and what becomes of a name that they show. One for each config; off is none. */
import { addressFamily } from '../net/address.js';
import type { Network, Session } from '../net/session.js';
import type { Stream } from '../net/stream.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import { addressTest, type MakeRule, type NameTest, nameTest } from '../rule/name-test.js';
import { PortSet } from '../rule/ports.js';
import type { Finding, Found } from './finding.js';
import { type Looked, lookAtFirst } from './first-bytes.js';
import { sniffHttp } from './http.js';
import { PacketSniff } from './packet-sniff.js';
import { sniffTls } from './tls.js';

export const SNIFFED_PROTOCOLS = ['TLS', 'HTTP', 'QUIC'] as const;
export type SniffedProtocol = (typeof SNIFFED_PROTOCOLS)[number];

/** The section `sniffer:` of a config. */
export interface SnifferConfig {
  readonly protocols: readonly SniffedPorts[];
  /** Destinations that are names and are looked at all the same. */
  readonly forceDomain: readonly string[];
  /** Names that count as not seen. */
  readonly skipDomain: readonly string[];
  /** Networks of clients and of destinations that are left alone. */
  readonly skipSource: readonly string[];
  readonly skipDestination: readonly string[];
  /** Destinations that are addresses of which no name is known. */
  readonly parsePureIp: boolean;
  /** Destinations that are addresses of which a look-up of the client has told a name. */
  readonly forceDnsMapping: boolean;
}

export interface SniffedPorts {
  readonly protocol: SniffedProtocol;
  /** First and last of each range. */
  readonly ports: readonly (readonly [number, number])[];
  /** The name becomes the destination. */
  readonly overrideDestination: boolean;
}

interface Sniffed extends Omit<SniffedPorts, 'ports'> {
  readonly network: Network;
  readonly ports: PortSet;
}

/** What may be seen in one client's first bytes. */
export type Candidates = readonly Pick<SniffedPorts, 'protocol' | 'overrideDestination'>[];

/** A session with the name that was seen, and how. */
export interface Sighting extends Found {
  readonly protocol: SniffedProtocol;
  readonly session: Session;
}

const LOOKS: { readonly [P in SniffedProtocol]?: (bytes: Uint8Array) => Finding } = { TLS: sniffTls, HTTP: sniffHttp };

export class Sniffer {
  readonly #config: SnifferConfig;
  readonly #protocols: readonly Sniffed[];
  readonly #isForced: NameTest;
  readonly #isSkipped: NameTest;
  readonly #isSkippedSource: NameTest;
  readonly #isSkippedDestination: NameTest;

  /** Throws a plain Error that names the entry that is wrong. */
  constructor(config: SnifferConfig, makeRule: MakeRule) {
    this.#config = config;
    this.#protocols = config.protocols.map(({ protocol, ports, overrideDestination }) => ({
      protocol,
      overrideDestination,
      network: protocol === 'QUIC' ? 'udp' : 'tcp',
      ports: new PortSet(ports),
    }));
    this.#isForced = nameTest(config.forceDomain, makeRule);
    this.#isSkipped = nameTest(config.skipDomain, makeRule);
    this.#isSkippedSource = addressTest(config.skipSource, makeRule);
    this.#isSkippedDestination = addressTest(config.skipDestination, makeRule);
  }

  /** What to look for; null: this session is routed by what is known of it. */
  candidates({ network, source, destination, sniffed }: Session): Candidates | null {
    const { host, port } = destination;
    let found: Sniffed[] | null = null;
    for (const protocol of this.#protocols) {
      if (protocol.network !== network || !protocol.ports.has(port)) continue;
      found ??= [];
      found.push(protocol);
    }
    if (found === null) return null;
    if (addressFamily(host) === 0) return this.#isForced(host) && !this.#isSkippedSource(source.host) ? found : null;
    const { forceDnsMapping, parsePureIp } = this.#config;
    const isWanted = (sniffed === undefined ? parsePureIp : forceDnsMapping) || (sniffed !== undefined && this.#isForced(sniffed));
    return isWanted && !this.#isSkippedSource(source.host) && !this.#isSkippedDestination(host) ? found : null;
  }

  /** Looks at what the client sends first; the stream that comes back has it in front. Rejects if the stream fails. */
  async lookAtStream(
    stream: Stream,
    session: Session,
    candidates: Candidates,
    ms: number,
    timers: TimerWheel,
  ): Promise<{ stream: Stream; sighting: Sighting | null }> {
    let seen: Candidates[number] | null = null;
    const look = (bytes: Uint8Array): Finding => {
      let result: Finding = 'none';
      for (const candidate of candidates) {
        const finding = LOOKS[candidate.protocol]?.(bytes) ?? 'none';
        if (finding === 'more') result = 'more';
        else if (finding !== 'none') {
          seen = candidate;
          return finding;
        }
      }
      return result;
    };
    const looked: Looked = await lookAtFirst(stream, look, ms, timers);
    return { stream: looked.stream, sighting: this.#judge(session, seen, looked.found) };
  }

  /** The same of a peer's first datagrams, which are handed to it. */
  lookAtPackets(session: Session, candidates: Candidates, ms: number, timers: TimerWheel): PacketSniff<Sighting | null> {
    return new PacketSniff(ms, timers, (found) => this.#judge(session, candidates[0] ?? null, found));
  }

  #judge(session: Session, by: Candidates[number] | null, found: Found | null): Sighting | null {
    if (by === null || found === null || this.#isSkipped(found.host)) return null;
    const sniffed: Session = { ...session, sniffed: found.host };
    const { port } = session.destination;
    return {
      ...found,
      protocol: by.protocol,
      session: by.overrideDestination ? { ...sniffed, destination: Object.freeze({ host: found.host, port }) } : sniffed,
    };
  }
}
