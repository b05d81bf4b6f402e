import { NekitError } from '../net/errors.js';
import type { Problem } from './problem.js';
import { formatProblem } from './report.js';

/** A config that cannot be used. Its message is every error of it, one after the other, as a person reads them; no secret is in it. */
export class ConfigError extends NekitError {
  /** Warnings too. */
  readonly problems: readonly Problem[];
  /** Where the first error is. */
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
  readonly path: readonly (string | number)[];

  constructor(problems: readonly Problem[], options?: { readonly cause?: unknown }) {
    const errors = problems.filter((problem) => problem.severity === 'error');
    super('CONFIG', errors.map(formatProblem).join('\n') || 'the config cannot be used', options);
    const first = errors[0];
    this.problems = problems;
    this.file = first?.file ?? null;
    this.line = first?.line ?? null;
    this.column = first?.column ?? null;
    this.path = first?.path ?? [];
  }
}

/** True for a ConfigError of any copy of this package. */
export function isConfigError(error: unknown): error is ConfigError {
  return error instanceof Error && 'code' in error && error.code === 'CONFIG' && 'problems' in error && Array.isArray(error.problems);
}
