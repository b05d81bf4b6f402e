import { domainToASCII } from 'node:url';
import type { RuleDefinition } from './definition.js';
import { domainOf, isASCII } from './domain.js';

/** As mihomo has it: `*` is any run of characters, dots included and none too, `?` is exactly one, and the pattern covers the whole name. */
export function domainWildcard(): RuleDefinition {
  return {
    kind: 'DOMAIN-WILDCARD',
    description: 'names of this form: * is any run of characters, ? exactly one, as *.example.com',
    payload: true,
    create(payload) {
      const pattern = wildcardPayload(payload);
      return { match: (session) => matchesWildcard(pattern, domainOf(session)) };
    },
  };
}

function wildcardPayload(payload: string): string {
  if (payload === '') throw new Error('DOMAIN-WILDCARD needs a pattern, as in DOMAIN-WILDCARD,*.example.com');
  const labels = payload.split('.').map((label) => {
    if (isASCII(label)) return label.toLowerCase();
    if (/[*?]/.test(label))
      throw new Error(`"${label}" mixes a wildcard with letters outside ASCII, which names spell in another way: write the label as xn--…`);
    return domainToASCII(label);
  });
  const pattern = labels.join('.').replace(/\*+/g, '*').replace(/\.$/, '');
  if (!/^[a-z0-9._*?-]+$/.test(pattern)) {
    throw new Error(`"${payload}" matches no name: a pattern is made of letters, digits, "-", "_", dots, * and ?, as in DOMAIN-WILDCARD,*.example.com`);
  }
  return pattern;
}

/** On a mismatch only the last star takes one character more: at most pattern times text steps. */
export function matchesWildcard(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    const code = pattern.charCodeAt(p); // NaN behind the end
    if (code === STAR) {
      star = p++;
      resume = t;
    } else if (code === ANY || code === text.charCodeAt(t)) {
      p++;
      t++;
    } else if (star !== -1) {
      p = star + 1;
      t = ++resume;
    } else return false;
  }
  while (pattern.charCodeAt(p) === STAR) p++;
  return p === pattern.length;
}

const STAR = 0x2a;
const ANY = 0x3f;
