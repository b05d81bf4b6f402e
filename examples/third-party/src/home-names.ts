import type { NameHook, NameHookDefinition } from '@nekit/core';

const SERVFAIL = 2;
const NXDOMAIN = 3;

/**
 * Changes what clients ask the name server and what they hear: `printer.home` is asked for as `printer.lan`, `wpad` is never there, and a failure to find a `.lan` name is "no such
 * name", so that nobody asks again and again.
 */
export function homeNames(): NameHookDefinition {
  return { name: 'home-names', create: (): NameHook => ({ question, answer }) };
}

const question: NonNullable<NameHook['question']> = ({ name }) => {
  if (name === 'wpad' || name.startsWith('wpad.')) return { rcode: NXDOMAIN };
  return name.endsWith('.home') ? { name: `${name.slice(0, -'.home'.length)}.lan` } : null;
};

/** The last four bits of the fourth byte of a message are its RCODE. The message is lent: what is changed is a copy. */
const answer: NonNullable<NameHook['answer']> = ({ name }, message) => {
  if (!name.endsWith('.lan') || ((message[3] ?? 0) & 0xf) !== SERVFAIL) return null;
  const other = Uint8Array.from(message);
  other[3] = ((other[3] ?? 0) & 0xf0) | NXDOMAIN;
  return other;
};
