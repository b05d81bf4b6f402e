import { never } from '../net/cancel.js';
import { type Endpoint, formatEndpoint, normaliseHost } from '../net/endpoint.js';
import type { Session } from '../net/session.js';
import type { SniffedProtocol, Sniffer } from '../sniff/sniffer.js';
import type { Lookup } from './facts.js';
import { leafOf } from './leaf.js';
import { type Router, rounded, type Trace, type Tried } from './router.js';

/** A connection that somebody might make. All but the destination may be left out. */
export type ExplainInput = Pick<Session, 'destination'> & Partial<Omit<Session, 'id' | 'destination'>>;

/** Which way it would go, and why. Plain values, for JSON. */
export interface Explanation {
  /** `example.com:443` */
  readonly destination: string;
  /** The name that the first bytes show, if the caller said so. */
  readonly sniffed: string | null;
  /** What the sniffer would look for in the first bytes: the answer is another one if they show a name. */
  readonly sniffer: readonly SniffedProtocol[];
  /** The adapter that would carry it: never a group. */
  readonly adapter: string;
  /** The groups it is reached through, outermost first. */
  readonly chain: readonly string[];
  /** As written; null if no rule matched, or the mode decided. */
  readonly rule: string | null;
  /** In order; the last one decided, unless `rule` is null. */
  readonly tried: readonly Tried[];
  /** What rules had looked up, or what `hosts` said. */
  readonly lookups: readonly Lookup[];
  /** The addresses that a direct connection would keep to; null if none were judged. */
  readonly addresses: readonly string[] | null;
  readonly ms: number;
}

const NOWHERE: Endpoint = { host: '127.0.0.1', port: 0 };

/** Runs the rules as for a session, look-ups included, without dialling and without a client whose bytes could be seen. Rejects with the reason of `input.signal`, if that fires. */
export async function explain(input: ExplainInput, router: Router, sniffer: Sniffer | null = null): Promise<Explanation> {
  const session: Session = {
    id: 0,
    network: 'tcp',
    inbound: '',
    inboundType: '',
    inboundPort: 0,
    source: NOWHERE,
    requested: input.destination,
    signal: never,
    ...input,
    // As an inbound would have read it.
    destination: { host: normaliseHost(input.destination.host) ?? input.destination.host, port: input.destination.port },
  };
  const trace: Trace = { tried: [], lookups: [] };
  const begin = router.now();
  const decision = await router.evaluate(session, trace);
  const { leaf, chain } = leafOf(decision.adapter, session);
  const { sniffed = null, ...unseen } = session;
  return {
    destination: formatEndpoint(session.destination),
    sniffed,
    sniffer: sniffed === null ? (sniffer?.candidates(unseen) ?? []).map(({ protocol }) => protocol) : [],
    adapter: leaf.tag,
    chain,
    rule: decision.rule?.text ?? null,
    tried: trace.tried,
    lookups: trace.lookups,
    addresses: decision.addresses,
    ms: rounded(router.now() - begin),
  };
}
