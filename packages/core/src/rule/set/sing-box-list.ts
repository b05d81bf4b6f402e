import type { CompiledSet } from '../rule-set.js';
import type { BuildRule } from './classical-list.js';
import { randomSeed } from './domain-set-builder.js';
import { JsonReader } from './json-reader.js';
import { byteOrderMark } from './lines.js';
import { type ListNotes, MAX_LINE } from './list-notes.js';
import type { Pace } from './pace.js';
import { type Part, PartSet } from './parts.js';
import { Destinations, NUMBER_FIELDS, type NumberField, RuleDraft, SET_FIELDS, TEXT_FIELDS, type TextField } from './sing-box-rule.js';

/** Versions of the format. */
const FIRST_VERSION = 1;
const LAST_VERSION = 4;
/** Rules within rules within rules … */
const MAX_DEPTH = 16;

/** A rule-set of sing-box in its source format (JSON). Rejects if it is none; a rule that is not understood is a problem. */
export async function readSingBox(bytes: Buffer, notes: ListNotes, buildRule: BuildRule, pace: Pace): Promise<CompiledSet> {
  return new SingBoxReader(bytes, notes, buildRule, pace).read();
}

class SingBoxReader {
  readonly #bytes: Buffer;
  readonly #json: JsonReader;
  readonly #notes: ListNotes;
  readonly #buildRule: BuildRule;
  readonly #pace: Pace;
  readonly #seed = randomSeed();
  /** Of all rules that ask for nothing else. */
  readonly #plain = new Destinations(this.#seed);
  readonly #quick: Part[] = [];
  readonly #slow: Part[] = [];
  #version: number | boolean | null = null;

  constructor(bytes: Buffer, notes: ListNotes, buildRule: BuildRule, pace: Pace) {
    this.#bytes = bytes;
    this.#json = new JsonReader(bytes, byteOrderMark(bytes));
    this.#notes = notes;
    this.#buildRule = buildRule;
    this.#pace = pace;
  }

  async read(): Promise<CompiledSet> {
    const json = this.#json;
    await this.#object(async (key) => {
      if (key === 'version' && json.kind === 'other') this.#version = json.scalar();
      else if (key === 'rules' && json.kind === 'array') await this.#array((index) => this.#topRule(index));
      else {
        this.#problem(json.position, key, new Error(`"${key}" is not known here: a rule-set has "version" and "rules"`));
        await this.#skip(0);
      }
    });
    if (!json.ended) throw json.wrong('something stands behind the end of the rule-set');
    const version = this.#version;
    if (typeof version !== 'number' || version < FIRST_VERSION || version > LAST_VERSION)
      throw new Error(`the rule-set has ${version === null ? 'no version' : `version ${version}`}: versions ${FIRST_VERSION} to ${LAST_VERSION} are known`);
    const parts = [...(await this.#plain.names(this.#pace)), ...this.#quick, ...(await this.#plain.addresses(this.#pace)), ...this.#slow];
    return new PartSet(this.#notes.entries, parts);
  }

  async #topRule(index: number): Promise<void> {
    const begin = this.#json.position;
    const draft = await this.#rule(0);
    const careful = draft.inverts && draft.failures > 0 ? 'an entry of it was not understood, and without that the inverted rule would hold for more' : null;
    const refusal = draft.refusal ?? careful;
    if (refusal !== null) return this.#problem(begin, `rules[${index}]`, new Error(`the rule is left out: ${refusal}`));
    for (const counts of [draft.counts, draft.inner]) for (const [field, count] of counts) this.#notes.count(field, count);
    if (draft.isPlain) return this.#plain.append(draft.destinations);
    this.#notes.single(0);
    (draft.slow ? this.#slow : this.#quick).push(await draft.build(this.#pace));
  }

  async #rule(depth: number): Promise<RuleDraft> {
    if (depth > MAX_DEPTH) throw this.#json.wrong(`rules are nested more than ${MAX_DEPTH} deep`);
    const draft = new RuleDraft(this.#seed, this.#buildRule);
    await this.#object((key) => this.#field(draft, key, depth));
    return draft;
  }

  async #field(draft: RuleDraft, key: string, depth: number): Promise<void> {
    const json = this.#json;
    if (isOneOf(TEXT_FIELDS, key)) return this.#values(() => this.#text(draft, key));
    if (isOneOf(NUMBER_FIELDS, key)) return this.#values(() => this.#number(draft, key));
    if ((key === 'type' || key === 'mode') && json.kind === 'string') {
      draft[key] = json.string();
    } else if (key === 'invert' && json.kind === 'other') {
      draft.invert = json.scalar() === true;
      draft.inverts ||= draft.invert;
    } else if (key === 'rules' && json.kind === 'array') {
      draft.subRules ??= [];
      await this.#array(() => this.#subRule(draft, depth + 1));
    } else {
      draft.broken ??= `"${key.slice(0, 40)}" is not known`;
      await this.#skip(0);
    }
  }

  async #subRule(parent: RuleDraft, depth: number): Promise<void> {
    this.#notes.single(0);
    const draft = await this.#rule(depth);
    const { refusal } = draft;
    parent.failures += draft.failures;
    parent.inverts ||= draft.inverts;
    parent.slow ||= draft.slow;
    if (refusal !== null) {
      parent.broken ??= `of a rule in it: ${refusal}`;
      return;
    }
    for (const counts of [draft.counts, draft.inner]) for (const [field, count] of counts) parent.inner.set(field, (parent.inner.get(field) ?? 0) + count);
    parent.subRules?.push(await draft.build(this.#pace));
  }

  #text(draft: RuleDraft, field: TextField): Promise<void> | void {
    const json = this.#json;
    const begin = json.position;
    const span = json.span();
    if (span === null && json.kind !== 'string') return this.#wrongType(draft, field, 'a text');
    const bytes = span === null ? Buffer.from(json.string()) : this.#bytes;
    const { start, end } = span ?? { start: 0, end: bytes.length };
    if (!isOneOf(SET_FIELDS, field)) this.#notes.single(Math.min(end - start, MAX_LINE));
    try {
      if (end - start > MAX_LINE) draft.fail(field, `the entry has ${end - start} bytes, and ${MAX_LINE} are allowed`);
      draft.takeText(field, bytes, start, end);
    } catch (error) {
      this.#problem(begin, bytes.toString('utf8', start, Math.min(end, start + MAX_LINE)), error);
    }
  }

  #number(draft: RuleDraft, field: NumberField): Promise<void> | void {
    const json = this.#json;
    if (json.kind !== 'other') return this.#wrongType(draft, field, 'a number');
    const begin = json.position;
    const value = json.scalar();
    this.#notes.single(0);
    try {
      if (value !== null) draft.takeNumber(field, value);
    } catch (error) {
      this.#problem(begin, String(value), error);
    }
  }

  /** null is nothing. */
  async #wrongType(draft: RuleDraft, field: TextField | NumberField, wanted: string): Promise<void> {
    const begin = this.#json.position;
    if (this.#json.kind !== 'other') await this.#skip(0);
    else if (this.#json.scalar() === null) return;
    try {
      draft.fail(field, `${field}: ${wanted} should stand here`);
    } catch (error) {
      this.#problem(begin, field, error);
    }
  }

  #problem(position: number, text: string, error: unknown): void {
    this.#notes.problem(this.#notes.full ? null : this.#json.lineAt(position), text, error);
  }

  /** Any value. */
  async #skip(depth: number): Promise<void> {
    const json = this.#json;
    if (depth > MAX_DEPTH) throw json.wrong(`values are nested more than ${MAX_DEPTH} deep`);
    if (json.kind === 'object') await this.#object(() => this.#skip(depth + 1));
    else if (json.kind === 'array') await this.#array(() => this.#skip(depth + 1));
    else if (json.kind === 'string') json.string();
    else json.scalar();
  }

  /** A value, or an array of them. */
  async #values(take: () => Promise<void> | void): Promise<void> {
    if (this.#json.kind === 'array') await this.#array(take);
    else await take();
  }

  async #object(take: (key: string) => Promise<void>): Promise<void> {
    const json = this.#json;
    json.open('object');
    for (let first = true; json.more('object', first); first = false) {
      await take(json.key());
      if (this.#pace.due()) await this.#pace.rest();
    }
  }

  async #array(take: (index: number) => Promise<void> | void): Promise<void> {
    const json = this.#json;
    json.open('array');
    for (let index = 0; json.more('array', index === 0); index++) {
      const taken = take(index);
      if (taken !== undefined) await taken;
      if (this.#pace.due()) await this.#pace.rest();
    }
  }
}

function isOneOf<T extends string>(words: readonly T[], word: string): word is T {
  return (words as readonly string[]).includes(word);
}
