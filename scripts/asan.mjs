// npm run test:asan [WORD ...]: the C++ under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer.
//   1. the plain C++ tests
//   2. the tests of packages/core/test/native on an addon that is built with them (only files whose path contains a WORD, if any)
// Fails on a failed test and on any report, also of a process that a test started.
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NATIVE, run } from '../native/scripts/cmake.mjs';
import { buildDebug, ctest, whyNotBuild, whyNotTest } from './cpp-tests.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const words = process.argv.slice(2);
const FOLDER = 'build-asan';
const ADDON = join(NATIVE, FOLDER, 'Debug/nekit.node');
const REPORTS = join(NATIVE, FOLDER, 'reports');

/** For one test file, in ms: the sanitizers make code two to five times slower. */
const FILE_MS = 600_000;

process.exitCode = await main();

async function main() {
  const why = whyNotBuild();
  if (why !== null) return fail(`cannot run: ${why}`);
  const whyNotCpp = whyNotTest();
  const options = { NEKIT_ASAN: 'ON', NEKIT_TESTS: whyNotCpp === null ? 'ON' : 'OFF', NEKIT_ADDON: 'ON' };
  if (!(await step('build with sanitizers', () => buildDebug(FOLDER, options)))) return 1;
  const preload = await libraries();
  if (preload === null) return fail('the compiler does not bring libasan.so and libubsan.so (apt-get install g++)');
  if (!(await step('tsc -b', () => run(join(root, 'node_modules/.bin/tsc'), ['-b'], { cwd: root })))) return 1;

  await rm(REPORTS, { recursive: true, force: true });
  await mkdir(REPORTS, { recursive: true });
  const failed = [];
  let total = 0;
  if (whyNotCpp !== null) process.stdout.write(`# C++ tests are skipped: ${whyNotCpp}\n`);
  else {
    total += 1;
    if (!(await step('C++ tests', () => ctest(FOLDER, sanitized('cpp'))))) failed.push('C++ tests');
  }
  for (const file of await testFiles()) {
    total += 1;
    // LD_PRELOAD: node itself is built without the sanitizers.
    const env = { ...sanitized(file.replaceAll('/', '-')), LD_PRELOAD: preload, NEKIT_NATIVE_PATH: ADDON };
    const limited = ['--kill-after=5', String(FILE_MS / 1000), process.execPath, join(root, 'packages/core/dist-test/native', file)];
    if (!(await step(file, () => run('timeout', limited, { env, cwd: root })))) failed.push(file);
  }
  const reports = await readdir(REPORTS);
  for (const name of reports) process.stdout.write(`# ${name}\n${await readFile(join(REPORTS, name), 'utf8')}\n`);
  for (const name of failed) process.stdout.write(`# FAILED: ${name}\n`);
  process.stdout.write(`asan: ${total - failed.length} passed, ${failed.length} failed, ${reports.length} reports\n`);
  return failed.length === 0 && reports.length === 0 && total > 0 ? 0 : 1;
}

/** Reports go to files: a test may swallow the stderr of what it starts. */
function sanitized(name) {
  const log = `log_path=${join(REPORTS, name)}`;
  return {
    ...process.env,
    ASAN_OPTIONS: `detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1:${log}`,
    UBSAN_OPTIONS: `print_stacktrace=1:halt_on_error=1:${log}`,
    LSAN_OPTIONS: 'report_objects=1',
  };
}

async function libraries() {
  const paths = [];
  for (const name of ['libasan.so', 'libubsan.so']) {
    const { code, output } = await run(process.env.CXX ?? 'c++', [`-print-file-name=${name}`]);
    if (code !== 0 || !output.startsWith('/')) return null;
    paths.push(output.trim());
  }
  return paths.join(' ');
}

async function testFiles() {
  const names = await readdir(join(root, 'packages/core/test/native'), { recursive: true });
  return names
    .filter((name) => name.endsWith('.test.ts') && (words.length === 0 || words.some((word) => name.includes(word))))
    .map((name) => name.replace(/\.ts$/, '.js'))
    .sort();
}

/** Says how it went; shows the output only when that was not well. UBSan writes to stderr, whatever its log_path says, when ASan is there too. */
async function step(name, start) {
  const began = Date.now();
  const ended = await start();
  const { output } = ended;
  const code = ended.code === 0 && /: runtime error: |ERROR: \w+Sanitizer/.test(output) ? 'a report' : ended.code;
  process.stdout.write(`# ${name}: ${code === 0 ? 'ok' : `FAILED (${code})`}, ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
  const passed = /^ *(?:ok \d|# Subtest: |1\.\.\d|$)/; // of TAP
  if (code !== 0) process.stdout.write(output.replace(/.*\n/g, (line) => (passed.test(line.trimEnd()) ? '' : line)));
  return code === 0;
}

function fail(text) {
  process.stdout.write(`asan: ${text}\n`);
  return 1;
}
