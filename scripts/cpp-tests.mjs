// The tests in plain C++ (native/test), without Node. For scripts/test.mjs and scripts/asan.mjs.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cmakeBuild, missingTools, NATIVE, run } from '../native/scripts/cmake.mjs';

/** Not Release: NDEBUG would take the assertions out. */
const TYPE = { type: 'Debug', flags: '-O1 -g' };

/** Why nothing can be built here, null when it can. */
export function whyNotBuild() {
  if (process.env.NEKIT_NATIVE === 'off') return 'NEKIT_NATIVE=off';
  const missing = missingTools();
  return missing.length === 0 ? null : `no ${missing.join(', no ')} here`;
}

/** The same for the tests in plain C++. */
export function whyNotTest() {
  return whyNotBuild() ?? (existsSync(join(NATIVE, 'test/CMakeLists.txt')) ? null : 'there is no native/test/CMakeLists.txt');
}

/** Builds `native/build-test` and runs what is in it. */
export async function runCppTests() {
  const built = await buildDebug('build-test', { NEKIT_TESTS: 'ON', NEKIT_ADDON: 'OFF' });
  return built.code === 0 ? ctest('build-test') : built;
}

/** An assertion that fails must stop the test: this is not a Release build. */
export function buildDebug(folder, options) {
  return cmakeBuild({ folder, type: TYPE.type, options: { CMAKE_CXX_FLAGS_DEBUG: TYPE.flags, ...options } });
}

/** { code, output }. A folder without tests is a mistake, not a success. */
export function ctest(folder, env = process.env) {
  const args = ['--test-dir', join(NATIVE, folder), '--output-on-failure', '--no-tests=error', '--timeout', '300'];
  return run('ctest', args, { env });
}
