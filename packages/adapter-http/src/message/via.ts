/** Read first: RFC 9110 section 7.6.3 (Via). The pseudonym that one kernel goes by: a message that bears it has been here before. */
import { type Fields, valuesOf } from './fields.js';

export function viaName(instanceId: string): string {
  return `nekit-${instanceId}`;
}

/** Whether a message has come through the kernel of that name. */
export function cameThrough(fields: Fields, name: string): boolean {
  return valuesOf(fields, 'via').some((value) => value.split(/[\s,]+/).includes(name));
}
