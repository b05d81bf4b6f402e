import type { RuleDefinition } from './definition.js';
import { listPayload } from './list-payload.js';

const EXAMPLE = '1000/2000-2999';
/** Numbers of users have 32 bits, and the last is nobody's (setresuid(2)). */
const MAX_UID = 0xffff_fffe;

/** The user on this machine whose program opened the connection. Known of programs that are hidden from us, too. */
export function uid(): RuleDefinition {
  return {
    kind: 'UID',
    description: `number of the local user whose program it is: numbers and ranges, as ${EXAMPLE}`,
    payload: true,
    create(payload) {
      const ranges = listPayload('UID', payload, EXAMPLE).map(uidRange);
      return {
        async match(_session, facts) {
          const user = (await facts.process())?.uid ?? null;
          return user !== null && ranges.some(([first, last]) => user >= first && user <= last);
        },
      };
    },
  };
}

function uidRange(item: string): readonly [number, number] {
  const [low = '', high, more] = item.split('-').map((end) => end.trim());
  const first = parseUid(low);
  const last = high === undefined ? first : parseUid(high);
  if (first === null || last === null || more !== undefined) {
    throw new Error(`"${item}" is neither a number of a user (0 to ${MAX_UID}, "id -u" tells yours) nor a range, as in UID,${EXAMPLE}`);
  }
  if (first > last) throw new Error(`"${item}" is an empty range: write the lower number first, UID,${last}-${first}`);
  return [first, last];
}

function parseUid(text: string): number | null {
  if (!/^[0-9]{1,10}$/.test(text)) return null;
  const value = Number(text);
  return value <= MAX_UID ? value : null;
}
