/** A document over HTTP through any adapter: lists of rules, subscriptions, health checks. Read first: RFC 9110 sections 9.3 and 15.4. */
import { type Cancel, CancelSource, timeoutError } from '../net/cancel.js';
import type { StreamDialer } from '../net/dialer.js';
import { normaliseHost } from '../net/endpoint.js';
import { NetError, toNetError } from '../net/errors.js';
import type { Session } from '../net/session.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import { type Answer, exchange, type Target } from './http-exchange.js';

export interface FetchOptions {
  readonly dialer: StreamDialer;
  /** Whom it is for, in logs; its destination becomes the server's. */
  readonly session: Session;
  readonly signal: Cancel;
  readonly timers: TimerWheel;
  /** For all of it: dialling, TLS, redirects, the last byte. */
  readonly timeoutMs: number;
  /** Of the body, as it came and once it is unpacked. */
  readonly maxBytes: number;
  /** They go to the first origin only; of all of them `user-agent` and `accept` follow a redirect elsewhere. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: 'GET' | 'HEAD';
  /** How many are followed, 5 by default. 0: the redirect itself is the answer. */
  readonly redirects?: number;
  readonly tls?: {
    /** Certificates to trust instead of the built-in ones: PEM text, or a file with it. */
    readonly ca?: string;
  };
}

export interface Fetched {
  /** Any: what counts as a success is for the caller to say. */
  readonly status: number;
  /** Lower-case names; several of one name are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** Unpacked. */
  readonly body: Uint8Array;
  /** Where it came from, after redirects. */
  readonly url: string;
}

const REDIRECTS = 5;
const REDIRECT_STATUS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** What may be told to a server that the user did not name. */
const HARMLESS_HEADERS: ReadonlySet<string> = new Set(['user-agent', 'accept']);
const USER_AGENT = 'nekit-kernel';

/**
 * Fetches `url` (http or https). Rejects with a NetError, and leaves nothing open either way. Errors name the server and nothing else of the
 * URL: there may be a token in it.
 */
export async function httpFetch(url: string, options: FetchOptions): Promise<Fetched> {
  const first = targetOf(url);
  const stop = new CancelSource(options.signal);
  const deadline = options.timers.after(options.timeoutMs, () => stop.cancel(timeoutError(`fetching from ${first.url.origin}`, options.timeoutMs)));
  try {
    return await follow(first, stop, options);
  } catch (error) {
    throw toNetError(stop.reason ?? error, `fetching from ${first.url.origin}`);
  } finally {
    deadline.cancel();
    stop.release();
  }
}

async function follow(first: Target, signal: Cancel, options: FetchOptions): Promise<Fetched> {
  const { dialer, session, maxBytes, method = 'GET', redirects = REDIRECTS, tls } = options;
  const given = { 'user-agent': USER_AGENT, accept: '*/*', ...lowerCase(options.headers ?? {}) };
  let target = first;
  for (let followed = 0; ; followed++) {
    const sameOrigin = target.url.origin === first.url.origin;
    const headers = sameOrigin ? given : Object.fromEntries(Object.entries(given).filter(([name]) => HARMLESS_HEADERS.has(name)));
    const answer = await exchange(target, {
      dialer,
      session,
      signal,
      maxBytes,
      method,
      headers,
      ca: tls?.ca,
      bodyOf: (status) => !REDIRECT_STATUS.has(status),
    });
    const next = redirects === 0 ? null : redirectOf(answer, target);
    if (next === null) return { ...answer, url: target.url.href };
    if (followed === redirects) throw new NetError('protocol', `${first.url.origin} redirects more than ${redirects} times`, { code: 'TOO_MANY_REDIRECTS' });
    target = next;
  }
}

function redirectOf({ status, headers }: Answer, from: Target): Target | null {
  const location = headers.location;
  if (!REDIRECT_STATUS.has(status) || location === undefined) return null;
  const target = targetOf(location, from.url);
  if (from.url.protocol === 'https:' && target.url.protocol === 'http:')
    throw new NetError('protocol', `${from.url.origin} redirects from https to http (${target.url.origin}), which is not followed`, { code: 'BAD_REDIRECT' });
  return target;
}

/** Throws a NetError: this is no URL, or of another scheme. */
function targetOf(text: string, base?: URL): Target {
  const where = base === undefined ? 'the URL' : `the redirect of ${base.origin}`;
  if (!URL.canParse(text, base?.href)) throw new NetError('protocol', `${where} is none that can be read`, { code: 'BAD_URL' });
  const url = new URL(text, base);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new NetError('protocol', `${where} has the scheme ${url.protocol.slice(0, -1)}, and only http and https are fetched`, { code: 'BAD_URL' });
  const host = normaliseHost(url.hostname);
  if (host === null) throw new NetError('protocol', `${where} names a host that cannot be one`, { code: 'BAD_URL' });
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return { url, endpoint: { host, port } };
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
