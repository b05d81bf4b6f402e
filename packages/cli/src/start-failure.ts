/** Why a TUN could not be had, with the command lines that help here and now. */
import { realpathSync } from 'node:fs';
import { describeAddon, findAddon } from '@nekit/core';

const OURS: ReadonlySet<unknown> = new Set(['TUN_UNAVAILABLE', 'AUTO_ROUTE_FAILED']);
/** Causes may go round in a circle. */
const MAX_CAUSES = 10;
const NOT_PERMITTED: ReadonlySet<unknown> = new Set(['EPERM', 'EACCES']);

/** The error as it is to be told. `argv` is that of the process. */
export function startFailure(error: unknown, argv: readonly string[] = process.argv): unknown {
  const codes = codesOf(error);
  if (!codes.some((code) => OURS.has(code))) return error;
  if (codes.some((code) => NOT_PERMITTED.has(code)))
    return new Error(`a TUN needs rights: ${sudo(argv)}, or once for all: sudo setcap cap_net_admin+ep ${quoted(realpathSync(process.execPath))}`, {
      cause: error,
    });
  const search = findAddon();
  if (search.addon === null)
    return new Error(
      `a TUN needs the native addon, which is not loaded (${describeAddon(search)}): sudo apt-get install cmake make g++, then npm rebuild @nekit/native`,
      { cause: error },
    );
  return error;
}

/** Of the error, what caused it, what caused that. */
function codesOf(error: unknown): unknown[] {
  const codes: unknown[] = [];
  for (let at = error; at instanceof Error && codes.length < MAX_CAUSES; at = at.cause) codes.push('code' in at ? at.code : null);
  return codes;
}

/** The same command line as root: sudo has another PATH, so programs are named by their files. What a proxy's URI holds is left out: it may be a password. */
function sudo(argv: readonly string[]): string {
  const words = argv.map((word, index) =>
    argv[index - 1] === '--proxy' ? hidden(word) : word.startsWith('--proxy=') ? `--proxy=${hidden(word.slice(8))}` : word,
  );
  return `sudo ${words.map(quoted).join(' ')}`;
}

function hidden(uri: string): string {
  return uri.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*$/is, '$1…');
}

function quoted(word: string): string {
  return /^[\w./:=@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
