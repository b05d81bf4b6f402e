/** Why a TUN could not be had, with the command lines that help here and now. */
import { realpathSync } from 'node:fs';
import { describeAddon, findAddon } from '@nekit/core';

const OURS: ReadonlySet<unknown> = new Set(['TUN_UNAVAILABLE', 'AUTO_ROUTE_FAILED']);
const NOT_PERMITTED: ReadonlySet<unknown> = new Set(['EPERM', 'EACCES']);

/** The error as it is to be told. `argv` is that of the process. */
export function startFailure(error: unknown, argv: readonly string[] = process.argv): unknown {
  const chain = chainOf(error);
  if (!chain.some(({ code }) => OURS.has(code))) return error;
  if (chain.some(({ code }) => NOT_PERMITTED.has(code)))
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

interface Link {
  readonly code: unknown;
}

function chainOf(error: unknown): Link[] {
  const chain: Link[] = [];
  for (let at = error; at instanceof Error && chain.length < MAX_CHAIN; at = at.cause) chain.push({ code: 'code' in at ? at.code : null });
  return chain;
}

const MAX_CHAIN = 10;

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
