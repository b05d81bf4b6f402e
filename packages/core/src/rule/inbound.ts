import type { Session } from '../net/session.js';
import type { RuleDefinition } from './definition.js';
import { listPayload } from './list-payload.js';
import type { Rule } from './rule.js';

export function inName(): RuleDefinition {
  return {
    kind: 'IN-NAME',
    description: "listener's name, as mixed/office",
    payload: true,
    create: (payload) => oneOf(listPayload('IN-NAME', payload, 'mixed'), (session) => session.inbound),
  };
}

export function inUser(): RuleDefinition {
  return {
    kind: 'IN-USER',
    description: 'the name that the client logged in with, as alice/bob',
    payload: true,
    create: (payload) => oneOf(listPayload('IN-USER', payload, 'alice'), (session) => session.user),
  };
}

/** Plugins bring inbounds with words of their own, so any word is taken. */
export function inType(): RuleDefinition {
  return {
    kind: 'IN-TYPE',
    description: 'what the client speaks: HTTP, HTTPS (a CONNECT), SOCKS4, SOCKS5, SOCKS (both), as SOCKS/HTTP',
    payload: true,
    create(payload) {
      const types = listPayload('IN-TYPE', payload, 'SOCKS/HTTP').flatMap((item) => {
        if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(item)) throw new Error(`"${item}" is no inbound type: write one word or several, as in IN-TYPE,SOCKS/HTTP`);
        const type = item.toUpperCase();
        return type === 'SOCKS' ? ['SOCKS', 'SOCKS4', 'SOCKS5'] : [type];
      });
      return oneOf(types, (session) => session.inboundType.toUpperCase());
    },
  };
}

function oneOf(values: readonly string[], read: (session: Session) => string | undefined): Rule {
  const wanted = new Set<string | undefined>(values);
  return { match: (session) => wanted.has(read(session)) };
}
