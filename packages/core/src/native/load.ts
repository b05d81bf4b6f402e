import { createRequire } from 'node:module';
import path from 'node:path';
import { ADDON_ABI, type Addon } from './addon.js';

/** Which addon is in use, and why others are not. */
export interface AddonSearch {
  /** Null: the TypeScript fallback does its work. */
  readonly addon: Addon | null;
  /** Where it came from: an absolute path, or the name of a platform package. */
  readonly from: string | null;
  /** What was passed over, in the order of the search. */
  readonly tried: readonly { readonly path: string; readonly why: string }[];
}

/** The part of `@nekit/native` (native/index.js) that is used here. */
interface NativePackage {
  find(env: NodeJS.ProcessEnv, check: (exports: unknown) => string | null): AddonSearch;
}

const PACKAGE = '@nekit/native';
const SWITCHED_OFF = 'NEKIT_NATIVE=off';

/**
 * Looks for the addon: `NEKIT_NATIVE_PATH`, the build of `@nekit/native`, its prebuilt platform package. `NEKIT_NATIVE=off` finds none.
 * Never throws, and may be called often: Node caches what it has loaded.
 */
export function findAddon(env: NodeJS.ProcessEnv = process.env): AddonSearch {
  if (env.NEKIT_NATIVE === 'off') return none(SWITCHED_OFF, 'switched off');
  try {
    const require = createRequire(import.meta.url);
    const native = require('@nekit/native') as NativePackage;
    return native.find(env, whyNot);
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND' && error.message.includes(`'${PACKAGE}'`);
    return none(PACKAGE, absent ? 'not installed' : firstLine(error));
  }
}

/** For a person, short: `native: <where>` or `native: none, TypeScript fallback: <why>`. */
export function describeAddon({ addon, from, tried }: AddonSearch): string {
  if (addon !== null && from !== null) return `native: ${path.isAbsolute(from) ? nearPath(from) : from}`;
  // One that is there and does not work says more than those that are not there.
  const last = tried.at(-1);
  if (last === undefined) return 'native: none, TypeScript fallback';
  if (last.path === SWITCHED_OFF) return `native: none, TypeScript fallback: ${SWITCHED_OFF}`;
  const { path: file, why } = tried.find((entry) => entry.why !== 'not there' && entry.why !== 'not installed') ?? last;
  return `native: none, TypeScript fallback: ${nearPath(file)}: ${why}`;
}

/** A warning where the fallback serves though nobody switched the addon off: everything that was tried, and why it was not taken. Null: nothing to warn of. */
export function addonWarning({ addon, tried }: AddonSearch): string | null {
  if (addon !== null || tried.some(({ path: what }) => what === SWITCHED_OFF)) return null;
  const list = tried.map(({ path: file, why }) => `${nearPath(file)} (${why})`).join(', ');
  return `the native addon is not in use, the TypeScript fallback is: slower, and without TUN. Tried: ${list}. NEKIT_NATIVE=off says that this is meant`;
}

function none(what: string, why: string): AddonSearch {
  return { addon: null, from: null, tried: [{ path: what, why }] };
}

/** What speaks against a loaded module, null when nothing does. */
function whyNot(exports: unknown): string | null {
  if (typeof exports !== 'object' || exports === null || !('abi' in exports)) return 'not an addon of nekit-kernel';
  return exports.abi === ADDON_ABI ? null : `abi ${JSON.stringify(exports.abi)}, ${ADDON_ABI} is needed (build it again)`;
}

/** Relative to the working directory where that is no longer to read. */
function nearPath(file: string): string {
  if (!path.isAbsolute(file)) return file;
  const relative = path.relative('', file);
  return relative === '' || relative.startsWith('..') ? file : relative;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}
