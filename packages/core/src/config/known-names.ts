/** Names that a config may refer to, and what was meant by one that is none of them. */
import { closest } from '../net/closest.js';
import { didYouMean } from './problem-list.js';

/** So many slips are somebody's; with more the file belongs to other names, and each guess costs a look at all of them. */
const MAX_GUESSES = 200;

export class KnownNames {
  readonly all: ReadonlySet<string>;
  /** What was said of each unknown name: thousands of rules may lead to the same. */
  readonly #guesses = new Map<string, string>();

  constructor(names: Iterable<string>) {
    this.all = new Set(names);
  }

  has(name: string): boolean {
    return this.all.has(name);
  }

  /** As `didYouMean` has it. */
  guess(name: string): string {
    const known = this.#guesses.get(name);
    if (known !== undefined) return known;
    if (this.#guesses.size >= MAX_GUESSES) return '';
    const guess = didYouMean(closest(name, this.all));
    this.#guesses.set(name, guess);
    return guess;
  }
}
