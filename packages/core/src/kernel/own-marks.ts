/** The marks of our own sockets, by which they stay out of a TUN with auto-route. */

import { isRecord } from '../config/record.js';
import type { KernelConfig } from '../config/types.js';
import { DEFAULT_MARK } from '../inbound/tun/auto-route/settings.js';
import { TunConfig } from './tun-schema.js';

/** A config whose sockets are marked if one of its TUNs has auto-route, and whose TUNs know the marks. */
export function withOwnMarks(config: KernelConfig): KernelConfig {
  if (!hasAutoRoute(config)) return config;
  const { mark = DEFAULT_MARK } = config.outbound;
  const marks = [...new Set([mark, ...config.proxies.flatMap(({ outbound, options }) => [outbound.mark, markIn(options)].filter((own) => own !== undefined))])];
  return {
    ...config,
    outbound: { ...config.outbound, mark },
    listeners: config.listeners.map((listener) =>
      listener.options instanceof TunConfig ? { ...listener, options: listener.options.withMarks(marks) } : listener,
    ),
  };
}

/** What `withOwnMarks` has given; undefined: no TUN with auto-route. */
export function ownMark({ listeners, outbound }: Pick<KernelConfig, 'listeners' | 'outbound'>): number | undefined {
  return listeners.some(({ options }) => options instanceof TunConfig && options.autoRoute !== null && options.autoRoute.marks.length > 0)
    ? outbound.mark
    : undefined;
}

/** Whether our sockets leave by the interface of the default route. */
export function detectsInterface({ listeners, outbound }: Pick<KernelConfig, 'listeners' | 'outbound'>): boolean {
  const detects = ({ autoRoute }: TunConfig): boolean => autoRoute?.detectInterface === true && autoRoute.marks.length > 0;
  return outbound.device === undefined && listeners.some(({ options }) => options instanceof TunConfig && detects(options));
}

function hasAutoRoute({ listeners }: Pick<KernelConfig, 'listeners'>): boolean {
  return listeners.some(({ options }) => options instanceof TunConfig && options.autoRoute !== null);
}

/** Of a proxy of type direct, which has the key among its own. */
function markIn(options: unknown): number | undefined {
  return isRecord(options) && typeof options['routing-mark'] === 'number' ? options['routing-mark'] : undefined;
}
