import type { RuleDefinition } from './definition.js';
import { domainOf } from './domain.js';
import { checkRegexCost } from './regex-cost.js';

/** Characters of a pattern. */
const MAX_PATTERN = 1000;
/** Characters of a name (RFC 1035 section 2.3.4); more is looked at by no pattern. */
const MAX_NAME = 253;

/**
 * A JavaScript regular expression, upper and lower case alike, searched in the lower-case name. Patterns that could take long on a
 * name that was made for it are refused.
 */
export function domainRegex(): RuleDefinition {
  return {
    kind: 'DOMAIN-REGEX',
    description: 'names in which this regular expression is found, as ^ads?[0-9]*\\.',
    payload: true,
    create(payload) {
      const regex = compile(payload);
      return {
        match(session) {
          const name = domainOf(session);
          return name.length <= MAX_NAME && regex.test(name);
        },
      };
    },
  };
}

function compile(payload: string): RegExp {
  if (payload === '') throw new Error('DOMAIN-REGEX needs a regular expression, as in DOMAIN-REGEX,^ads?[0-9]*\\.');
  if (payload.length > MAX_PATTERN)
    throw new Error(`the regular expression has ${payload.length} characters, ${MAX_PATTERN} are allowed: split it into several rules`);
  const source = essential(payload);
  try {
    const regex = new RegExp(source, 'i');
    checkRegexCost(source);
    return regex;
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).replace(/^Invalid regular expression: /, '');
    throw new Error(`the regular expression "${payload}" is not accepted: ${reason}`, { cause: error });
  }
}

/** Without what changes no result but costs time: a leading or trailing `.*` of a search, and `(?i)`, which is always on. */
function essential(pattern: string): string {
  const bare = pattern.replace(/^\(\?i\)/, '').replace(/^\^?(?:\.\*\??)+(?![*+?{])/, '');
  const tail = /(?:\.\*\??)+\$?$/.exec(bare);
  if (tail === null) return bare;
  const head = bare.slice(0, tail.index);
  const escaped = (/\\*$/.exec(head)?.[0].length ?? 0) % 2 === 1; // \.* is a run of dots
  return escaped || head.lastIndexOf('[') > head.lastIndexOf(']') ? bare : head;
}
