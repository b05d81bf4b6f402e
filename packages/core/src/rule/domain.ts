import { domainToASCII } from 'node:url';
import { addressFamily } from '../net/address.js';
import { normaliseHost } from '../net/endpoint.js';
import type { Session } from '../net/session.js';
import type { RuleDefinition } from './definition.js';

/**
 * The name that domain rules look at: the one that the first bytes showed, or the destination. '' for an address, which is what Clash's
 * rules see then: DOMAIN, DOMAIN-SUFFIX and DOMAIN-KEYWORD never match it, a pattern does if it matches nothing at all (`*`).
 */
export function domainOf(session: Session): string {
  const host = session.sniffed ?? session.destination.host;
  return addressFamily(host) === 0 ? host : '';
}

export function domain(): RuleDefinition {
  return {
    kind: 'DOMAIN',
    description: 'exactly this name, as www.example.com',
    payload: true,
    create(payload) {
      const name = domainPayload(payload, payload, 'DOMAIN', 'www.example.com');
      return { match: (session) => (session.sniffed ?? session.destination.host) === name, index: { family: 'domain', name, self: true, below: false } };
    },
  };
}

/**
 * `example.com` and `+.example.com` are the name and all names below it; `.example.com` and `*.example.com` only those below. A suffix
 * begins at a dot: notexample.com does not end in example.com.
 */
export function domainSuffix(): RuleDefinition {
  return {
    kind: 'DOMAIN-SUFFIX',
    description: 'this name and all names below it, as example.com',
    payload: true,
    create(payload) {
      const mark = /^(?:\+\.|\*\.|\.)/.exec(payload)?.[0] ?? '';
      const suffix = domainPayload(payload.slice(mark.length), payload, 'DOMAIN-SUFFIX', 'example.com');
      const orSelf = mark === '' || mark === '+.';
      return {
        match: (session) => endsIn(session.sniffed ?? session.destination.host, suffix, orSelf),
        index: { family: 'domain', name: suffix, self: orSelf, below: true },
      };
    },
  };
}

/** An IPv4 address ends in no suffix, which has letters in its last label; an IPv6 one may seem to: a zone is any text (`fd00::1%a.example.com`). */
function endsIn(host: string, suffix: string, orEqual: boolean): boolean {
  const rest = host.length - suffix.length;
  return (rest > 0 ? host.charCodeAt(rest - 1) === 0x2e : orEqual && rest === 0) && host.endsWith(suffix) && !host.includes(':');
}

export function domainKeyword(): RuleDefinition {
  return {
    kind: 'DOMAIN-KEYWORD',
    description: 'names that hold this text, as google',
    payload: true,
    create(payload) {
      // Part of a name cannot be turned into IDNA's spelling; a text that is a whole label can.
      const keyword = isASCII(payload) ? payload.toLowerCase() : domainToASCII(payload);
      if (payload === '') throw new Error('DOMAIN-KEYWORD needs a text, as in DOMAIN-KEYWORD,google');
      if (/[*?]/.test(payload)) throw new Error(`DOMAIN-KEYWORD takes plain text, and "${payload}" is a pattern: use DOMAIN-WILDCARD,*${payload}*`);
      if (!/^[a-z0-9._-]+$/.test(keyword)) {
        throw new Error(`"${payload}" is in no name: names are made of letters, digits, "-", "_" and dots, as in DOMAIN-KEYWORD,google`);
      }
      return { match: (session) => domainOf(session).includes(keyword) };
    },
  };
}

/** A whole name in canonical form, or an Error. `shown` is what the person wrote. */
function domainPayload(text: string, shown: string, kind: string, example: string): string {
  if (text === '') throw new Error(`${kind} needs a name, as in ${kind},${example}`);
  if (/[*?+]/.test(text)) throw new Error(`${kind} takes a plain name, and "${shown}" is a pattern: use DOMAIN-WILDCARD`);
  const host = normaliseHost(text);
  if (host === null) throw new Error(`"${shown}" is not a domain name, as ${example} is`);
  if (addressFamily(host) !== 0) throw new Error(`"${shown}" is an address, which ${kind} never matches: use IP-CIDR,${host}/${host.includes(':') ? 128 : 32}`);
  return host;
}

export function isASCII(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
