/**
 * What a health check does and how its answer is judged. One check is an HTTP HEAD request through an adapter, and what is measured is all that a new
 * connection costs: from the beginning of the dial (with the proxy's handshake and, for https, TLS to the server) to the head of the response.
 * This is what mihomo measures without `unified-delay`, so figures are comparable. Redirects are not followed: they are an answer.
 */
import type { Cancel } from '../net/cancel.js';
import { NetError } from '../net/errors.js';
import type { Session } from '../net/session.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { Adapter } from './adapter.js';
import { httpFetch } from './http-fetch.js';

export interface ProbeOptions {
  readonly url: string;
  readonly signal: Cancel;
  readonly timeoutMs: number;
}

/** Asks `url` through an adapter and gives the status of the answer. Rejects where there is none, and leaves nothing behind. */
export type Probe = (adapter: Adapter, options: ProbeOptions) => Promise<number>;

export function httpProbe(timers: TimerWheel): Probe {
  return async (adapter, { url, signal, timeoutMs }) => {
    if (adapter.stream === undefined) throw new NetError('denied', `${adapter.tag} carries no TCP`, { code: 'NOT_SUPPORTED' });
    const session: Session = { ...OWN_SESSION, signal };
    const answer = await httpFetch(url, { dialer: adapter.stream, session, signal, timers, timeoutMs, maxBytes: 0, method: 'HEAD', redirects: 0 });
    return answer.status;
  };
}

const NOWHERE = { host: '127.0.0.1', port: 0 };

/** Of no client. The fetch fills in where it goes. `Inner` is Clash's word for what the kernel does on its own account. */
const OWN_SESSION: Omit<Session, 'signal'> = {
  id: 0,
  network: 'tcp',
  inbound: '',
  inboundType: 'Inner',
  inboundPort: 0,
  source: NOWHERE,
  requested: NOWHERE,
  destination: NOWHERE,
};

/** Which answers count as alive. */
export interface ExpectedStatus {
  /** Its ranges with `/` between them; `*` for any. Two that are spelled alike are the same. */
  readonly text: string;
  includes(status: number): boolean;
}

/** Ranges of one `expected-status`. */
const MAX_RANGES = 32;

/**
 * `200/302/400-503`; `*` and nothing: any answer, whatever its status (as in mihomo: a proxy that brings an error page works). As there, `,` is a `/` and empty parts
 * are passed over (common/utils/ranges.go). Throws a plain Error.
 */
export function parseExpectedStatus(source: string): ExpectedStatus {
  const parts = source
    .replace(/\s+/g, '')
    .split(/[/,]/)
    .filter((part) => part !== '');
  const text = parts.join('/');
  if (text === '' || text === '*') return { text: '*', includes: () => true };
  const ranges = parts.map((part) => {
    const [, first, last] = /^([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?$/.exec(part) ?? [];
    if (first === undefined) throw new Error(`"${part}" is no status: write them as 200/302/400-503, or * for any`);
    const range = { from: Number(first), to: Number(last ?? first) };
    if (range.from > range.to) throw new Error(`the range ${part} is empty: write ${last}-${first}`);
    return range;
  });
  if (ranges.length > MAX_RANGES) throw new Error(`${ranges.length} ranges are too many, ${MAX_RANGES} are allowed`);
  return { text, includes: (status) => ranges.some(({ from, to }) => status >= from && status <= to) };
}
