// Runs files of tests with plain Node, some at a time, and reads the TAP that they print. tap's own runner puts loaders into each file and into every
// Node process that a file starts, for coverage and TypeScript on the fly, neither of which is used here: half of the time that the tests took.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { inspect } from 'node:util';
import { Parser } from 'tap-parser';

/** How long a file may go on behind the timeout of its own tap, which names the test that it was in. */
const GRACE_MS = 10_000;
/** How long something that a file has left behind may hold its output. */
const HELD_MS = 2_000;
/** What is kept of what a file says on stderr, and shown of one diagnostic. */
const MOST_SHOWN = 16 * 1024;
/** What is kept of one line: an `ok` is shorter. */
const MOST_OF_LINE = 64 * 1024;
/** What is kept of all that a file prints, in characters; one that prints more is killed. All of ours together print 5 % of it. */
const MOST_OF_FILE = 64 * 1024 * 1024;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs `files`, `jobs` at a time, in the order given, and settles with the numbers of assertions. Failures are printed as they come; `report` gets all
 * the TAP, one subtest for each file, with the time that it took, and what it said on stderr. Rejects where the report cannot be written; no file runs on then.
 *
 * @param {{files: string[], jobs: number, timeoutSeconds: number, report: string, cwd: string, env: NodeJS.ProcessEnv}} options
 * @returns {Promise<{pass: number, fail: number, skip: number, todo: number}>}
 */
export async function runTapFiles({ files, jobs, timeoutSeconds, report, cwd, env }) {
  const totals = { pass: 0, fail: 0, skip: 0, todo: 0 };
  /** @type {Map<string, import('node:child_process').ChildProcess>} */
  const running = new Map();
  const killAll = () => {
    for (const child of running.values()) child.kill('SIGKILL');
  };
  const stop = (signal) => {
    process.stdout.write(`# ${signal} while these ran: ${[...running.keys()].join(', ')}\n`);
    killAll();
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.once(signal, stop);
  const out = createWriteStream(report);
  const written = once(out, 'finish'); // or rejects
  written.catch(() => {});
  out.write('TAP version 14\n');
  let next = 0;
  const worker = async () => {
    while (next < files.length && out.errored === null) {
      const index = next++;
      const file = files[index];
      const result = await runFile({ file, timeoutSeconds, cwd, env, running });
      for (const key of Object.keys(totals)) totals[key] += result[key];
      out.write(`# Subtest: ${file}\n${result.tap}${result.fail === 0 ? 'ok' : 'not ok'} ${index + 1} - ${file} # time=${result.ms}ms\n`);
    }
  };
  try {
    await Promise.race([Promise.all(Array.from({ length: jobs }, worker)), written]);
    out.end(`1..${files.length}\n`);
    await written;
    return totals;
  } finally {
    killAll();
    for (const signal of SIGNALS) process.removeListener(signal, stop);
  }
}

async function runFile({ file, timeoutSeconds, cwd, env, running }) {
  const started = performance.now();
  const child = spawn(process.execPath, ['--enable-source-maps', file], {
    cwd,
    env: { ...env, TAP_TIMEOUT: String(timeoutSeconds) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.set(file, child);
  const reader = new TapReader(file);
  let errors = '';
  let isLate = false;
  let isHeld = false;
  const late = setTimeout(
    () => {
      isLate = true;
      child.kill('SIGKILL');
    },
    timeoutSeconds * 1000 + GRACE_MS,
  );
  let held;
  child.once('exit', () => {
    held = setTimeout(() => {
      isHeld = true;
      child.stdout.destroy();
      child.stderr.destroy();
    }, HELD_MS);
  });
  child.stdout.setEncoding('utf8').on('data', (text) => {
    if (!reader.write(text)) child.kill('SIGKILL');
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-MOST_SHOWN);
  });
  const code = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  clearTimeout(late);
  clearTimeout(held);
  running.delete(file);
  const wrong = [];
  if (isLate) wrong.push(`was killed ${GRACE_MS / 1000} s after its ${timeoutSeconds} s were up`);
  if (reader.isFull) wrong.push(`printed more than ${MOST_OF_FILE} characters`);
  if (isHeld) wrong.push('has left a process that holds its output');
  // At the top level of a file tap tells of these on stderr alone, and exits with 0.
  if (/^Error: (?:test )?assertion (?:count exceeds|after)/m.test(errors)) wrong.push('has assertions behind its plan or its end');
  const result = reader.end(code, wrong);
  if (result.fail > 0 && errors !== '') process.stdout.write(`# what ${file} said on stderr:\n${errors.replace(/^/gm, '  ').trimEnd()}\n`);
  const tap = `${result.tap}${errors === '' ? '' : `${errors.trimEnd().replace(/^/gm, '    # stderr: ')}\n`}`;
  return { ...result, tap, ms: Math.round(performance.now() - started) };
}

/** Counts the assertions in the TAP of one file, and prints what failed. */
class TapReader {
  #counts = { pass: 0, fail: 0, skip: 0, todo: 0 };
  #lines = [];
  #rest = [];
  #size = 0;
  #results = null;
  #file;
  #parser;

  constructor(file) {
    this.#file = file;
    this.#parser = new Parser((results) => {
      this.#results = results;
    });
    this.#listen(this.#parser, []);
  }

  get isFull() {
    return this.#size > MOST_OF_FILE;
  }

  /** Whole lines go to the parser, which looks at all that it has for each part of one. False when it takes no more. */
  write(text) {
    this.#size += text.length;
    if (this.isFull) return false;
    const parts = text.split('\n');
    for (let i = 0; i < parts.length; i++) {
      this.#rest.push(parts[i]);
      if (i < parts.length - 1) this.#line();
    }
    return true;
  }

  /** @param {number | string} code the exit code, or what ended the file instead; `wrong`: what else failed it */
  end(code, wrong) {
    if (this.#rest.some((part) => part !== '')) this.#line();
    this.#parser.end();
    const { plan, failures = [], bailout, ok = false } = this.#results ?? {};
    const none = Object.values(this.#counts).every((count) => count === 0);
    const isSkipped = none && ok && !bailout && plan.skipAll && plan.comment !== 'no tests found' && !this.#lines.some((line) => /^(?:not )?ok\b/.test(line));
    // A file that died, that printed no test at all or not those that it planned has failed, whatever it counted.
    if (code !== 0 && !(code === 1 && this.#counts.fail > 0)) wrong.push(`ended with ${code}`);
    if (none && !isSkipped) wrong.push('has no test');
    if (this.#counts.fail === 0 && !ok) wrong.push(...failures.map(({ tapError, name }) => tapError ?? name), ...(bailout ? ['bailed out'] : []));
    if (isSkipped) this.#counts.skip = 1;
    if (wrong.length > 0) {
      this.#counts.fail += 1;
      process.stdout.write(
        `not ok - ${this.#file}: it ${wrong.join(', and ')}\n${this.#lines
          .slice(-8)
          .map((line) => `  ${line}\n`)
          .join('')}`,
      );
    }
    return { ...this.#counts, tap: this.#lines.map((line) => (line === '' ? '\n' : `    ${line}\n`)).join('') };
  }

  #line() {
    // To the parser these end a line, and not as it expects.
    const line = this.#rest
      .join('')
      .slice(0, MOST_OF_LINE)
      .replace(/\r$/, '')
      .replace(/[\r\u2028\u2029]/g, ' ');
    this.#rest = [];
    this.#lines.push(line);
    this.#parser.write(`${line}\n`);
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
        process.stdout.write(`not ok - ${[this.#file, ...path, result.name].join(' > ')}\n${diagnostics(result.diag)}`);
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
