import { checkRules, type RulesContext } from './check-rules.js';
import type { RouteConfig } from './types.js';

/** `sub-rules`: lists by name, which must not lead to each other in a circle. */
export function checkSubRules(lists: Readonly<Record<string, readonly unknown[]>>, context: RulesContext): ReadonlyMap<string, readonly RouteConfig[]> {
  const checked = new Map(Object.entries(lists).map(([name, rules]) => [name, checkRules(rules, ['sub-rules', name], context)]));
  const done = new Set<string>();
  for (const name of checked.keys()) reportCircle(name, [], checked, done, context);
  return checked;
}

/** Lists within lists within lists … */
const MAX_DEPTH = 16;

/** Each list is entered once, and each circle is reported once. */
function reportCircle(
  name: string,
  trail: readonly string[],
  lists: ReadonlyMap<string, readonly RouteConfig[]>,
  done: Set<string>,
  context: RulesContext,
): void {
  if (done.has(name)) return;
  const here = [...trail, name];
  lists.get(name)?.forEach((route, index) => {
    if (!route.sub) return;
    const at = here.indexOf(route.target);
    if (at === -1 && here.length >= MAX_DEPTH)
      context.problems.error('BAD_RULE', `sub-rules lead to each other more than ${MAX_DEPTH} deep`, ['sub-rules', name, index]);
    else if (at === -1) reportCircle(route.target, here, lists, done, context);
    else
      context.problems.error('CYCLE', `these sub-rules use each other in a circle: ${[...here.slice(at), route.target].join(' -> ')}`, [
        'sub-rules',
        name,
        index,
      ]);
  });
  done.add(name);
}
