/** Plain data as YAML that any reader of YAML 1.1 or 1.2 takes for the same. What is not clearly a plain word is quoted as in JSON, which YAML reads too. */

/** Longer entries are written one key a line. */
const LINE = 140;

const PLAIN = /^[A-Za-z][A-Za-z0-9_./@-]*$/;
const ADDRESS = /^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$/;
/** Words that mean something else than themselves, to one reader or another. */
const WORDS: ReadonlySet<string> = new Set(['true', 'false', 'yes', 'no', 'on', 'off', 'y', 'n', 'null']);

/** What JSON leaves as it is and YAML, a terminal or an editor does not: line separators, marks that turn the direction of text, halves of a pair. */
const ESCAPED = /[\u007f-\u009f\u2028\u2029\ufeff\p{Bidi_Control}\p{Cs}]/gu;

/** On one line. */
export function yamlValue(value: unknown): string {
  if (typeof value === 'string') return yamlText(value);
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[${value.map(yamlValue).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  const pairs = Object.entries(value).map(([key, item]) => `${yamlText(key)}: ${yamlValue(item)}`);
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
}

function yamlText(text: string): string {
  if ((PLAIN.test(text) && !WORDS.has(text.toLowerCase())) || ADDRESS.test(text)) return text;
  return JSON.stringify(text).replace(ESCAPED, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A rule, which outside of brackets needs no quotes for its commas. */
const RULE = /^[A-Z][A-Z-]*,[A-Za-z0-9_./@ ,-]*[A-Za-z0-9_./@-]$/;

/** An item of a list, indented by two. */
export function yamlItem(value: unknown): string[] {
  if (typeof value === 'string' && RULE.test(value)) return [`  - ${value}`];
  const line = `  - ${yamlValue(value)}`;
  if (line.length <= LINE || typeof value !== 'object' || value === null || Array.isArray(value)) return [line];
  return Object.entries(value).flatMap(([key, item], index) => {
    const start = `${index === 0 ? '  - ' : '    '}${yamlText(key)}:`;
    return Array.isArray(item) && item.length > 0 ? [start, ...item.map((each) => `      - ${yamlValue(each)}`)] : [`${start} ${yamlValue(item)}`];
  });
}
