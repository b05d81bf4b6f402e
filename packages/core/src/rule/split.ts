/** Cutting rule text into its parts: commas and balanced parentheses. */

/** Index behind the parenthesis that closes the one at `from`, or -1. A backslash takes the next character out of the count. */
export function closingParenthesis(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    const c = text[i];
    if (c === '\\') i++;
    else if (c === '(') depth++;
    else if (c === ')' && --depth === 0) return i + 1;
  }
  return -1;
}

/** The texts in `((…),(…))`, for a logic rule. Spaces around commas and parentheses do not matter. Throws a plain Error. */
export function splitGroups(kind: string, payload: string): string[] {
  const example = kind === 'NOT' ? 'NOT,((NETWORK,UDP)),target' : `${kind},((DOMAIN,a.example),(NETWORK,UDP)),target`;
  const text = payload.trim();
  const wrong = (what: string): Error => new Error(`${kind}: ${what}, as in ${example}`);
  if (!text.startsWith('(')) throw wrong('its rules stand in parentheses');
  const end = closingParenthesis(text, 0);
  if (end === -1) throw wrong('a closing parenthesis is missing');
  if (end !== text.length) throw wrong(`"${text.slice(end)}" stands behind the closing parenthesis`);
  const groups: string[] = [];
  let at = skipSpaces(text, 1);
  if (at === end - 1) throw wrong('it has no rules in it');
  for (;;) {
    if (text[at] !== '(') throw wrong('each of its rules stands in parentheses of its own');
    const close = closingParenthesis(text, at);
    groups.push(text.slice(at + 1, close - 1).trim());
    at = skipSpaces(text, close);
    if (at === end - 1) return groups;
    if (text[at] !== ',') throw wrong('a comma stands between its rules');
    at = skipSpaces(text, at + 1);
  }
}

function skipSpaces(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t') at++;
  return at;
}
