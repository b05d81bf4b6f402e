import { parsePort } from '../net/endpoint.js';
import type { Session } from '../net/session.js';
import type { RuleDefinition } from './definition.js';
import { listPayload } from './list-payload.js';

export function dstPort(): RuleDefinition {
  return portRule('DST-PORT', "destination's port", (session) => session.destination.port);
}

export function srcPort(): RuleDefinition {
  return portRule('SRC-PORT', "client's port", (session) => session.source.port);
}

export function inPort(): RuleDefinition {
  return portRule('IN-PORT', "listener's port", (session) => session.inboundPort);
}

function portRule(kind: string, what: string, portOf: (session: Session) => number): RuleDefinition {
  return {
    kind,
    description: `${what}: numbers and ranges, as 80/443/8000-8999`,
    payload: true,
    create(payload) {
      const ports = new PortSet(listPayload(kind, payload, '80/443/8000-8999').map((item) => portRange(item, `${kind},`)));
      return { match: (session) => ports.has(portOf(session)) };
    },
  };
}

/** Ranges in the order written: lists are short. */
export class PortSet {
  /** first, last, first, last … */
  readonly #ends: readonly number[];

  /** `ranges`: first and last port of each. */
  constructor(ranges: readonly (readonly [number, number])[]) {
    this.#ends = ranges.flat();
  }

  has(port: number): boolean {
    const ends = this.#ends;
    for (let i = 0; i < ends.length; i += 2) if (port >= (ends[i] ?? 0) && port <= (ends[i + 1] ?? 0)) return true;
    return false;
  }
}

/** `80` or `8000-8999`: first and last. Throws a plain Error that shows how it is done, with `before` in front. */
export function portRange(item: string, before: string, example = '80/443/8000-8999'): [number, number] {
  const [low = '', high, more] = item.split('-').map((end) => end.trim());
  const first = parsePort(low);
  const last = high === undefined ? first : parsePort(high);
  if (first === null || last === null || more !== undefined) {
    throw new Error(`"${item}" is neither a port (0 to 65535) nor a range of ports, as in ${before}${example}`);
  }
  if (first > last) throw new Error(`"${item}" is an empty range: write the lower port first, ${before}${last}-${first}`);
  return [first, last];
}
