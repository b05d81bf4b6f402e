import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { FakeClock } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { METHODS } from '../../dist/method.js';
import { RecentFilter, replayFilter, TimedFilter } from '../../dist/server/replay-filter.js';
import { SaltSet } from '../../dist/server/salt-set.js';

const hex = (salt: Uint8Array): string => Buffer.from(salt).toString('hex');

void t.test('a set of salts is a set', async (t) => {
  for (const length of [8, 12, 16, 32]) {
    await t.test(`${length} bytes`, () => {
      // Few different bytes, so that many are equal, and zeros are among them.
      const salt = fc.uint8Array({ minLength: length, maxLength: length, max: 1 }).map((bytes) => bytes.map((byte, i) => (i % 5 === 0 ? byte : 0)));
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.boolean(), salt), { maxLength: 400 }), (steps) => {
          const set = new SaltSet(length);
          const model = new Set<string>();
          for (const [adds, bytes] of steps) {
            const known = model.has(hex(bytes));
            assert.equal(set.has(bytes), known);
            if (!adds) continue;
            assert.equal(set.add(bytes), !known);
            model.add(hex(bytes));
            assert.equal(set.size, model.size);
          }
        }),
        { numRuns: 200 },
      );
      return Promise.resolve();
    });
  }

  await t.test('100,000 salts, at any offset in a larger array, cost what they say', () => {
    const set = new SaltSet(16);
    const all = randomBytes(100_000 * 16 + 3);
    for (let i = 0; i < 100_000; i++) assert.equal(set.add(all.subarray(3 + i * 16, 19 + i * 16)), true);
    for (let i = 0; i < 100_000; i++) assert.equal(set.has(all.subarray(3 + i * 16, 19 + i * 16)), true);
    for (let i = 0; i < 10_000; i++) assert.equal(set.has(randomBytes(16)), false);
    assert.equal(set.size, 100_000);
    assert.equal(set.footprint, 262_144 * 16); // the power of two above 4/3 of them
    return Promise.resolve();
  });
});

void t.test('SIP022: salts are known for as long as a timestamp is good, and then forgotten', async (t) => {
  const clock = new FakeClock();
  const filter = new TimedFilter(16, clock);
  const salt = randomBytes(16);
  assert.equal(filter.admit(salt), 'new');
  assert.equal(filter.admit(salt), 'known');
  await clock.advance(61_000);
  assert.equal(filter.admit(salt), 'known');
  const later = randomBytes(16);
  await clock.advance(2_900);
  assert.equal(filter.admit(later), 'new'); // the last moment of its generation
  await clock.advance(61_000);
  assert.equal(filter.admit(later), 'known');
  await clock.advance(128_000);
  assert.equal(filter.admit(later), 'new');
  assert.equal(filter.size, 1);

  await t.test('with a connection every second none can be repeated for 61 s', async () => {
    const clock = new FakeClock();
    const filter = new TimedFilter(32, clock);
    const seen: Uint8Array[] = [];
    for (let second = 0; second < 400; second++) {
      const fresh = randomBytes(32);
      assert.equal(filter.admit(fresh), 'new');
      seen.push(fresh);
      for (const [i, old] of seen.entries()) if (second - i <= 61) assert.equal(filter.admit(old), 'known');
      assert.ok(filter.size <= 130, 'it forgets');
      await clock.advance(1_000);
    }
  });

  await t.test('without room it refuses what is new, and forgets nothing', async () => {
    const clock = new FakeClock();
    const filter = new TimedFilter(16, clock, 3);
    const salts = Array.from({ length: 5 }, () => randomBytes(16));
    assert.deepEqual(
      salts.map((salt) => filter.admit(salt)),
      ['new', 'new', 'new', 'full', 'full'],
    );
    assert.deepEqual(
      salts.map((salt) => filter.admit(salt)),
      ['known', 'known', 'known', 'full', 'full'],
    );
    await clock.advance(64_000);
    assert.deepEqual(
      salts.map((salt) => filter.admit(salt)),
      ['known', 'known', 'known', 'new', 'new'],
    );
  });

  await t.test('what we send needs not be remembered', () => {
    filter.record();
    assert.equal(filter.size, 1);
    return Promise.resolve();
  });
});

void t.test('SIP004: the last salts are known, ours too', (t) => {
  const filter = new RecentFilter(32, 1000);
  const salts = Array.from({ length: 5000 }, () => randomBytes(32));
  for (const [i, salt] of salts.entries()) {
    if (i % 2 === 0) assert.equal(filter.admit(salt), 'new');
    else filter.record(salt);
    assert.ok(filter.size <= 2000);
  }
  for (const salt of salts.slice(-1000)) assert.equal(filter.admit(salt), 'known');
  assert.equal(filter.admit(salts[0] ?? assert.fail()), 'new');
  assert.ok(filter.footprint <= 2 * 2048 * 8);
  t.end();
});

void t.test('every method has the filter that suits it', (t) => {
  const clock = new FakeClock();
  for (const [name, method] of METHODS) {
    const filter = replayFilter(method, clock);
    const salt = randomBytes(32);
    assert.equal(filter.admit(salt), 'new', name);
    assert.equal(filter.admit(salt), name === 'none' ? 'new' : 'known', name);
  }
  t.end();
});
