import type { Problem } from './problem.js';
import { formatPath } from './report.js';
import { isSecretPath, Scrubber } from './secrets.js';
import type { ConfigSource, Path } from './source.js';

/** Collects what a check finds, with the place of each, and keeps secrets out of it. */
export class ProblemList {
  readonly #source: ConfigSource;
  readonly strict: boolean;
  readonly #problems: Problem[] = [];
  /** Made when first needed: most configs have no problem. */
  #scrubber: Scrubber | null = null;

  /** `strict`: warnings are errors. */
  constructor(source: ConfigSource, strict: boolean) {
    this.#source = source;
    this.strict = strict;
  }

  get all(): readonly Problem[] {
    return this.#problems;
  }

  get failed(): boolean {
    return this.#problems.some((problem) => problem.severity === 'error');
  }

  /** `part`: whether the key or the value is to be pointed at. */
  error(code: string, message: string, path: Path, part: 'key' | 'value' = 'value'): void {
    this.#add('error', code, message, path, part);
  }

  warning(code: string, message: string, path: Path, part: 'key' | 'value' = 'value'): void {
    this.#add(this.strict ? 'error' : 'warning', code, message, path, part);
  }

  /** `config.yaml:12:5`; `proxies[3]` where there are no lines. */
  where(path: Path): string {
    const at = this.#source.locate(path);
    return at === null ? formatPath(path) : `${at.file}:${at.line}:${at.column}`;
  }

  #add(severity: Problem['severity'], code: string, message: string, path: Path, part: 'key' | 'value'): void {
    this.#scrubber ??= new Scrubber(this.#source.value);
    const at = this.#source.locate(path, part);
    const excerpt = at === null || at.excerpt === null || isSecretPath(path) ? null : this.#scrubber.scrub(at.excerpt);
    this.#problems.push({
      severity,
      code,
      message: this.#scrubber.scrub(message),
      path,
      file: at?.file ?? null,
      line: at?.line ?? null,
      column: at?.column ?? null,
      excerpt,
    });
  }
}

/** ` Did you mean "port"?`, or nothing. */
export function didYouMean(guess: string | null): string {
  return guess === null ? '' : ` Did you mean ${JSON.stringify(guess)}?`;
}

/** For messages that list what is known. */
export function list(words: Iterable<string>): string {
  return [...words].join(', ');
}

/** An unknown key for a message: a plain word, or its beginning. Where a colon was forgotten, the "key" is half the line with the secret in it. */
export function quoteKey(key: string): string {
  const word = /^[\p{L}\p{N}_.$-]{0,64}/u.exec(key)?.[0] ?? '';
  return word === key ? `"${key}"` : `"${word}…"`;
}
