// What every run has around it: a namespace, a priority, the generator, a folder; the figures kept as JSON; and nothing left behind.
import { execFileSync, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canHaveNamespace, inNamespaceOfItsOwn, limitTimeWait, machine, prioritise } from './machine.mjs';
import { options } from './options.mjs';
import { endAll } from './processes.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Calls `measure` with `load` (the generator's program), `folder` (for configs), `outcome` (what the report is made of) and `refused` (why we run at
 * normal priority, or undefined). As root the script `url` is started once more in a namespace of its own, and measures there.
 */
export async function inSetting(url, measure) {
  if (!options.inNamespace && !options.noNamespace && canHaveNamespace()) {
    runInNamespace(fileURLToPath(url));
    return;
  }
  const folder = await mkdtemp(join(os.tmpdir(), 'nekit-bench-'));
  const { undo, refused } = await prioritise();
  const cleanUp = async () => {
    await endAll();
    await undo();
    await rm(folder, { recursive: true, force: true });
  };
  leaveNothingBehind(cleanUp);
  const outcome = { machine: await machine(), settings: { ...options }, versions: {}, tests: {}, idle: {}, problems: [] };
  try {
    await limitTimeWait();
    await measure({ load: await buildLoad(), folder, outcome, refused });
  } finally {
    await cleanUp();
  }
}

/** Prints problems and verdicts (`lines` tell them), keeps all figures, and sets the exit code. */
export async function finish(outcome, verdicts, lines) {
  for (const problem of outcome.problems) print(`PROBLEM ${problem}`);
  for (const line of lines) print(line);
  const times = (verdict) => verdicts.filter(({ ok }) => ok === verdict).length;
  print(`floors: ${times(true)} met, ${times(false)} not met, ${times(null)} without a peer to compare with`);
  print(`raw figures: ${await save({ ...outcome, verdicts })}`);
  if (outcome.problems.length > 0 || verdicts.some(({ ok }) => ok === false)) process.exitCode = 1;
}

export function print(text) {
  process.stdout.write(`${text}\n`);
}

function runInNamespace(script) {
  const command = [process.execPath, ...process.execArgv, script, '--in-namespace', ...process.argv.slice(2)];
  const child = spawn('unshare', inNamespaceOfItsOwn(command), { stdio: 'inherit' });
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  child.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

/** A run that is ended from outside ends its children, also when only the process that started it is gone. */
function leaveNothingBehind(cleanUp) {
  let ending = false;
  const end = async (why) => {
    if (ending) return;
    ending = true;
    print(`# ended by ${why}`);
    await cleanUp().finally(() => process.exit(1));
  };
  process.stdout.on('error', () => {}); // nobody reads any more; ending goes on
  for (const signal of SIGNALS) process.on(signal, end);
  if (!options.inNamespace) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    void end('the end of its parent');
  }, 1000);
  timer.unref();
}

async function buildLoad() {
  const sources = (await readdir(join(here, 'load'))).filter((name) => name.endsWith('.c')).map((name) => join(here, 'load', name));
  await mkdir(join(here, 'build'), { recursive: true });
  const output = join(here, 'build', 'load');
  execFileSync('cc', ['-O2', '-std=c11', '-Wall', '-Wextra', '-o', output, ...sources], { stdio: 'inherit' });
  return output;
}

async function save(outcome) {
  await mkdir(join(here, 'results'), { recursive: true });
  const name = `${outcome.machine.at.replaceAll(/[:.]/g, '-')}.json`;
  await writeFile(join(here, 'results', name), `${JSON.stringify(outcome, null, 2)}\n`);
  return `bench/results/${name}`;
}
