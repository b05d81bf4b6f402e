import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Processes, takeLock } from '../../dist/fake-ip/file-lock.js';

const folder = mkdtempSync(join(tmpdir(), 'nekit-dns-lock-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

/** A machine with these processes, by number: when each began. */
function machine(pid: number, starts: Readonly<Record<number, string>>, boot: string | null = 'boot-1'): Processes {
  return {
    pid,
    isAlive: (other) => other in starts,
    bootId: () => Promise.resolve(boot),
    startOf: (other) => Promise.resolve(boot === null ? null : (starts[other] ?? null)),
  };
}

let files = 0;

/** Whether `by` gets a file that has this lock. */
async function isTaken(lock: string, by: Processes): Promise<boolean> {
  const file = join(folder, `${files++}`);
  writeFileSync(`${file}.lock`, lock);
  const unlock = await takeLock(file, by);
  if (unlock === null) {
    t.equal(readFileSync(`${file}.lock`, 'utf8'), lock, 'it is left alone');
    return false;
  }
  await unlock();
  t.notOk(readdirSync(folder).includes(`${files - 1}.lock`));
  return true;
}

for (const [on, processes] of [
  ['this system', undefined],
  ['one that tells nothing of processes', machine(process.pid, { [process.pid]: '' }, null)],
] as const)
  void t.test(`one store of a process has a file, whichever way leads there (${on})`, async (t) => {
    const place = mkdtempSync(join(folder, 'ways-'));
    const file = join(place, 'file');
    symlinkSync(place, join(place, 'folder'));
    symlinkSync(file, join(place, 'link'));
    const unlock = await takeLock(file, processes);
    t.ok(unlock !== null);
    t.equal(await takeLock(file, processes), null);
    t.equal(await takeLock(join(place, 'folder', 'file'), processes), null);
    writeFileSync(file, '');
    t.equal(await takeLock(join(place, 'link'), processes), null);
    t.ok(readdirSync(place).includes('file.lock'), 'who was refused takes nothing away');
    await unlock?.();
    t.same(readdirSync(place), ['file', 'folder', 'link']);
    const [one, other] = await Promise.all([takeLock(file, processes), takeLock(file, processes)]);
    t.equal([one, other].filter((each) => each !== null).length, 1, 'at once, too');
    await (one ?? other)?.();
  });

void t.test('a lock says whose it is, as far as the system does', async (t) => {
  const file = join(folder, 'text');
  for (const [processes, text] of [
    [machine(7, { 7: '500' }), '7\nboot-1\n500\n'],
    [machine(7, { 7: '500' }, null), '7\n\n\n'],
  ] as const) {
    const unlock = await takeLock(file, processes);
    t.equal(readFileSync(`${file}.lock`, 'utf8'), text);
    await unlock?.();
  }
});

void t.test('the lock of a process that is there is left alone, that of one that has gone is not', async (t) => {
  const now = machine(7, { 7: '500', 20: '300' });
  t.notOk(await isTaken('20\nboot-1\n300\n', now));
  t.ok(await isTaken('20\nboot-1\n299\n', now), 'its number is another’s by now');
  t.ok(await isTaken('20\nboot-0\n300\n', now), 'from before the machine started again');
  t.ok(await isTaken('21\nboot-1\n300\n', now));
  t.ok(await isTaken('', now));
  // Written by who could not say more, or read by who cannot.
  t.notOk(await isTaken('20\n', now));
  t.ok(await isTaken('21\n', now));
  const bare = machine(7, { 7: '', 20: '' }, null);
  t.notOk(await isTaken('20\nboot-1\n300\n', bare));
  t.ok(await isTaken('21\nboot-1\n300\n', bare));
});

void t.test('our own number: that of a container before it started again', async (t) => {
  const now = machine(1, { 1: '500' });
  t.ok(await isTaken('1\nboot-1\n400\n', now));
  t.ok(await isTaken('1\n', now));
  t.ok(await isTaken('1\n\n\n', machine(1, { 1: '' }, null)));
  t.notOk(await isTaken('1\nboot-1\n500\n', now), 'this very process: a thread with modules of its own');
});

void t.test('only our own lock is taken away', async (t) => {
  const file = join(folder, 'lost');
  const unlock = await takeLock(file);
  const other = '20\nboot-1\n300\n';
  writeFileSync(`${file}.lock`, other);
  await unlock?.();
  t.equal(readFileSync(`${file}.lock`, 'utf8'), other);
});

void t.test('the processes of this system', { skip: process.platform === 'linux' ? false : 'there is no /proc' }, async (t) => {
  const file = join(folder, 'system');
  const unlock = await takeLock(file);
  const text = readFileSync(`${file}.lock`, 'utf8');
  await unlock?.();
  const [pid, boot = '', start] = text.split('\n');
  t.equal(pid, String(process.pid));
  t.match(start, /^\d+$/);
  // The process that started us is there: its lock as it would be, and that of another one with its number.
  const stat = readFileSync(`/proc/${process.ppid}/stat`, 'utf8');
  const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  for (const [lock, isFree] of [
    [`${process.ppid}\n${boot}\n${parent}\n`, false],
    [`${process.ppid}\n${boot}\n${parent}1\n`, true],
    [`${process.ppid}\n${boot}0\n${parent}\n`, boot !== ''],
  ] as const) {
    writeFileSync(`${file}.lock`, lock);
    const taken = await takeLock(file);
    t.equal(taken !== null, isFree, lock);
    await taken?.();
  }
});
