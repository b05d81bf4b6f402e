import fc from 'fast-check';
import t from 'tap';
import { SlidingWindow, WINDOW_SIZE } from '../dist/packet/sliding-window.js';

const FULL = process.env.NEKIT_FULL !== undefined;
const MAX = 2n ** 64n - 1n;

function take(window: SlidingWindow, id: bigint): boolean {
  const high = Number(id >> 32n);
  const low = Number(id & 0xffff_ffffn);
  if (!window.accepts(high, low)) return false;
  window.add(high, low);
  return true;
}

/** The same, as slow and plain as it gets. */
class NaiveWindow {
  readonly #seen = new Set<bigint>();
  #last = 0n;

  take(id: bigint): boolean {
    if (this.#seen.has(id) || id <= this.#last - BigInt(WINDOW_SIZE)) return false;
    this.#seen.add(id);
    if (id > this.#last) this.#last = id;
    return true;
  }
}

t.test('each id once, in any order, as far back as the window reaches', (t) => {
  const window = new SlidingWindow();
  const size = BigInt(WINDOW_SIZE);
  const steps: readonly (readonly [bigint, boolean])[] = [
    [0n, true],
    [0n, false],
    [1n, true],
    [1n, false],
    [9n, true],
    [8n, true],
    [7n, true],
    [7n, false],
    [size, true],
    [size - 1n, true],
    [size - 1n, false],
    [2n, true],
    [2n, false],
    [size + 16n, true],
    [17n, true],
    [16n, false],
    [3n, false],
    [size * 4n, true],
    [size * 4n - (size - 1n), true],
    [size * 4n - size, false],
    [10n, false],
    [size * 4n - 1n, true],
    [size * 4n - 1n, false],
    [2n ** 32n - 1n, true],
    [2n ** 32n, true],
    [2n ** 32n - 1n, false],
    [2n ** 32n - 2n, true],
    [2n ** 53n + 1n, true],
    [2n ** 53n, true],
    [2n ** 53n + 2n, true],
    [2n ** 53n + 1n, false],
    [MAX - 1n, true],
    [MAX, true],
    [MAX, false],
    [MAX - size, false],
    [MAX - size + 1n, true],
    [0n, false],
  ];
  for (const [id, expected] of steps) t.equal(take(window, id), expected, `${id}`);
  t.end();
});

t.test('nothing up to the last id of another window, and what comes behind as ever', (t) => {
  for (const last of [0n, 1n, 5n, 31n, 32n, 33n, BigInt(WINDOW_SIZE), 2n ** 32n - 1n, 2n ** 32n, 2n ** 32n + 40n, 2n ** 53n - 1n]) {
    const before = new SlidingWindow();
    take(before, last);
    t.equal(before.last, Number(last));
    const window = SlidingWindow.after(before.last);
    for (const behind of [0n, 1n, 30n, 32n, 64n, BigInt(WINDOW_SIZE - 1), BigInt(WINDOW_SIZE)]) {
      if (behind <= last) t.notOk(take(window, last - behind), `${last} - ${behind}`);
    }
    for (const ahead of [40n, 1n, 2n, 31n, 32n, 33n, 39n, 500n, 41n]) t.ok(take(window, last + ahead), `${last} + ${ahead}`);
    for (const ahead of [40n, 1n, 2n, 31n, 0n, 500n]) t.notOk(take(window, last + ahead), `${last} + ${ahead} again`);
  }
  for (const last of [2n ** 53n, MAX]) {
    const before = new SlidingWindow();
    take(before, last);
    const window = SlidingWindow.after(before.last);
    for (const id of [0n, last - 1n, last, MAX]) t.notOk(take(window, id), 'what a number is not exact for does not go on');
  }
  t.end();
});

t.test('asking changes nothing', (t) => {
  const window = new SlidingWindow();
  t.ok(window.accepts(5, 5));
  t.ok(window.accepts(5, 5));
  t.ok(window.accepts(0, 0));
  t.end();
});

t.test('like a set of all that came', (t) => {
  const near = fc.bigInt({ min: 0n, max: BigInt(WINDOW_SIZE) * 3n });
  const step = fc.oneof(near, fc.bigInt({ min: -40n, max: 80n }), fc.bigInt({ min: 0n, max: MAX }));
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: MAX }), fc.array(step, { maxLength: 400 }), fc.boolean(), (base, steps, relative) => {
      const window = new SlidingWindow();
      const naive = new NaiveWindow();
      let at = relative ? base : 0n;
      for (const by of steps) {
        const id = relative ? at + by : by;
        if (id < 0n || id > MAX) continue;
        if (take(window, id) !== naive.take(id)) throw new Error(`differs at ${id}`);
        if (relative) at = id;
      }
    }),
    { numRuns: FULL ? 20_000 : 500 },
  );
  t.end();
});
