// The test command: addon and build, format and lint, dead code, C++ tests, tap. Goes on after a failed check, so one run shows everything,
// and prints `N passed, N failed` as its last line: assertions of tap plus one for each check.
//
//   npm test                       everything
//   npm test -- relay socks5       only the test files whose path contains one of the words, without the checks
//   npm run test:full              also what needs minutes, root or many packages (tests look at NEKIT_FULL)
import { spawn } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { runCppTests, whyNotTest } from './cpp-tests.mjs';
import { runTapFiles } from './tap-files.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const report = `${root}.tap/last-run.tap`;
const words = process.argv.slice(2).filter((word) => word !== '--full');
const full = process.argv.includes('--full');
const env = full ? { ...process.env, NEKIT_FULL: '1' } : process.env;

let passed = 0;
let failed = 0;

process.stdout.on('error', () => process.kill(process.pid, 'SIGTERM')); // nobody reads on: with us end those that we have started

await check('addon', process.execPath, ['native/scripts/build.mjs']);
const built = await check('build', 'tsc', ['-b']);
if (built) {
  if (words.length === 0) {
    await check('format and lint', 'biome', ['check', '.', '--error-on-warnings']);
    await check('typed lint', 'oxlint', ['--type-aware', '--deny-warnings']);
    await check('dead code', 'knip', ['--treat-config-hints-as-errors']);
    await cppTests();
  }
  await tests();
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/** One check: passed or failed as a whole. */
async function check(name, command, args) {
  process.stdout.write(`# ${name}: ${[command, ...args].join(' ')}\n`);
  const code = await run(command, args);
  if (code === 0) passed += 1;
  else {
    failed += 1;
    process.stdout.write(`# ${name} FAILED (exit code ${code})\n`);
  }
  return code === 0;
}

/** The plain C++ tests, one more check where they can run. */
async function cppTests() {
  const why = whyNotTest();
  process.stdout.write(why === null ? '# C++ tests: native/test\n' : `# C++ tests are skipped: ${why}\n`);
  if (why !== null) return;
  const { code, output } = await runCppTests();
  if (code === 0) {
    passed += 1;
    return;
  }
  failed += 1;
  process.stdout.write(`${output.trimEnd()}\n# C++ tests FAILED (exit code ${code})\n`);
}

/** Runs the compiled form of every test source: a test whose source is gone, but not its compiled form, is not run. */
async function tests() {
  const sources = await Promise.all([...(await foldersIn('packages')), ...(await foldersIn('examples')), ''].map(testSources));
  const chosen = sources
    .flat()
    .filter((source) => words.length === 0 || words.some((word) => source.includes(word)))
    .sort()
    .reverse(); // test/, where whole programs run in namespaces, takes longest: started last, one of them would be waited for alone
  if (chosen.length === 0) {
    failed += 1;
    process.stdout.write(`# no test file matches ${words.join(' ')}\n`);
    return;
  }
  const files = chosen.map((source) => source.replace(/^(.*\/)?test\//, '$1dist-test/').replace(/\.ts$/, '.js'));
  await mkdir(`${root}.tap`, { recursive: true });
  process.stdout.write(`# tap: ${files.length} files${full ? ', full' : ''}\n`);
  try {
    const totals = await runTapFiles({ files, jobs: 2, timeoutSeconds: full ? 900 : 240, report, cwd: root, env });
    passed += totals.pass;
    failed += totals.fail;
    if (totals.skip + totals.todo > 0) process.stdout.write(`# ${totals.skip} skipped, ${totals.todo} todo\n`);
  } catch (error) {
    failed += 1;
    process.stdout.write(`# the tests stopped: ${error.message}\n`);
  }
}

async function foldersIn(folder) {
  const entries = await readdir(root + folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => `${folder}/${entry.name}/`);
}

/** The test files of the package in `folder` ('' or with a slash at its end), relative to the root. */
async function testSources(folder) {
  const names = await readdir(`${root}${folder}test`, { recursive: true }).catch((error) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => name.endsWith('.test.ts')).map((name) => `${folder}test/${name}`);
}

/** Runs a command of node_modules/.bin, or a program by its path, and settles with its exit code. */
function run(command, args) {
  const program = command.includes('/') ? command : `${root}node_modules/.bin/${command}`;
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => {
    child.once('error', (error) => {
      process.stdout.write(`# ${command}: ${error.message}\n`);
      resolve(127);
    });
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
}
