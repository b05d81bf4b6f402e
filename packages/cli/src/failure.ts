/** What a person is told when it did not work: lines, not stack traces. Imports nothing, so that a wrong option is told at once. */

/** The command line is wrong. */
export class UsageError extends Error {}

export interface Failure {
  readonly lines: readonly string[];
  readonly exitCode: 1 | 2;
}

/** `NEKIT_DEBUG=1` adds the stack. */
export function failureLines(error: unknown): Failure {
  const exitCode = exitCodeOf(error);
  const lines = error instanceof UsageError ? [`nekit-kernel: ${error.message}`, 'Try: nekit-kernel --help'] : linesOf(error);
  return { lines: [...lines, ...stackOf(error)], exitCode };
}

function linesOf(error: unknown): readonly string[] {
  const message = error instanceof Error ? error.message : String(error);
  // A config's problems already say where they are, each in lines of its own.
  if (codeOf(error) === 'CONFIG') return escapeControls(message).split('\n');
  return [`nekit-kernel: ${escapeControls(message).replaceAll('\n', ' ')}`];
}

/** 2 for what the user wrote, 1 for what happened. */
function exitCodeOf(error: unknown): 1 | 2 {
  if (error instanceof UsageError || codeOf(error) === 'CONFIG') return 2;
  const hook = error instanceof Error && 'hook' in error ? error.hook : null;
  return hook === 'load' || hook === 'check' || hook === 'setup' ? 2 : 1;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null;
}

function stackOf(error: unknown): string[] {
  if ((process.env.NEKIT_DEBUG ?? '') === '' || !(error instanceof Error)) return [];
  const cause = error.cause instanceof Error ? [`caused by ${error.cause.stack ?? error.cause.message}`] : [];
  return [error.stack ?? error.message, ...cause];
}

/** Messages quote names, which may hold what a terminal acts on. Line ends stay. */
function escapeControls(text: string): string {
  return text.replace(/[^\P{Cc}\n]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
