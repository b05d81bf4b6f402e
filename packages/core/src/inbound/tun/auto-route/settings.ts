import type { LinkAddress } from '../../../native/link-config.js';
import { errorCode } from '../../../net/errors.js';

/** The mark of our own sockets where `routing-mark` says none. */
export const DEFAULT_MARK = 0x162;

/** Clash's defaults. */
export const DEFAULT_TABLE = 2022;
export const DEFAULT_PRIORITY = 9000;

/** Who has set it, in rules and routes: of the numbers that nobody has reserved (`RTPROT_…`, /etc/iproute2/rt_protos). */
export const OWNER = 78;

/** What `auto-route` is to do. Plain values: a reload compares them. */
export interface AutoRouteSettings {
  /** Networks that go into the TUN. */
  readonly routes: readonly LinkAddress[];
  readonly excluded: readonly LinkAddress[];
  readonly table: number;
  /** Of the first rule. */
  readonly priority: number;
  /** What has no way through the TUN has none at all. */
  readonly strict: boolean;
  readonly detectInterface: boolean;
  /** Of our own sockets. */
  readonly marks: readonly number[];
}

/** Whether what was to be taken away is gone already. */
export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'ENODEV'].includes(errorCode(error));
}
