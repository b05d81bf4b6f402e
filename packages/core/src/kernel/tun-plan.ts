/** What TUNs would set in the system, and what of it is set: for `check --tun` and `--dry-run`. */
import type { KernelConfig } from '../config/types.js';
import { describeLeftoverRoute, findRoutes, listedRule } from '../inbound/tun/auto-route/found-routes.js';
import { type GuardedLink, guardedLinks, guardTable, planGuard, planRoutes } from '../inbound/tun/auto-route/plan.js';
import { OWNER } from '../inbound/tun/auto-route/settings.js';
import { type LinkAddress, linkAddresses, linkInfo, listLinks } from '../native/link-config.js';
import { findAddon } from '../native/load.js';
import type { NetlinkCall } from '../native/netlink.js';
import { describeFound, describeRule } from '../native/rule-text.js';
import { describeRoute, listRoutes, type TableRoute } from '../native/table-route.js';
import { tunAddon } from '../native/tun-addon.js';
import { addressFamily } from '../net/address.js';
import { errorCode, NekitError } from '../net/errors.js';
import { withOwnMarks } from './own-marks.js';
import { TunConfig } from './tun-schema.js';

export interface TunPlanLine {
  /** Name of the listener; `tun` is the section. */
  readonly listener: string;
  readonly kind: 'device' | 'address' | 'route' | 'rule';
  /** 0: of both. */
  readonly family: 0 | 4 | 6;
  /** What would do the same by hand: `ip -6 rule add priority 9001 fwmark 0x162 goto 9009 protocol 78`. */
  readonly command: string;
}

export interface TunStateLine extends TunPlanLine {
  /** Whether the system has it now. */
  readonly isSet: boolean;
}

export interface TunState {
  readonly lines: readonly TunStateLine[];
  /** Rules that a kernel which was killed has left, as `ip rule` lists them; the next start with auto-route removes them. */
  readonly leftovers: readonly string[];
}

/** Stands for a name that Linux would choose. */
const ANY_DEVICE = 'tun0';

/**
 * All that the TUNs of a checked config would set, in no order of time. Reads and writes nothing. `interfaces`: those that the system has;
 * with strict-route each has its lines.
 */
export function tunPlan(config: KernelConfig, interfaces: readonly GuardedLink[] = []): readonly TunPlanLine[] {
  return withOwnMarks(config).listeners.flatMap(({ name, options }) =>
    options instanceof TunConfig ? planOf(name, options, options.keys.device || ANY_DEVICE, interfaces) : [],
  );
}

/**
 * The plan with what is set in this network namespace, and what was left over. Only reads. Throws NekitError `TUN_UNAVAILABLE` without the native
 * addon, and an error with the system's code where it says nothing.
 */
export function tunState(config: KernelConfig): TunState {
  const tun = tunAddon(findAddon().addon);
  if (tun === null)
    throw new NekitError('TUN_UNAVAILABLE', 'what is set can only be seen with the native addon, which is not loaded (nekit-kernel --version says why)');
  const call = tun.netlink;
  const { rules, living, leftovers, leftoverRoutes } = findRoutes(call, null);
  const links = listLinks(call);
  const own = rules.filter((rule) => rule.owner === OWNER && !leftovers.includes(rule));
  const present = new Set(own.map((rule) => `ip ${rule.family === 6 ? '-6 ' : ''}rule add ${describeFound(rule)} protocol ${OWNER}`));
  const left = leftoverRoutes.map((route) => describeLeftoverRoute(route, links));
  const lines = withOwnMarks(config).listeners.flatMap(({ name, options }) => {
    if (!(options instanceof TunConfig)) return [];
    const { keys, autoRoute } = options;
    const device = keys.device || (living.find(({ priority }) => priority === autoRoute?.priority)?.device ?? ANY_DEVICE);
    for (const command of foundOn(call, device, autoRoute?.table ?? null)) present.add(command);
    const others = guardedLinks(links, device);
    if (autoRoute?.strict === true)
      for (const route of listRoutes(call, 4, guardTable(autoRoute)))
        for (const { index, name: other } of others) if (index === route.index && route.owner === OWNER) present.add(`ip ${routeCommand(route, other)}`);
    return planOf(
      name,
      options,
      device,
      others.filter(({ isUp }) => isUp),
    );
  });
  return {
    lines: lines.map((line) => ({ ...line, isSet: present.has(line.command) && !left.some((route) => line.command === addedAs(route)) })),
    leftovers: [...leftovers.map(listedRule), ...left],
  };
}

function planOf(listener: string, { keys, addresses, autoRoute }: TunConfig, device: string, interfaces: readonly GuardedLink[]): TunPlanLine[] {
  const line = (kind: TunPlanLine['kind'], family: 0 | 4 | 6, command: string): TunPlanLine => ({
    listener,
    kind,
    family,
    command: `ip ${family === 6 ? '-6 ' : ''}${command}`,
  });
  const own = keys['file-descriptor'] === undefined;
  const plan = autoRoute === null ? { rules: [], routes: [] } : planRoutes({ settings: autoRoute, device, addresses });
  const guards = autoRoute === null ? [] : interfaces.map((link) => ({ other: link.name, plan: planGuard(autoRoute, link) }));
  return [
    ...(own ? [line('device', 0, deviceCommand(device))] : []),
    ...(own ? addresses.map((address) => line('address', addressFamily(address.address), addressCommand(address, device))) : []),
    ...plan.routes.map((route) => line('route', route.family, routeCommand(route, device))),
    ...guards.flatMap(({ other, plan: { routes } }) => routes.map((route) => line('route', route.family, routeCommand(route, other)))),
    ...[...plan.rules, ...guards.flatMap(({ plan: { rules } }) => rules)]
      .sort((one, other) => one.family - other.family || one.priority - other.priority)
      .map((rule) => line('rule', rule.family, `rule add ${describeRule(rule)} protocol ${OWNER}`)),
  ];
}

/** The same lines as the plan has, for what a device has and a table holds. */
function foundOn(call: NetlinkCall, device: string, table: number | null): string[] {
  let index: number;
  try {
    index = linkInfo(call, device).index;
  } catch (error) {
    if (errorCode(error) === 'ENODEV') return [];
    throw error;
  }
  const ip = (family: number): string => (family === 6 ? 'ip -6' : 'ip');
  const routes = table === null ? [] : ([4, 6] as const).flatMap((family) => listRoutes(call, family, table));
  return [
    `ip ${deviceCommand(device)}`,
    ...linkAddresses(call, index).map((address) => `${ip(addressFamily(address.address))} ${addressCommand(address, device)}`),
    ...routes.filter((route) => route.owner === OWNER && route.index === index).map((route) => `${ip(route.family)} ${routeCommand(route, device)}`),
  ];
}

/** The plan's line for a route that was left over. */
function addedAs(leftover: string): string {
  return `${leftover.replace(' route ', ' route add ')} protocol ${OWNER}`;
}

function routeCommand(route: TableRoute, device: string): string {
  return `route add ${describeRoute(route, device)} protocol ${OWNER}`;
}

function deviceCommand(device: string): string {
  return `tuntap add ${device} mode tun`;
}

function addressCommand({ address, prefix }: LinkAddress, device: string): string {
  return `address add ${address}/${prefix} dev ${device}`;
}
