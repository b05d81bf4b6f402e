import type { Endpoint } from '../net/endpoint.js';
import type { Session } from '../net/session.js';
import type { Facts, ProcessInfo } from './rule.js';

/**
 * What the file of a MODULE rule exports by default. true: the rule matches; a text: the same, but this proxy or group instead of the rule's;
 * false: no match. Anything else, an error, and a call that takes too long count as no match and are told once.
 */
export type RuleModule = (session: ModuleSession, facts: ModuleFacts) => boolean | string | Promise<boolean | string>;

/** A session as a plain, frozen copy. */
export type ModuleSession = Pick<
  Session,
  'id' | 'network' | 'inbound' | 'inboundType' | 'inboundPort' | 'source' | 'requested' | 'destination' | 'user' | 'sniffed'
>;

/** What has to be looked up: once per session at most, and only if somebody asks. */
export interface ModuleFacts {
  /** The destination's addresses; none if its name does not resolve. */
  addresses(): Promise<readonly string[]>;
  /** The program on this machine that opened the connection, null where nobody can tell. */
  process(): Promise<ProcessInfo | null>;
}

export function copySession(session: Session): ModuleSession {
  const { id, network, inbound, inboundType, inboundPort, source, requested, destination, user, sniffed } = session;
  return frozenSession({
    ...{ id, network, inbound, inboundType, inboundPort, source, requested, destination },
    ...(user === undefined ? {} : { user }),
    ...(sniffed === undefined ? {} : { sniffed }),
  });
}

/** Also behind a thread's door, where a copy is not frozen any more. */
export function frozenSession(session: ModuleSession): ModuleSession {
  const { source, requested, destination } = session;
  return Object.freeze({ ...session, source: frozenEndpoint(source), requested: frozenEndpoint(requested), destination: frozenEndpoint(destination) });
}

function frozenEndpoint({ host, port }: Endpoint): Endpoint {
  return Object.freeze({ host, port });
}

export function moduleFacts(facts: Facts): ModuleFacts {
  return Object.freeze({
    addresses: async () => [...(await facts.addresses())],
    process: async () => {
      const info = await facts.process();
      return info === null ? null : Object.freeze({ ...info });
    },
  });
}

/** What a module said, or that it was nothing of what it may say. */
export type Outcome = boolean | string | { readonly odd: string };

/** The longest name of a proxy that is taken for one. */
const MAX_NAME = 256;

export function outcomeOf(value: unknown): Outcome {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') {
    if (value === '') return { odd: 'an empty text' };
    return value.length <= MAX_NAME ? value : { odd: `a text of ${value.length} characters` };
  }
  if (value === undefined) return { odd: 'nothing' };
  return { odd: value === null ? 'null' : typeof value === 'object' ? 'an object' : `a ${typeof value}` };
}

/** The text of whatever was thrown, on one line and of some length. */
export function reasonOf(error: unknown): string {
  try {
    const text = error instanceof Error ? `${error.name === 'Error' ? '' : `${error.name}: `}${error.message}` : String(error);
    const line = text.replace(/\s+/g, ' ').trim();
    return line.length > MAX_REASON ? `${line.slice(0, MAX_REASON)}…` : line;
  } catch (another) {
    return `an error that has no text (asking for it threw ${typeof another === 'object' ? 'another' : typeof another})`;
  }
}

const MAX_REASON = 300;
