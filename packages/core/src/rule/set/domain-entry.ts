import { addressFamily } from '../../net/address.js';
import { normaliseHost } from '../../net/endpoint.js';
import { BELOW, ONE_BELOW, SELF } from './domain-set.js';

/** An entry of a list of names, as `DomainSetBuilder` stores it. */
export interface DomainEntry {
  /** Canonical; whole labels may be `*`. */
  readonly name: string;
  readonly flags: number;
}

/** Stands for a star while the name is brought into canonical form. */
const PLACEHOLDER = 'x';
/** The dots of other scripts, which IDNA takes for dots (UTS 46). */
const DOTS = /[\u3002\uff0e\uff61]/g;

/**
 * Clash's forms: `example.com` is that name, `+.example.com` it and all below, `.example.com` all below, and a label `*` stands for exactly one label,
 * wherever it is. Throws a plain Error that says what is wrong.
 */
export function parseDomainEntry(text: string): DomainEntry {
  const mark = text.startsWith('+.') ? '+.' : text.startsWith('.') ? '.' : '';
  const rest = text.slice(mark.length);
  if (rest === '') throw new Error(`"${text}" has no name in it: write example.com, +.example.com, .example.com or *.example.com`);
  const flags = mark === '+.' ? SELF | BELOW : mark === '.' ? BELOW : SELF;
  return rest.includes('*') ? withStars(text, rest, flags) : { name: plainName(text, rest), flags };
}

/** What to say of an entry that is none, as Clash's "Mijia Cloud": a list that chooses among names can do without it. null: it is one. */
export function whyNoEntry(text: string): string | null {
  try {
    parseDomainEntry(text);
    return null;
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}. It matches nothing and is left out`;
  }
}

/** `rest` in canonical form. `text` is what the person wrote. Throws a plain Error. */
export function plainName(text: string, rest: string): string {
  const name = normaliseHost(rest);
  if (name === null) throw new Error(`"${text}" is not a domain name${hint(text)}`);
  if (addressFamily(name) !== 0) throw new Error(`"${text}" is an address, and names stand here`);
  return name;
}

function hint(text: string): string {
  if (/^[a-z0-9-]+,/i.test(text)) return ': it looks like a rule, which is for lists with behavior classical';
  if (text.includes('/')) return ': neither networks nor URLs stand in a list of names (behavior domain)';
  if (text.includes('+')) return ': a "+" stands in front only, as in +.example.com';
  return /\s/.test(text) ? ': one name stands on each line' : '';
}

function withStars(text: string, rest: string, flags: number): DomainEntry {
  const labels = rest.replace(DOTS, '.').replace(/\.$/, '').split('.');
  if (labels.some((label) => label !== '*' && label.includes('*')))
    throw new Error(
      `"${text}" has a "*" beside other characters: in a list of names it stands for a whole label, as in *.example.com (or use DOMAIN-WILDCARD)`,
    );
  const plain = labels.map((label) => (label === '*' ? PLACEHOLDER : label)).join('.');
  const name = plainName(text, plain).split('.');
  // An escape of IDNA's could hide a dot; nobody writes that.
  if (name.length !== labels.length) throw new Error(`"${text}" is not a domain name`);
  return leadingStar(
    name.map((label, i) => (labels[i] === '*' ? '*' : label)),
    flags,
  );
}

/** What leads with a star is said of the name behind it, where a plain probe finds it: `*.x` is one label below x, `+.*.x` all that is below x. */
function leadingStar(labels: readonly string[], flags: number): DomainEntry {
  const behind = labels.slice(1).join('.');
  if (labels[0] !== '*' || behind === '' || flags === BELOW) return { name: labels.join('.'), flags };
  return { name: behind, flags: flags === SELF ? ONE_BELOW : BELOW };
}
