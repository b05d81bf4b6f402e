// Runs files of tests with plain Node, some at a time, and reads the TAP that they print. tap's own runner puts loaders into each file and into every
// Node process that a file starts, for coverage and TypeScript on the fly, neither of which is used here: half of the time that the tests took.
// `npx tap` runs the same files.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { inspect } from 'node:util';
import { Parser } from 'tap-parser';

/** How long a file that was told to stop may take to tell which test it was in. */
const GRACE_MS = 10_000;
/** What is kept of the output of a file for its report. */
const MOST_SHOWN = 16 * 1024;

/**
 * Runs `files`, `jobs` at a time, in the order given, and settles with the numbers of assertions. Failures are printed as they come; `report` gets all
 * the TAP, one subtest for each file, with the time that it took.
 *
 * @param {{files: string[], jobs: number, timeoutSeconds: number, report: string, cwd: string, env: NodeJS.ProcessEnv}} options
 * @returns {Promise<{pass: number, fail: number, skip: number, todo: number}>}
 */
export async function runTapFiles({ files, jobs, timeoutSeconds, report, cwd, env }) {
  const totals = { pass: 0, fail: 0, skip: 0, todo: 0 };
  const children = new Set();
  const stop = (signal) => {
    for (const child of children) child.kill('SIGKILL');
    process.kill(process.pid, signal);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const out = createWriteStream(report);
  out.write('TAP version 14\n');
  let next = 0;
  const worker = async () => {
    while (next < files.length) {
      const index = next++;
      const result = await runFile({ file: files[index], timeoutSeconds, cwd, env, children });
      for (const key of Object.keys(totals)) totals[key] += result[key];
      process.stdout.write(result.failures);
      out.write(`# Subtest: ${files[index]}\n${result.tap}${result.fail === 0 ? 'ok' : 'not ok'} ${index + 1} - ${files[index]} # time=${result.ms}ms\n`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  out.end(`1..${files.length}\n`);
  await once(out, 'finish');
  process.removeListener('SIGINT', stop).removeListener('SIGTERM', stop);
  return totals;
}

async function runFile({ file, timeoutSeconds, cwd, env, children }) {
  const started = performance.now();
  const child = spawn(process.execPath, ['--enable-source-maps', file], {
    cwd,
    env: { ...env, TAP_TIMEOUT: String(timeoutSeconds) }, // tap's library in the file has a timeout of its own, which names the test
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  const reader = new TapReader(file);
  let errors = '';
  let late = false;
  const timer = setTimeout(
    () => {
      late = true;
      child.kill('SIGKILL');
    },
    timeoutSeconds * 1000 + GRACE_MS,
  );
  child.stdout.setEncoding('utf8').on('data', (text) => reader.write(text));
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-MOST_SHOWN);
  });
  const ended = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  clearTimeout(timer);
  children.delete(child);
  const result = reader.end(late ? `no end after ${timeoutSeconds} s` : ended);
  if (result.fail > 0 && errors !== '') result.failures += `# what ${file} said on stderr:\n${errors.replace(/^/gm, '  ').trimEnd()}\n`;
  return { ...result, ms: Math.round(performance.now() - started) };
}

/** Counts the assertions in the TAP of one file, and words what failed. */
class TapReader {
  #counts = { pass: 0, fail: 0, skip: 0, todo: 0 };
  #tap = '';
  #failures = '';
  #results = null;
  #parser;

  constructor(file) {
    this.file = file;
    this.#parser = new Parser((results) => {
      this.#results = results;
    });
    this.#listen(this.#parser, []);
  }

  write(text) {
    this.#tap += text;
    this.#parser.write(text);
  }

  /** @param {number | string} ended the exit code, or what ended the file instead */
  end(ended) {
    this.#parser.end();
    // A file may skip all that is in it, with a reason.
    const none = Object.values(this.#counts).every((count) => count === 0);
    if (none && ended === 0 && /^1\.\.0 # ./m.test(this.#tap)) this.#counts.skip = 1;
    // A file that died, that printed no test at all or not those that it planned has failed, whatever it counted.
    else if ((ended !== 0 || none || this.#results?.ok !== true) && this.#counts.fail === 0) {
      this.#counts.fail = 1;
      const why = (this.#results?.failures ?? []).map(({ tapError }) => tapError).filter(Boolean);
      this.#failures += `not ok - ${this.file}: ${[`ended with ${ended}`, ...why].join(', ')}\n${this.#tap.slice(-1024).replace(/^/gm, '  ').trimEnd()}\n`;
    }
    const indented = this.#tap.trimEnd().replace(/^(?=.)/gm, '    ');
    return { ...this.#counts, failures: this.#failures, tap: `${indented}\n` };
  }

  #listen(parser, path) {
    let child = null;
    parser.on('child', (next) => {
      child = next;
      this.#listen(next, [...path, next.name]);
    });
    parser.on('assert', (result) => {
      // A subtest is told by its assertions, where it has some: others use node:assert.
      if (result.closingTestPoint && child.count > 0 && (result.ok || child.fail > 0)) return;
      if (result.skip !== false) this.#counts.skip += 1;
      else if (result.todo !== false) this.#counts.todo += 1;
      else if (result.ok) this.#counts.pass += 1;
      else {
        this.#counts.fail += 1;
        this.#failures += `not ok - ${[this.file, ...path, result.name].join(' > ')}\n${diagnostics(result.diag)}`;
      }
    });
  }
}

function diagnostics(diag) {
  if (diag === null || typeof diag !== 'object') return '';
  return Object.entries(diag)
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? value : inspect(value, { depth: 6 })}`.trimEnd().replace(/^/gm, '  '))
    .map((line) => `${line.slice(0, MOST_SHOWN)}\n`)
    .join('');
}
