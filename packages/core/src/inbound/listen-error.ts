import { type Endpoint, formatEndpoint } from '../net/endpoint.js';
import { errorCode, NekitError, toNetError } from '../net/errors.js';

/** What a bind to `::` fails with on a host without IPv6. */
const NO_IPV6: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL']);

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use',
  EACCES: 'not permitted (ports below 1024 need root)',
  EADDRNOTAVAIL: 'this machine has no such address',
};

/** Whether all addresses (`::`) cannot be listened on because there are none of IPv6: those of IPv4 are all, then. */
export function lacksIpv6(error: unknown): boolean {
  return NO_IPV6.has(errorCode(error));
}

/** NekitError `LISTEN_FAILED` for a person. `what`: behind the endpoint, as ` for UDP`. */
export function listenError(listener: string, endpoint: Endpoint, error: unknown, what = ''): NekitError {
  const why = WHY[errorCode(error)] ?? toNetError(error).message;
  return new NekitError('LISTEN_FAILED', `listener ${listener} cannot listen on ${formatEndpoint(endpoint)}${what}: ${why}`, { cause: error });
}
