// Reno, CUBIC and HyStart++ by themselves.
import t from 'tap';
import type { Congestion } from '../dist/congestion/congestion.js';
import { Cubic } from '../dist/congestion/cubic.js';
import { HyStart } from '../dist/congestion/hystart.js';
import { Reno } from '../dist/congestion/reno.js';

t.test('Reno and CUBIC', (t) => {
  const controls: Congestion[] = [new Reno(1_000, true), new Cubic(1_000, true)];
  for (const control of controls) {
    t.equal(control.window, 10_000);
    control.acknowledged(10_000, 0, 10, 10, false);
    t.equal(control.window, 20_000, 'slow start');
    control.lost(20_000, 0);
    t.equal(control.window, control instanceof Reno ? 10_000 : 14_000);
    t.equal(control.window, control.threshold);
    const after = control.window;
    let now = 0;
    for (let round = 0; round < 20; round++) {
      now += 100;
      control.acknowledged(control.window, now, 100, 100, false);
    }
    t.ok(control.window > after && control.window < after + 45_000, `${control.window}`);
    control.timedOut(control.window, false);
    t.equal(control.window, 1_000, 'the loss window');
    const { threshold } = control;
    control.timedOut(1_000, true);
    t.equal(control.threshold, threshold, 'once per loss');
    for (let i = 0; i < 10; i++) control.acknowledged(100_000, now, 100, 100, false);
    control.idle();
    t.equal(control.window, 10_000, 'after silence');
  }
  t.end();
});

t.test('Reno: a segment more per window that is acknowledged, however many ACKs that takes: RFC 5681 section 3.1', (t) => {
  const reno = new Reno(1_000, true);
  reno.lost(20_000);
  reno.window = reno.threshold = 10_000;
  const windows: number[] = [];
  for (let i = 0; i < 33; i++) {
    reno.acknowledged(1_000, 0, 10, 10, false);
    windows.push(reno.window);
  }
  t.strictSame(windows, [...new Array<number>(9).fill(10_000), ...new Array<number>(11).fill(11_000), ...new Array<number>(12).fill(12_000), 13_000]);
  t.end();
});

t.test(
  'CUBIC: the window follows its curve, below the plateau and beyond; the next one is lower where a loss comes earlier: RFC 9438 sections 4.2 and 4.7',
  (t) => {
    const RTT = 200;
    const follow = (cubic: Cubic, start: number, plateau: number, seconds: number): void => {
      const k = Math.cbrt((plateau - start) / 0.4);
      for (let ms = 0; ms <= seconds * 1_000; ms += RTT) {
        cubic.acknowledged(cubic.window, 5_000 + ms, RTT, RTT, false);
        const expected = 0.4 * ((ms + RTT) / 1_000 - k) ** 3 + plateau;
        t.ok(Math.abs(cubic.window / 1_000 - expected) < 0.1, `${cubic.window} after ${ms} ms, ${expected} segments`);
      }
    };
    const cubic = new Cubic(1_000, true);
    cubic.window = 100_000;
    cubic.lost(100_000);
    t.equal(cubic.window, 70_000);
    follow(cubic, 70, 100, 9);
    cubic.window = 80_000;
    cubic.lost(80_000);
    t.equal(cubic.window, 56_000);
    follow(cubic, 56, 80 * 0.85, 4);
    t.end();
  },
);

t.test('Reno: what limited transmit has sent does not count: RFC 5681 section 3.2, step 2', async (t) => {
  const reno = new Reno(1_000, true);
  reno.lost(12_000);
  t.equal(reno.threshold, 5_000, 'ten segments and two beyond the window');
  const narrow = new Reno(1_000, true);
  narrow.lost(4_000);
  t.equal(narrow.threshold, 2_000, 'a window that is not used does not count either');
});

t.test('a timeout that was too early is taken back without a burst (RFC 4015, RFC 9438 section 4.9)', (t) => {
  // The second of CUBIC is beyond the plateau of its curve, the first is where Reno would be faster.
  const pairs: [Congestion, Congestion, window: number, rounds: number][] = [
    [new Reno(1_000, true), new Reno(1_000, true), 20_000, 30],
    [new Cubic(1_000, true), new Cubic(1_000, true), 20_000, 3],
    [new Cubic(1_000, true), new Cubic(1_000, true), 1_000_000, 150],
  ];
  for (const [control, twin, window, rounds] of pairs) {
    const both = (act: (each: Congestion) => void): void => [control, twin].forEach(act);
    both((each) => {
      each.window = window;
      each.lost(window, 0);
    });
    let now = 0;
    for (let round = 0; round < rounds; round++, now += 100) both((each) => each.acknowledged(each.window, now, 100, 100, false));
    const full = control.window;
    t.notOk(control.canUndo);
    control.timedOut(full, false);
    control.timedOut(full, true);
    t.ok(control.canUndo);
    control.undo(4_000, 1_000);
    t.equal(control.window, 6_000, 'in flight, and two segments');
    t.ok(control.threshold >= full - 1 && full < control.threshold + 1, 'slow start up to where it was');
    t.notOk(control.canUndo, 'once');
    control.window = full;
    for (let round = 0; round < 30; round++, now += 100) both((each) => each.acknowledged(each.window, now, 100, 100, false));
    t.equal(control.window, twin.window, 'as if nothing had been');
    control.timedOut(full, false);
    control.undo(2_000_000, 1_000_000);
    t.equal(control.window, twin.window, 'never more than before');
    for (const spoil of [(): void => control.lost(5_000, now), (): void => control.resize(1_000)]) {
      control.timedOut(5_000, false);
      spoil();
      t.notOk(control.canUndo, 'a loss, or another size, since then');
      const { window, threshold } = control;
      control.undo(50_000, 1_000);
      t.match(control, { window, threshold });
    }
  }
  t.end();
});

t.test('HyStart++: slow start ends by the delay (RFC 9406)', async (t) => {
  const MSS = 1_000;
  /** Rounds with so many ACKs each; what the window has grown by in each of them. */
  const rounds = (hystart: HyStart, rtts: readonly number[], acks = 10): number[] =>
    rtts.map((rtt) => {
      let grown = 0;
      for (let i = 0; i < acks; i++) grown += hystart.grow(MSS, MSS, rtt + (i % 3), i === 0);
      return grown;
    });
  const steady = new HyStart();
  t.strictSame(rounds(steady, [50, 50, 52, 51, 53, 50, 51, 52, 50]), new Array<number>(9).fill(10_000), 'jitter is no queue');
  t.notOk(steady.isOver);

  const queue = new HyStart();
  const grown = rounds(queue, [50, 50, 60, 60, 60, 60, 60]);
  t.strictSame(grown.slice(0, 2), [10_000, 10_000]);
  t.equal(grown[2], 7 * 1_000 + 3 * 250, 'with the eighth round trip it is known');
  t.strictSame(grown.slice(3), [2_500, 2_500, 2_500, 2_500], 'a quarter');
  t.notOk(queue.isOver);
  rounds(queue, [60]);
  t.ok(queue.isOver, 'after five rounds it ends');

  const jitter = new HyStart();
  t.strictSame(rounds(jitter, [50, 60, 60, 50, 50]).slice(3), [7 * 250 + 3 * 1_000, 10_000], 'shorter again: it was only jitter');
  t.notOk(jitter.isOver);

  t.strictSame(rounds(new HyStart(), [10, 40, 90], 5), [5_000, 5_000, 5_000], 'too few to judge by');
  t.equal(rounds(new HyStart(), [1, 4, 4])[1], 10_000, 'less than 4 ms is noise');
  for (const [rtt, rise] of [
    [8, 4],
    [64, 8],
    [120, 15],
    [400, 16],
  ] as const) {
    t.equal(rounds(new HyStart(), [rtt, rtt + rise - 1])[1], 10_000, `${rise - 1} ms more than ${rtt} are jitter`);
    t.equal(rounds(new HyStart(), [rtt, rtt + rise])[1], 7 * 1_000 + 3 * 250, `${rise} ms are a queue`);
  }

  for (const control of [new Cubic(MSS, true), new Reno(MSS, true)]) {
    for (let round = 0; round < 12; round++) for (let i = 0; i < 10; i++) control.acknowledged(MSS, round * 60, 50, round < 3 ? 50 : 80, i === 0);
    t.ok(control.threshold < 1 << 20, `slow start is over at ${control.threshold}`);
  }
});
