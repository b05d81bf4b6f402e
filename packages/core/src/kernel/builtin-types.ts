import { directType, raceType, rejectDropType, rejectType, selectType } from '../adapter/builtin.js';
import type { PluginContext } from '../plugin/plugin.js';

/** Registers core's own adapter and group types through the door that plugins use. */
export function builtinTypes(context: PluginContext): void {
  context.adapter(directType);
  context.adapter(rejectType);
  context.adapter(rejectDropType);
  context.adapter(raceType);
  context.adapter(selectType);
}
