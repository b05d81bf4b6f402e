/** Something wrong with a config, for a person. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  /** Stable, upper-case: `UNKNOWN_KEY`, `DUPLICATE_NAME`, `UNKNOWN_TYPE`, `BAD_VALUE`, `YAML` … */
  readonly code: string;
  /** One sentence that says what to do, where that is known ("did you mean …"). Never holds a secret. */
  readonly message: string;
  /** Keys and indexes from the root: `['proxies', 0, 'port']`. */
  readonly path: readonly (string | number)[];
  /** null for a config that is no file. Lines and columns count from 1. */
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
  /** The offending text, one line, shortened. null for secrets and where there is none. */
  readonly excerpt: string | null;
}
