import t from 'tap';
import { BoundedMap } from '../../dist/net/bounded-map.js';

t.test('what came first is forgotten first; what is set again keeps its place', async (t) => {
  const gone: string[] = [];
  const map = new BoundedMap<number, string>(3, null, (value) => gone.push(value));
  for (const key of [1, 2, 3]) map.set(key, `${key}`);
  map.set(1, 'one').set(4, '4').set(2, 'two').set(5, '5');
  t.strictSame([...map.values()], ['3', '4', '5']);
  t.strictSame(gone, ['one', 'two']);
  map.delete(3);
  map.set(6, '6');
  t.strictSame([...map.keys()], [4, 5, 6]);
  t.strictSame(gone, ['one', 'two'], 'what is deleted has not been forgotten');
});

t.test('maps with a shared bound: beyond it each keeps its last few, and nothing is counted that has gone', async (t) => {
  const all = { now: 0, most: 40 };
  const maps = Array.from({ length: 10 }, () => new BoundedMap<number, number>(30, all));
  const [first, second] = maps;
  for (let key = 0; key < 100; key++) first?.set(key, key);
  t.equal(first?.size, 30);
  for (let key = 0; key < 100; key++) second?.set(key, key);
  t.equal(second?.size, 10);
  t.equal(all.now, 40);
  for (const map of maps.slice(2)) for (let key = 0; key < 100; key++) map.set(key, key);
  t.ok(maps.slice(2).every((map) => map.size === 8 && map.has(99) && map.has(92)));
  t.equal(all.now, 40 + 8 * 8);
  t.equal(first?.delete(99), true);
  t.equal(first?.delete(99), false);
  t.equal(all.now, 40 + 8 * 8 - 1);
  for (const map of maps) map.clear();
  t.equal(all.now, 0);
});
