import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { AddressRange } from '../../dist/fake-ip/address-range.js';
import { FakeIpPool } from '../../dist/fake-ip/fake-ip-pool.js';
import { FileStore } from '../../dist/fake-ip/file-store.js';
import { headBytes, writeRecord } from '../../dist/fake-ip/journal-format.js';

const folder = mkdtempSync(join(tmpdir(), 'nekit-dns-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

interface Opened {
  readonly pool: FakeIpPool;
  readonly clock: FakeClock;
  readonly warnings: string[];
}

async function open(file: string, range = '198.18.0.1/16'): Promise<Opened> {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const store = new FileStore(join(folder, file), clock);
  const pool = new FakeIpPool({
    range4: new AddressRange(range, 4),
    range6: null,
    seed: Math.trunc(Math.random() * 2 ** 31),
    store,
    warn: (message) => warnings.push(message),
  });
  await pool.open();
  return { pool, clock, warnings };
}

void t.test('names come back after a restart', async (t) => {
  const first = await open('restart');
  const addresses = Array.from({ length: 500 }, (_, i) => first.pool.assign(`${i}.example`, 4));
  await first.pool.close();
  t.equal(statSync(join(folder, 'restart')).mode & 0o777, 0o600);
  const second = await open('restart');
  for (const [i, address] of addresses.entries()) t.equal(second.pool.domainOf(address), `${i}.example`);
  await second.pool.close();
  const other = await open('restart', '198.19.0.1/16');
  t.equal(other.pool.size, 0, 'of another range nothing is taken: the addresses would not be these');
  await other.pool.close();
  const third = await open('restart');
  t.equal(third.pool.size, 0, 'and it is gone then');
  await third.pool.close();
  t.same(first.warnings, []);
});

void t.test('killed: what was written a second ago is there', async (t) => {
  const { pool, clock } = await open('killed');
  const address = pool.assign('a.example', 4);
  await clock.advance(1_000);
  const end = Date.now() + 5_000;
  while (!readFileSync(join(folder, 'killed')).includes('a.example') && Date.now() < end) await new Promise((resolve) => setImmediate(resolve));
  pool.assign('late.example', 4);
  // What a kill would leave now; in its place, as this process is still there.
  copyFileSync(join(folder, 'killed'), join(folder, 'left'));
  writeFileSync(join(folder, 'left.lock'), '999999999\n');
  const again = await open('left');
  t.equal(again.pool.domainOf(address), 'a.example');
  t.equal(again.pool.size, 1);
  t.same(again.warnings, []);
  await again.pool.close();
  await pool.close();
});

void t.test('a file that another kernel has is left alone', async (t) => {
  writeFileSync(join(folder, 'taken.lock'), '1\n'); // init is always there
  const { pool, warnings } = await open('taken');
  t.match(warnings, [/in use by another kernel/]);
  pool.assign('a.example', 4);
  await pool.close();
  t.notOk(readdirSync(folder).includes('taken'));
  t.ok(readdirSync(folder).includes('taken.lock'));
});

void t.test('a second kernel of the same process goes without', async (t) => {
  const first = await open('twice');
  const address = first.pool.assign('bank.example', 4);
  const second = await open('twice');
  t.match(second.warnings, [/in use by another kernel/]);
  for (let i = 0; i < 500; i++) second.pool.assign(`${i}.example`, 4);
  await second.pool.close();
  t.ok(readdirSync(folder).includes('twice.lock'), 'the lock is not its own');
  await first.pool.close();
  t.notOk(readdirSync(folder).includes('twice.lock'));
  const third = await open('twice');
  t.equal(third.pool.domainOf(address), 'bank.example');
  t.equal(third.pool.size, 1);
  await third.pool.close();
  t.same([...first.warnings, ...third.warnings], []);
});

void t.test('a file that cannot be opened leaves no lock', async (t) => {
  mkdirSync(join(folder, 'no-file'));
  const { pool, warnings } = await open('no-file');
  t.match(warnings, [/are not kept/]);
  t.notOk(readdirSync(folder).includes('no-file.lock'));
  await pool.close();
});

void t.test('no place to write: names are assigned all the same', async (t) => {
  writeFileSync(join(folder, 'a-file'), '');
  const { pool, warnings } = await open('a-file/below');
  t.match(warnings, [/are not kept/]);
  t.ok(pool.assign('a.example', 4));
  await pool.close();
});

void t.test('the file does not grow without end, and what waits is bounded', async (t) => {
  const { pool, clock } = await open('grows', '198.18.0.1/24');
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 1_000; i++) pool.assign(`${round}-${i}.example`, 4);
    await clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.ok(statSync(join(folder, 'grows')).size < 8_192 * 30, `${statSync(join(folder, 'grows')).size} bytes for ${pool.size} names`);
  for (let i = 0; i < 100_000; i++) pool.assign(`flood-${i}-${'x'.repeat(50)}.example`, 4); // beyond what may wait
  const last = pool.assign('last.example', 4);
  await clock.advance(1_000);
  await pool.close();
  const again = await open('grows', '198.18.0.1/24');
  t.equal(again.pool.domainOf(last), 'last.example');
  t.equal(again.pool.size, pool.size);
  await again.pool.close();
});

void t.test('torn and broken files: what is whole in front is taken, nothing throws', async () => {
  const key = '198.18.0.0/16 -';
  const head = headBytes(key);
  const bytes = new Uint8Array(4096);
  bytes.set(head);
  const ends = [head.length];
  for (let i = 0; i < 20; i++) ends.push(writeRecord(bytes, ends.at(-1) ?? 0, i * 3, Buffer.from(`name-${i}.example`)));
  const whole = bytes.subarray(0, ends.at(-1));
  let number = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length), fc.nat(255), fc.boolean(), async (at, value, cut) => {
      const file = `torn-${number++}`;
      const broken = cut ? whole.slice(0, at) : Uint8Array.from(whole, (byte, i) => (i === at ? byte ^ value : byte));
      writeFileSync(join(folder, file), broken);
      const { pool, warnings } = await open(file);
      const isSame = !cut && (value === 0 || at >= whole.length);
      const expected = isSame ? 20 : at < head.length ? 0 : ends.filter((end) => end <= at).length - 1;
      assert.equal(pool.size, expected);
      assert.deepEqual(warnings, []);
      pool.assign('next.example', 4);
      await pool.close();
      const again = await open(file);
      assert.equal(again.pool.size, expected + 1, 'and it is whole again');
      await again.pool.close();
    }),
    { numRuns: 60 },
  );
});
