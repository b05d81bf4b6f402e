import type { CompiledSet } from '../rule-set.js';
import { DomainSetBuilder } from './domain-set-builder.js';
import { type EntrySink, withoutComment } from './lines.js';
import type { ListNotes } from './list-notes.js';
import { type Pace, paced } from './pace.js';
import { DomainPart, PartSet } from './parts.js';

/** A list of names. */
export class DomainList implements EntrySink {
  readonly #notes: ListNotes;
  readonly #builder = new DomainSetBuilder();

  constructor(notes: ListNotes) {
    this.#notes = notes;
  }

  entry(bytes: Buffer, start: number, stop: number, line: number): boolean {
    if (this.#builder.addBytes(bytes, start, stop)) {
      this.#notes.count(kindOf(bytes[start]));
      return false;
    }
    const text = bytes.toString('utf8', start, withoutComment(bytes, start, stop));
    try {
      this.#builder.add(text);
    } catch (error) {
      this.#notes.problem(line, text, error);
      return true;
    }
    this.#notes.count(text.includes('*') ? WILDCARD : kindOf(bytes[start]));
    return true;
  }

  async build(pace: Pace): Promise<CompiledSet> {
    return new PartSet(this.#notes.entries, [new DomainPart(await paced(this.#builder.steps(), pace))]);
  }
}

const WILDCARD = 'wildcard (*)';

function kindOf(first: number | undefined): string {
  if (first === 0x2b) return 'suffix (+.)';
  if (first === 0x2e) return 'below (.)';
  return first === 0x2a ? WILDCARD : 'exact';
}
