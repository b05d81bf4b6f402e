import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { NamePool } from '../../dist/fake-ip/name-pool.js';

const assign = (pool: NamePool, name: string): number => {
  const bytes = Buffer.from(`..${name}..`);
  return pool.assign(bytes, 2, bytes.length - 2);
};
const find = (pool: NamePool, name: string): number => pool.find(Buffer.from(name), 0, name.length);

/** The plain thing: a Map in the order of use. */
class Model {
  readonly byName = new Map<string, number>();
  touch(name: string): number | undefined {
    const index = this.byName.get(name);
    if (index === undefined) return undefined;
    this.byName.delete(name);
    this.byName.set(name, index);
    return index;
  }
}

void t.test('random use against a plain model: one to one, least recently used recycled, held ones last', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer(),
      fc.array(fc.record({ what: fc.integer({ min: 0, max: 12 }), name: fc.integer({ min: 0, max: 25 }) }), { maxLength: 200 }),
      (capacity, seed, steps) => {
        const recycled: string[] = [];
        const pool = new NamePool(capacity, seed);
        const model = new Model();
        const held = new Map<string, () => void>();
        for (const { what, name: number } of steps) {
          const name = `${'x'.repeat(number * 9)}${number}.test`;
          if (what < 6) {
            const expected = model.touch(name);
            const isFull = expected === undefined && model.byName.size === capacity;
            for (let i = 0; isFull && i < held.size && held.has([...model.byName.keys()][0] ?? ''); i++) model.touch([...model.byName.keys()][0] ?? '');
            const oldest = isFull ? [...model.byName.keys()][0] : undefined;
            recycled.length = 0;
            const index = assign(pool, name);
            if (expected !== undefined) assert.equal(index, expected);
            else {
              if (oldest !== undefined) {
                assert.deepEqual(recycled, held.has(oldest) ? [oldest] : [], 'who holds it is told');
                held.delete(oldest);
                assert.equal(index, model.byName.get(oldest));
                model.byName.delete(oldest);
              } else assert.ok(![...model.byName.values()].includes(index));
              model.byName.set(name, index);
            }
          } else if (what < 8) {
            const entry = [...model.byName].find(([, index]) => index === number % capacity);
            assert.equal(pool.nameOf(number % capacity), entry?.[0] ?? null);
            if (entry !== undefined) model.touch(entry[0]);
          } else if (what === 8) assert.equal(find(pool, name), model.byName.get(name) ?? -1);
          else if (what === 10 || what === 11) {
            const index = model.byName.get(name);
            if (index !== undefined && !held.has(name))
              held.set(
                name,
                pool.hold(index, () => recycled.push(name)),
              );
          } else if (what === 12) {
            held.get(name)?.();
            held.delete(name);
          } else {
            const index = number % capacity;
            const bytes = Buffer.from(name);
            pool.restore(index, bytes, 0, bytes.length);
            if (model.byName.get(name) === index) model.touch(name);
            else {
              recycled.length = 0;
              for (const [other, at] of [...model.byName]) {
                if (at !== index && other !== name) continue;
                model.byName.delete(other);
                held.delete(other);
              }
              model.byName.set(name, index);
            }
          }
          assert.equal(pool.size, model.byName.size);
        }
        const order: string[] = [];
        pool.forEach((_, bytes) => {
          order.push(Buffer.from(bytes).toString());
        });
        assert.deepEqual(order, [...model.byName.keys()]);
      },
    ),
    { numRuns: process.env.NEKIT_FULL === undefined ? 500 : 5_000 },
  );
});

void t.test('names keep their number without any memory, as long as it is free', async () => {
  const [one, other] = [new NamePool(65_531, 1), new NamePool(65_531, 2)];
  let same = 0;
  for (let i = 0; i < 2_000; i++) if (assign(one, `host${i}.example`) === assign(other, `host${1_999 - i}.example`)) same++;
  for (let i = 0; i < 2_000; i++) if (find(one, `host${i}.example`) === find(other, `host${i}.example`)) same++;
  assert.ok(same > 1_900, `${same} of 2,000`);
});

void t.test('a /15 full of names: memory, and both ways right', async () => {
  const capacity = (1 << 17) - 5;
  const pool = new NamePool(capacity, 3);
  const nameOf = (i: number): string => `${'sub.'.repeat(i % 55)}${i}.example.com`.slice(0, 253);
  for (let i = 0; i < capacity; i++) assign(pool, nameOf(i));
  assert.equal(pool.size, capacity);
  assert.ok(pool.memory <= 40 * 1024 * 1024, `${pool.memory} bytes`);
  for (let i = 0; i < capacity; i += 97) assert.equal(pool.nameOf(find(pool, nameOf(i))), nameOf(i));
  assign(pool, 'one.more');
  assert.equal(pool.size, capacity);
  pool.clear();
  assert.equal(pool.size, 0);
  assert.equal(pool.nameOf(0), null);
  assert.equal(find(pool, 'one.more'), -1);
});
