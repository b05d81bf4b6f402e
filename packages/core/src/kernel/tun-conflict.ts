/** What two TUNs of one config cannot both have. The second would be refused at its start, as that of another kernel is. */
import { guardTable, PRIORITIES } from '../inbound/tun/auto-route/plan.js';
import type { AutoRouteSettings } from '../inbound/tun/auto-route/settings.js';
import type { TunConfig } from './tun-schema.js';

/** null: they can run together. */
export function tunConflict(one: TunConfig, other: TunConfig): string | null {
  const descriptor = one.keys['file-descriptor'];
  if (descriptor !== undefined && descriptor === other.keys['file-descriptor']) return `both have the file descriptor ${descriptor}`;
  const device = deviceOf(one);
  if (device !== '' && device === deviceOf(other)) return `both have the device ${device}`;
  if (one.autoRoute === null || other.autoRoute === null) return null;
  const { priority } = one.autoRoute;
  if (Math.abs(priority - other.autoRoute.priority) < PRIORITIES)
    return `auto-route takes the priorities ${priority} to ${priority + PRIORITIES - 1} there: choose others with "iproute2-rule-index", and a table with "iproute2-table-index"`;
  const tables = tablesOf(one.autoRoute);
  const table = tablesOf(other.autoRoute).find((wanted) => tables.includes(wanted));
  return table === undefined ? null : `auto-route takes the routing table ${table} there: choose another with "iproute2-table-index"`;
}

/** Empty: Linux chooses, or somebody else has. */
function deviceOf({ keys }: TunConfig): string {
  return keys['file-descriptor'] === undefined ? keys.device : '';
}

function tablesOf(settings: AutoRouteSettings): number[] {
  return settings.strict ? [settings.table, guardTable(settings)] : [settings.table];
}
