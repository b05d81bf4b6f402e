/** What the regular expressions of one list may cost together, for each name: in steps of some 2 ns, 0.13 s. A thousand ordinary ones cost less. */
const LIST_UNITS = 64_000_000;
/** A pattern that is refused has been compiled all the same, which takes up to some milliseconds. */
const REFUSED_UNITS = 128 * 1024;

/**
 * Each regular expression is quick, but a list may hold thousands of them, and a client's name is compared with all. Once the budget is overdrawn no
 * more are compiled.
 */
export class PatternBudget {
  #left: number;

  /** Of a config, whose author has to live with what is in it: without end. */
  constructor(units = Number.POSITIVE_INFINITY) {
    this.#left = units;
  }

  static ofList(): PatternBudget {
    return new PatternBudget(LIST_UNITS);
  }

  /** Throws a plain Error once more was spent than there was. */
  check(): void {
    if (this.#left < 0) throw new Error('the regular expressions of the list would take too long together: this one and those behind it are left out');
  }

  spend(units: number): void {
    this.#left -= units;
  }

  spendOnRefused(): void {
    this.spend(REFUSED_UNITS);
  }
}
