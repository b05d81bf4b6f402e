/** A config in the making: what was understood, and what was not, with the place that it came from. */
import { clean } from '@nekit/core';

/** A line, or words for a place in what has no lines ("server 3"); null: the whole. */
export type Place = number | string | null;

export interface Note {
  readonly place: Place;
  readonly message: string;
}

export interface DraftEntry {
  readonly place: Place;
  readonly entry: Readonly<Record<string, unknown>> & { readonly name: string };
  /** What the reader of the config should know. */
  readonly comment: string | null;
}

export interface DraftGroup {
  readonly place: Place;
  readonly name: string;
  readonly type: string;
  /** `delay`: of a race, in ms. */
  readonly members: readonly { readonly name: string; readonly delay?: number }[];
}

export interface DraftRule {
  readonly place: Place;
  readonly kind: string;
  readonly value: string | null;
  readonly to: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly comment: string | null;
}

export interface DraftProvider {
  readonly place: Place;
  readonly name: string;
  readonly entry: Readonly<Record<string, unknown>>;
}

/** Names that a config cannot give away: adapters that are there without being named. */
const TAKEN = ['DIRECT', 'REJECT', 'REJECT-DROP', 'PASS', 'COMPATIBLE', 'GLOBAL'];

/** Of a name, in characters; the config takes 256. */
const MAX_NAME = 200;

/** What a name swallows where the end of a line is missing: the next link, which may hold a password, and names are shown. */
const LINK = /(?<![a-z0-9+.-])[a-z0-9+.-]+:\/.*$/isu;

/** Without blanks and bars at its end. */
export function withoutTail(text: string): string {
  let end = text.length;
  while (end > 0 && /[\s|]/u.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

export function holdsLink(name: string): boolean {
  return LINK.test(name);
}

export class Draft {
  plugins: string[] = [];
  ports: Readonly<Record<string, number>> = {};
  proxies: DraftEntry[] = [];
  groups: DraftGroup[] = [];
  providers: DraftProvider[] = [];
  rules: DraftRule[] = [];
  readonly notes: Note[] = [];
  /** How often each was wanted. */
  readonly #names = new Map<string, number>(TAKEN.map((name) => [name, 1]));

  note(place: Place, message: string): void {
    this.notes.push({ place, message });
  }

  /** The name, or one like it that nothing else has: "home-2". */
  claim(wanted: string): string {
    const words = withoutTail(wanted.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}]+/gu, ' ').replace(LINK, '')).trim();
    const shortened = words
      .slice(0, MAX_NAME)
      .replace(/\p{Cs}$/u, '')
      .trim();
    const name = shortened === '' ? 'proxy' : shortened;
    let count = (this.#names.get(name) ?? 0) + 1;
    while (count > 1 && this.#names.has(`${name}-${count}`)) count++;
    this.#names.set(name, count);
    if (count === 1) return name;
    this.#names.set(`${name}-${count}`, 1);
    return `${name}-${count}`;
  }

  /** These cannot stay. What led there leads to REJECT: it must not go out directly for want of a proxy. */
  drop(entries: readonly { readonly name: string; readonly place: Place; readonly message: string }[]): void {
    const gone = new Set(entries.map(({ name }) => name));
    for (const { place, message } of entries) this.note(place, message);
    this.proxies = this.proxies.filter(({ entry }) => !gone.has(entry.name));
    this.groups = this.groups
      .filter(({ name }) => !gone.has(name))
      .map((group) => ({ ...group, members: group.members.filter(({ name }) => !gone.has(name)) }));
    this.rules = this.rules.map((rule) => (gone.has(rule.to) ? this.toReject(rule, rule.to) : rule));
    const empty = this.groups.filter(({ members }) => members.length === 0);
    if (empty.length > 0) this.drop(empty.map(({ name, place }) => ({ name, place, message: `none of the members of "${name}" is left` })));
  }

  /** A rule to something that could not be taken over. */
  toReject(rule: DraftRule, name: string): DraftRule {
    if (rule.place !== null) this.note(rule.place, `the rule leads to REJECT, because "${name}" could not be taken over`);
    return { ...rule, to: 'REJECT', comment: `led to "${name}", which could not be taken over: REJECT until you choose another` };
  }
}

/** Notes of one message as one: `lines 3, 7-9: …`. Those on the whole first, then line by line. */
export function notedLines(notes: readonly Note[]): { readonly place: string; readonly message: string }[] {
  const places = new Map<string, Place[]>();
  for (const { place, message } of notes) {
    const known = places.get(message);
    if (known === undefined) places.set(message, [place]);
    else known.push(place);
  }
  const first = (all: readonly Place[]): number => all.reduce<number>((least, place) => Math.min(least, typeof place === 'number' ? place : 0), Infinity);
  const sorted = [...places].sort(([, one], [, other]) => first(one) - first(other));
  return sorted.map(([message, all]) => ({ place: placeText(all), message: clean(message) }));
}

/** Of many places, so many are named. */
const NAMED = 50;

function placeText(places: readonly Place[]): string {
  const numbers = places.filter((place) => typeof place === 'number').sort((a, b) => a - b);
  const ranges: [first: number, last: number][] = [];
  for (const line of numbers) {
    const range = ranges.at(-1);
    if (range !== undefined && line <= range[1] + 1) range[1] = line;
    else ranges.push([line, line]);
  }
  const lines = shortened(ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)));
  const words = shortened(places.filter((place) => typeof place === 'string'));
  const single = ranges.length === 1 && ranges[0]?.[0] === ranges[0]?.[1];
  return [...(lines === '' ? [] : [`${single ? 'line' : 'lines'} ${lines}`]), ...(words === '' ? [] : [words])].join(', ');
}

function shortened(texts: readonly string[]): string {
  return texts.length <= NAMED ? texts.join(', ') : `${texts.slice(0, NAMED).join(', ')} … and ${texts.length - NAMED} more`;
}
