/** Where the code of a MODULE rule may come from: a file on this machine that nobody but its user, or root, can change. */
import { realpathSync, type Stats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, extname } from 'node:path';
import { errorCode } from '../net/errors.js';

const EXTENSIONS = ['.js', '.mjs', '.cjs'];
const EXAMPLE = 'MODULE,./rules/office.mjs';

/** What the config says, if it can be a local file at all. Throws a plain Error. Opens nothing. */
export function checkModuleName(payload: string): void {
  if (payload === '') throw new Error(`MODULE needs a file, as in ${EXAMPLE}`);
  // One letter in front of a colon is a drive. Two slashes or backslashes lead to another machine.
  if (/^[a-z][a-z0-9+.-]+:/i.test(payload) || /^[/\\]{2}/.test(payload)) {
    throw new Error(`"${payload}" is no local file: code comes from this machine only, as in ${EXAMPLE}`);
  }
  if (payload.includes('\0')) throw new Error(`a file's name has no NUL in it: write ${EXAMPLE}`);
  if (!EXTENSIONS.includes(extname(payload))) throw new Error(`"${payload}" is no module: its name ends in ${EXTENSIONS.join(', ')}, as in ${EXAMPLE}`);
}

/** Changes with the file. Throws a plain Error if there is none. */
export function moduleStamp(path: string): string {
  let found: Stats;
  try {
    found = statSync(path);
  } catch (error) {
    const code = errorCode(error);
    throw new Error(code === 'ENOENT' || code === 'ENOTDIR' ? `there is no file ${path}` : `${path} cannot be read: ${code}`, { cause: error });
  }
  if (!found.isFile()) throw new Error(`${path} is no file`);
  return stampOf(found);
}

/** The same while it runs; null if it is not there, as in the middle of being written anew. */
export async function currentStamp(path: string): Promise<string | null> {
  try {
    const found = await stat(path);
    return found.isFile() ? stampOf(found) : null;
  } catch (error) {
    if (errorCode(error) !== '') return null;
    throw error;
  }
}

function stampOf({ mtimeMs, size, ino }: Stats): string {
  return `${mtimeMs}-${size}-${ino}`;
}

/** What is asked of the system; tests bring their own. */
export interface Owners {
  /** The effective user, null where there is none (Windows). Only root makes a difference. */
  readonly uid: number | null;
  stat(path: string): { readonly uid: number; readonly mode: number };
  realpath(path: string): string;
  /** Whose program this is: that user decides what runs here as root anyway. null: nobody's. */
  readonly command: string | null;
}

export const systemOwners: Owners = {
  uid: process.geteuid?.() ?? null,
  stat: (path) => statSync(path),
  realpath: (path) => realpathSync(path),
  command: process.argv[1] ?? null,
};

const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;

/** Run as root, code that somebody else can change would give them root: such a file is refused, as plugins are. Throws a plain Error. */
export function refuseUnsafe(path: string, owners: Owners = systemOwners): void {
  if (owners.uid !== 0) return;
  const trusted = new Set([0, ...commandOwner(owners)]);
  const real = owners.realpath(path);
  for (const place of new Set([dirname(path), ...upwards(real)])) {
    const { uid, mode } = owners.stat(place);
    // In a folder like /tmp nobody renames what is another's.
    const open = (mode & OTHERS_MAY_WRITE) !== 0 && !(place !== real && (mode & STICKY) !== 0);
    const reason = !trusted.has(uid) ? `belongs to user ${uid}` : open ? 'may be written by others' : null;
    if (reason === null) continue;
    throw new Error(
      `${path} is not run as root: ${place} ${reason}, who could change what runs; give it to root (chown root, chmod go-w), or do not run as root`,
    );
  }
}

/** The file and all folders above it: who may rename one of them can put another in its place. */
function upwards(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [path, ...upwards(parent)];
}

function commandOwner(owners: Owners): readonly number[] {
  try {
    return owners.command === null ? [] : [owners.stat(owners.command).uid];
  } catch (error) {
    if (errorCode(error) !== '') return []; // `node name` names a file without its extension
    throw error;
  }
}
