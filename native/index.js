// Finds the addon. `find` is for @nekit/core; nothing here throws, and nothing is kept: Node's require caches what was loaded.

const { closeSync, existsSync, openSync, readSync } = require('node:fs');
const path = require('node:path');

/**
 * The first addon that loads and that `check` has nothing against, and why the others were passed over.
 * NEKIT_NATIVE_PATH names the one file to try. Else: this package's own build, then the prebuilt platform package.
 * `check(exports)` gives null or a reason.
 */
function find(env = process.env, check = () => null) {
  const named = env.NEKIT_NATIVE_PATH;
  if (named !== undefined && named !== '') return search([path.resolve(named)], check);
  return search([path.join(__dirname, 'build/Release/nekit.node'), path.join(__dirname, 'build/Debug/nekit.node'), platformPackage()], check);
}

/** The prebuilt platform package alone. */
function findPrebuilt(check = () => null) {
  return search([platformPackage()], check);
}

function search(candidates, check) {
  const tried = [];
  for (const from of candidates) {
    const { addon, why } = load(from, check);
    if (addon !== null) return { addon, from, tried };
    tried.push({ path: from, why });
  }
  return { addon: null, from: null, tried };
}

function load(from, check) {
  const isPackage = !path.isAbsolute(from);
  if (!isPackage && !existsSync(from)) return { addon: null, why: 'not there' };
  // Anything else would be run as JavaScript.
  if (!isPackage && !from.endsWith('.node')) return { addon: null, why: 'not a .node file' };
  try {
    const addon = require(from);
    const why = check(addon);
    return why === null ? { addon, why: '' } : { addon: null, why };
  } catch (error) {
    const absent = isPackage && error.code === 'MODULE_NOT_FOUND' && error.message.includes(`'${from}'`);
    return { addon: null, why: absent ? 'not installed' : firstLine(error) };
  }
}

function firstLine(error) {
  return String(error instanceof Error ? error.message : error).split('\n')[0];
}

/** @nekit/native-linux-x64, @nekit/native-linux-x64-musl, @nekit/native-darwin-arm64 ... */
function platformPackage() {
  return `@nekit/native-${process.platform}-${process.arch}${isMusl() ? '-musl' : ''}`;
}

/** By the dynamic loader that the running node asks for: its name is in the first block of the file. */
function isMusl() {
  if (process.platform !== 'linux') return false;
  try {
    const file = openSync(process.execPath, 'r');
    try {
      const head = Buffer.alloc(4096);
      return head.toString('latin1', 0, readSync(file, head, 0, head.length, 0)).includes('/ld-musl-');
    } finally {
      closeSync(file);
    }
  } catch {
    return false; // a node that cannot read itself: what most systems have
  }
}

module.exports = { find, findPrebuilt, platformPackage };
