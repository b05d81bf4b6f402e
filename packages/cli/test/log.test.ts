// The end of the log, in a process whose output somebody reads, or nobody.
import { spawn } from 'node:child_process';
import tap from 'tap';

const LOG = new URL('../dist/log.js', import.meta.url).href;
/** More than a pipe takes, and less than the log keeps. */
const LINES = 1_000;
const SCRIPT = `
  process.stdout; // as the command does: a pipe does not block any more
  const { openLog } = await import(${JSON.stringify(LOG)});
  const log = await openLog('info', false);
  for (let i = 0; i < ${LINES}; i++) log.logger.info('x'.repeat(1000));
  await new Promise((resolve) => setTimeout(resolve, 50));
  let closed = false;
  const goOn = () => {
    if (closed) return;
    for (let i = 0; i < 5; i++) log.logger.info('while it closes');
    setImmediate(goOn);
  };
  setImmediate(goOn);
  await log.close();
  closed = true;
  log.logger.info('too late, and no error');
  process.stderr.write('closed');`;

interface Scope {
  teardown(run: () => unknown): void;
}

/** A process that writes a megabyte to its log, closes that while more lines come, and ends. */
async function ends(t: Scope, reads: boolean): Promise<{ code: number | null; lines: number }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  let lines = 0;
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  if (reads) child.stdout.on('data', (bytes: Buffer) => (lines += bytes.reduce((count, byte) => count + (byte === 10 ? 1 : 0), 0)));
  const closed = reads ? new Promise<void>((resolve) => child.once('close', () => resolve())) : Promise.resolve();
  const limit = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const code = await ended;
  clearTimeout(limit);
  await closed;
  return { code, lines };
}

tap.test('it ends where nobody reads it', { timeout: 60_000 }, async (t) => {
  t.match(await ends(t, false), { code: 0 });
});

tap.test('whoever reads it gets all', { timeout: 60_000 }, async (t) => {
  t.same(await ends(t, true), { code: 0, lines: LINES });
});
