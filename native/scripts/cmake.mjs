// How the C++ is built: plain cmake, quiet unless it fails. For install.mjs, build.mjs, prebuild.mjs and the checks of the workspace.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of @nekit/native, with a slash at its end. */
export const NATIVE = fileURLToPath(new URL('../', import.meta.url));

/** What an install or a build needs and is not on this machine: [] or names for a person. */
export function missingTools() {
  const missing = [];
  if (!onPath('cmake')) missing.push('cmake');
  const compilers = [process.env.CXX?.split(' ')[0], 'c++', 'g++', 'clang++'];
  if (!compilers.some((name) => name !== undefined && onPath(name))) missing.push('a C++20 compiler');
  if (!['ninja', 'make'].some(onPath)) missing.push('make or ninja');
  return missing;
}

/** One or two lines: what is missing, how to get it, and what happens without it. */
export function explainMissing(missing) {
  const how = process.platform === 'darwin' ? 'xcode-select --install && brew install cmake' : 'apt-get install cmake make g++';
  return `@nekit/native: not built, for want of ${missing.join(', ')}; the TypeScript fallback will be used\n  to build it: ${how} && npm rebuild @nekit/native`;
}

/**
 * Configures `folder` (relative to native/) if that is not done yet, and builds. What is up to date costs some 0.2 s.
 * Gives { code, output }; output is what cmake and the compiler said.
 */
export async function cmakeBuild({ folder, type = 'Release', options = {}, target = 'all' }) {
  const build = join(NATIVE, folder);
  let output = '';
  if (!isConfigured(build, type, options)) {
    const flags = Object.entries({ CMAKE_BUILD_TYPE: type, ...options }).map(([name, value]) => `-D${name}=${value}`);
    // Ninja where it is, as cmake-js does: both can then work in the same folder.
    const generator = onPath('ninja') ? ['-G', 'Ninja'] : [];
    const configured = await run('cmake', ['-S', NATIVE, '-B', build, ...generator, ...flags]);
    if (configured.code !== 0) return configured;
    output = configured.output;
  }
  const built = await run('cmake', ['--build', build, '--target', target, '--parallel', String(availableParallelism())]);
  return { code: built.code, output: output + built.output };
}

/** Whether `build` holds a cache of this very folder with these options. A cache that came from elsewhere (a moved or copied tree) is removed. */
function isConfigured(build, type, options) {
  const file = join(build, 'CMakeCache.txt');
  if (!existsSync(file)) return false;
  const cache = new Map(
    readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => /^([^:/#]+):[^=]*=(.*)$/.exec(line))
      .filter((match) => match !== null)
      .map(([, name, value]) => [name, value]),
  );
  const moved = `${cache.get('CMAKE_HOME_DIRECTORY')}/` !== NATIVE;
  const generator = onPath('ninja') ? 'Ninja' : undefined;
  if (moved || (generator !== undefined && cache.get('CMAKE_GENERATOR') !== generator)) {
    rmSync(build, { recursive: true, force: true });
    return false;
  }
  // Without build.ninja or a Makefile an earlier configure has failed.
  if (!['build.ninja', 'Makefile'].some((name) => existsSync(join(build, name)))) return false;
  return Object.entries({ CMAKE_BUILD_TYPE: type, ...options }).every(([name, value]) => cache.get(name) === value);
}

/** Runs a command and settles with { code, output }: both kinds of output as one text. */
export function run(command, args, { env = process.env, cwd = NATIVE } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (text) => {
      output += text;
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.once('error', (error) => resolve({ code: 127, output: `${output}${command}: ${error.message}\n` }));
    child.once('close', (code, signal) => resolve({ code: code ?? signal, output }));
  });
}

/** Whether a program can be run: by its path, or by its name through PATH. */
export function onPath(name) {
  const candidates = name.includes('/') ? [name] : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  return candidates.some((file) => {
    try {
      accessSync(file, constants.X_OK);
      return statSync(file).isFile();
    } catch {
      return false; // not there or not ours to run: the next folder
    }
  });
}
