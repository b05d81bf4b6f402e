/**
 * `filter` and `exclude-filter` of a group: regular expressions over the names of proxies, joined by back-ticks, of which one has to be found.
 *
 * Names hold any script and emoji, so they are matched by code points, and upper and lower case differ (mihomo), unless an expression begins with (?i).
 * Files come from strangers, and what makes an expression slow cannot be seen with look-arounds and all of Unicode in it. So it is tried: in a
 * context of its own, because only there Node stops a match that takes too long.
 */
import { runInNewContext } from 'node:vm';

/** Characters of a filter. */
const MAX_FILTER = 4_000;
/** For all names together, in ms. Honest expressions take about one for 500 names. */
const TIME = 500;

/** The `names` in which one of the expressions is found. Throws a plain Error for a filter that is none, or takes too long. */
export function findNames(filter: string, names: readonly string[]): ReadonlySet<string> {
  if (filter.length > MAX_FILTER) throw new Error(`${filter.length} characters are too many, ${MAX_FILTER} are allowed`);
  const patterns = filter.split('`').map(compile);
  try {
    const found: unknown = runInNewContext('names.filter((name) => patterns.some((pattern) => pattern.test(name)))', { names, patterns }, { timeout: TIME });
    return new Set(Array.isArray(found) ? found.map(String) : []);
  } catch (error) {
    throw new Error(`it takes longer than ${TIME} ms for ${names.length} names: write it without loops in loops, as (a+)+`, { cause: error });
  }
}

function compile(pattern: string): RegExp {
  const [opening = '', letters = ''] = /^\(\?([ims]+)\)/.exec(pattern) ?? [];
  const source = pattern.slice(opening.length);
  const flags = [...new Set(letters)].join('');
  try {
    return new RegExp(source, `${flags}u`);
  } catch (strict) {
    try {
      return new RegExp(source, flags); // with escapes that Unicode mode refuses, as \-
    } catch {
      const reason = strict instanceof Error ? strict.message.replace(/^Invalid regular expression: \/.*\/[a-z]*: /s, '') : String(strict);
      const advice = /\(\?[a-z]+\)/.test(source) ? '; flags as (?i) may stand at the beginning only' : '';
      throw new Error(`"${pattern}" is no regular expression: ${reason}${advice}`, { cause: strict });
    }
  }
}
