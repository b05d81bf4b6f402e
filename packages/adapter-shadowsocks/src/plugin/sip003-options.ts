/**
 * Options of plugins as one line of text. Read first: SIP003 (SS_PLUGIN_OPTIONS), SIP002 (`plugin` of a link), and for the rules of escaping
 * Tor's pt-spec, where both have them from.
 *
 *   name;key=value;flag;key=a\;b\=c\\d        name and options of a link
 *        key=value;flag                       SS_PLUGIN_OPTIONS, and `plugin-opts` as a text
 *
 * A backslash takes what follows as it is. The first plain "=" ends the key; later ones belong to the value, as all plugins have it.
 */
import { asTheUserWrote } from './printable.js';

/** Longer than any plugin's options, and short enough to be told apart from an attack, in characters. */
export const MAX_OPTIONS = 64 * 1024;

/** `true`: a flag, which has no value. */
export type Sip003Options = ReadonlyMap<string, string | true>;

/** Plugins that are built in, by the names that Clash has for them. */
export type BuiltInPlugin = 'obfs' | 'v2ray-plugin';

/** What they are called elsewhere: programs of these names are not started unless the user says so. */
const BUILT_IN: ReadonlyMap<string, BuiltInPlugin> = new Map<string, BuiltInPlugin>([
  ['obfs', 'obfs'],
  ['obfs-local', 'obfs'],
  ['simple-obfs', 'obfs'],
  ['v2ray-plugin', 'v2ray-plugin'],
]);

/** null: it is not built in. */
export function builtInPlugin(name: string): BuiltInPlugin | null {
  return BUILT_IN.get(name) ?? null;
}

/** `name;options` of a link, apart; options is '' when there are none. */
export function splitPlugin(text: string): { readonly name: string; readonly options: string } {
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === ';') return { name: plainWord(text.slice(0, at)), options: text.slice(at + 1) };
  }
  return { name: plainWord(text), options: '' };
}

/** Throws a plain Error for text that is none; it does not repeat values, which may be secret. */
export function parseOptions(text: string): Sip003Options {
  if (text.length > MAX_OPTIONS) throw new Error(`plugin options must not be longer than ${MAX_OPTIONS} characters`);
  const options = new Map<string, string | true>();
  let key: string | null = null;
  let word = '';
  const add = (): void => {
    const name = key ?? word;
    if (name === '' && key === null) return; // ";;" and a last ";" are common
    if (name === '') throw new Error('a plugin option has no name in front of its "="');
    if (options.has(name)) throw new Error(`the plugin option "${asTheUserWrote(name)}" is there twice`);
    options.set(name, key === null ? true : word);
    key = null;
    word = '';
  };
  for (let at = 0; at < text.length; at++) {
    const letter = text.charAt(at);
    if (letter === '\\') {
      if (++at === text.length) throw new Error('plugin options end in a backslash that escapes nothing');
      word += text.charAt(at);
    } else if (letter === ';') {
      add();
    } else if (letter === '=' && key === null) {
      key = word;
      word = '';
    } else {
      word += letter;
    }
  }
  add();
  return options;
}

/** The reverse of `parseOptions`. */
export function formatOptions(options: Sip003Options): string {
  return [...options].map(([key, value]) => (value === true ? escapeWord(key) : `${escapeWord(key)}=${escapeWord(value)}`)).join(';');
}

/** A key or a value as it stands in the text. */
export function escapeWord(text: string): string {
  return text.replace(/[\\;=]/g, '\\$&');
}

function plainWord(text: string): string {
  return text.replace(/\\(.?)/gs, '$1');
}
