// The test command: addon and build, format and lint, dead code, C++ tests, tap. Goes on after a failed check, so one run shows everything,
// and prints `N passed, N failed` as its last line: assertions of tap plus one for each check.
//
//   npm test                       everything
//   npm test -- relay socks5       only the test files whose path contains one of the words, without the checks
//   npm run test:full              also what needs minutes, root or many packages (tests look at NEKIT_FULL)
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { runCppTests, whyNotTest } from './cpp-tests.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const report = `${root}.tap/last-run.tap`;
const words = process.argv.slice(2).filter((word) => word !== '--full');
const full = process.argv.includes('--full');
const env = full ? { ...process.env, NEKIT_FULL: '1' } : process.env;

let passed = 0;
let failed = 0;

await check('addon', process.execPath, ['native/scripts/build.mjs']);
const built = await check('build', 'tsc', ['-b']);
if (built) {
  if (words.length === 0) {
    await check('format and lint', 'biome', ['check', '.', '--error-on-warnings']);
    await check('typed lint', 'eslint', ['.', '--max-warnings', '0']);
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
    .sort();
  if (chosen.length === 0) {
    failed += 1;
    process.stdout.write(`# no test file matches ${words.join(' ')}\n`);
    return;
  }
  const files = chosen.map((source) => source.replace(/^(.*\/)?test\//, '$1dist-test/').replace(/\.ts$/, '.js'));
  await mkdir(`${root}.tap`, { recursive: true });
  await rm(report, { force: true });
  process.stdout.write(`# tap: ${files.length} files${full ? ', full' : ''}\n`);
  const timeout = full ? ['--timeout=900'] : [];
  const code = await run('tap', ['--reporter=terse', `--output-file=${report}`, ...timeout, ...files]);
  const totals = parseTotals(await readFile(report, 'utf8').catch(() => ''));
  passed += totals.pass;
  failed += totals.fail;
  if (totals.skip + totals.todo > 0) process.stdout.write(`# ${totals.skip} skipped, ${totals.todo} todo\n`);
  // A runner that fails without a failed assertion (no report, a crash of its own) is a failure too.
  if (code !== 0 && totals.fail === 0) {
    failed += 1;
    process.stdout.write(`# tap itself failed (exit code ${code})\n`);
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

/** The comment that tap writes last: `# { total: 7, pass: 3, fail: 2, todo: 1, skip: 1 }`, without the keys that are zero. */
function parseTotals(tap) {
  const line = tap.split('\n').findLast((candidate) => candidate.startsWith('# { total:')) ?? '';
  const count = (key) => Number(new RegExp(`\\b${key}: (\\d+)`).exec(line)?.[1] ?? 0);
  return { pass: count('pass'), fail: count('fail'), skip: count('skip'), todo: count('todo') };
}

/**
 * Runs a command of node_modules/.bin, or a program by its path, and settles with its exit code.
 * tap redraws its progress even in a pipe; that is dropped there. Where it takes the machine for a CI it prints nothing at all, no failure either.
 */
function run(command, args) {
  const quiet = command === 'tap' && !process.stdout.isTTY;
  const program = command.includes('/') ? command : `${root}node_modules/.bin/${command}`;
  const child = spawn(program, args, { cwd: root, env: quiet ? { ...env, CI: 'false' } : env, stdio: ['ignore', quiet ? 'pipe' : 'inherit', 'inherit'] });
  if (quiet) dropProgress(child.stdout);
  return new Promise((resolve) => {
    child.once('error', (error) => {
      process.stdout.write(`# ${command}: ${error.message}\n`);
      resolve(127);
    });
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
}

function dropProgress(stream) {
  let rest = '';
  let blank = true;
  const show = (line) => {
    const text = stripVTControlCharacters(line);
    if (/^(?:Asserts|Suites): /.test(text)) return;
    if (text.trim() === '' && blank) return;
    blank = text.trim() === '';
    process.stdout.write(`${text}\n`);
  };
  stream.setEncoding('utf8');
  stream.on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) show(line);
  });
  stream.on('end', () => show(rest));
}
