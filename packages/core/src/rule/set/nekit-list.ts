import type { CompiledSet } from '../rule-set.js';
import type { BuildRule } from './classical-list.js';
import { BELOW, SELF } from './domain-set.js';
import { DomainSetBuilder } from './domain-set-builder.js';
import type { EntrySink } from './lines.js';
import type { ListNotes } from './list-notes.js';
import { type Pace, paced } from './pace.js';
import { DomainPart, type Part, PartSet, RulePart } from './parts.js';

/**
 * NEKit's lists of names: a regular expression on each line, upper and lower case alike. Most of them say no more than "this name" or "what ends
 * so": these go into a set.
 */
export class NekitList implements EntrySink {
  readonly #notes: ListNotes;
  readonly #buildRule: BuildRule;
  readonly #domains = new DomainSetBuilder();
  readonly #rules: Part[] = [];

  constructor(notes: ListNotes, buildRule: BuildRule) {
    this.#notes = notes;
    this.#buildRule = buildRule;
  }

  entry(bytes: Buffer, start: number, end: number, line: number): boolean {
    const text = bytes.toString('utf8', start, end);
    if (!this.#takePlain(text)) {
      try {
        this.#rules.push(new RulePart(this.#buildRule(`DOMAIN-REGEX,${text}`)));
      } catch (error) {
        this.#notes.problem(line, text, error);
        return true;
      }
      this.#notes.single(text.length);
    }
    this.#notes.count('DOMAIN-REGEX');
    return true;
  }

  async build(pace: Pace): Promise<CompiledSet> {
    const domains = this.#domains.entries === 0 ? [] : [new DomainPart(await paced(this.#domains.steps(), pace))];
    return new PartSet(this.#notes.entries, [...domains, ...this.#rules]);
  }

  #takePlain(text: string): boolean {
    const match = PLAIN.exec(text);
    if (match === null) return false;
    const name = Buffer.from((match[2] ?? '').replaceAll('\\.', '.'));
    return this.#domains.addBytes(name, 0, name.length, match[1] === '^' ? SELF : match[1] === '\\.' ? BELOW : SELF | BELOW);
  }
}

/** `^www\.example\.com$`, `\.example\.com$`, `(^|\.)example\.com$`. */
const PLAIN = /^(\^|\\\.|\(\?:\^\|\\\.\)|\(\^\|\\\.\)|\(\\\.\|\^\)|\(\?:\\\.\|\^\))([a-z0-9_-]+(?:\\\.[a-z0-9_-]+)*)\$$/i;
