/**
 * The items of a payload that is a list. Clash separates them by `/`; in the object form, where a comma separates nothing else, a comma
 * does as well. Throws a plain Error if there is none, or an empty one.
 */
export function listPayload(kind: string, payload: string, example: string): string[] {
  if (payload.trim() === '') throw new Error(`${kind} needs a value, as in ${kind},${example}`);
  const items = payload.split(/[/,]/).map((item) => item.trim());
  if (items.includes('')) throw new Error(`"${payload}" has an empty item: write ${kind},${example}`);
  return items;
}
