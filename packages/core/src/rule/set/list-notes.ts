/** What is noted down while a list is read. */

/** An entry that could not be understood and was left out. */
export interface ListProblem {
  /** From 1; null where the format has no lines of its own. */
  readonly line: number | null;
  /** The entry, shortened. */
  readonly text: string;
  readonly message: string;
}

/** Problems that are kept; the rest is counted. */
const MAX_PROBLEMS = 100;
/** Characters of an entry that are shown. */
const MAX_SHOWN = 120;
/** Entries of one list. */
const MAX_ENTRIES = 20_000_000;
/** Entries that are objects of their own, some hundred bytes each, and asked one by one; and the characters of all of them, for one may hold hundreds of others. */
const MAX_SINGLES = 100_000;
const MAX_SINGLE_CHARACTERS = 4 * 1024 * 1024;
/** Bytes of an entry: rules with regular expressions may be long, names are not. */
export const MAX_LINE = 4096;

export class ListNotes {
  readonly problems: ListProblem[] = [];
  problemCount = 0;
  entries = 0;
  readonly kinds = new Map<string, number>();
  #singles = 0;
  #singleCharacters = 0;

  /** Throws when there are too many. */
  count(kind: string, entries = 1): void {
    this.entries += entries;
    if (this.entries > MAX_ENTRIES) throw new Error(`the list has more than ${MAX_ENTRIES / 1e6} million entries`);
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + entries);
  }

  /** An entry that goes into no set, of so many characters. Throws when there are too many, or too long ones. */
  single(characters: number): void {
    if (++this.#singles > MAX_SINGLES) throw new Error(`the list has more than ${MAX_SINGLES} entries that are neither names nor networks`);
    this.#singleCharacters += characters;
    if (this.#singleCharacters > MAX_SINGLE_CHARACTERS)
      throw new Error(`the entries of the list that are neither names nor networks have more than ${MAX_SINGLE_CHARACTERS / 2 ** 20} Mi characters`);
  }

  /** No more problems are kept, so nobody need find out where they are. */
  get full(): boolean {
    return this.problems.length >= MAX_PROBLEMS;
  }

  problem(line: number | null, text: string, error: unknown): void {
    this.problemCount++;
    if (this.full) return;
    this.problems.push({ line, text: shown(text), message: error instanceof Error ? error.message : String(error) });
  }
}

export function shown(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
