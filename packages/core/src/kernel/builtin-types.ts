import { directType, fallbackType, loadBalanceType, raceType, rejectDropType, rejectType, selectType, urlTestType } from '../adapter/builtin.js';
import { HEALTH_BOOK, HealthBook } from '../adapter/health-book.js';
import { httpProbe } from '../adapter/health-check.js';
import { EVENTS, TIMERS } from '../net/tokens.js';
import type { PluginContext } from '../plugin/plugin.js';

/** Registers core's own adapter and group types, and what they share, through the door that plugins use. */
export function builtinTypes(context: PluginContext): void {
  context.provide(HEALTH_BOOK, (get) => new HealthBook({ timers: get(TIMERS), events: get(EVENTS), probe: httpProbe(get(TIMERS)) }));
  context.adapter(directType);
  context.adapter(rejectType);
  context.adapter(rejectDropType);
  context.adapter(raceType);
  context.adapter(selectType);
  context.adapter(urlTestType);
  context.adapter(fallbackType);
  context.adapter(loadBalanceType);
}
