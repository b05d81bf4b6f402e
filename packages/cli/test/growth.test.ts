// When memory is given back without a crowd: the process has grown and rests; not while it works, not for a little, and not all the time.
import t from 'tap';
import { Growth } from '../dist/growth.js';

const IDLE = 0.01;
const BUSY = 0.9;
const MB = 2 ** 20;

/** Looks until it is time, at most so often; how many it took, null: it never was. */
function looks(growth: Growth, resident: number, busy: number, most = 100): number | null {
  for (let i = 1; i <= most; i++) if (growth.look(resident, busy)) return i;
  return null;
}

t.test('it has grown and rests', (t) => {
  const growth = new Growth();
  growth.look(100 * MB, BUSY);
  t.equal(looks(growth, 150 * MB, BUSY), null, 'works');
  t.equal(looks(growth, 150 * MB, IDLE), 30, 'rests for thirty looks on end');
  growth.left(90 * MB);
  t.equal(looks(growth, 90 * MB, IDLE), null, 'once');
  t.equal(looks(growth, 107 * MB, IDLE), null, 'a little is not worth it');
  t.equal(looks(growth, 150 * MB, IDLE), 1);
  t.end();
});

t.test('one busy look begins the rest anew', (t) => {
  const growth = new Growth();
  growth.look(100 * MB, BUSY);
  t.equal(looks(growth, 150 * MB, IDLE, 29), null);
  t.equal(looks(growth, 150 * MB, BUSY, 1), null);
  t.equal(looks(growth, 150 * MB, IDLE), 30);
  t.end();
});

t.test('a part of a large process', (t) => {
  const growth = new Growth();
  growth.look(400 * MB, IDLE);
  t.equal(looks(growth, 470 * MB, IDLE), null);
  t.equal(looks(growth, 481 * MB, IDLE), 1);
  t.end();
});

t.test('what is used stays, and is not collected again and again', (t) => {
  const growth = new Growth();
  growth.look(100 * MB, IDLE);
  t.equal(looks(growth, 200 * MB, IDLE), 29);
  growth.left(195 * MB);
  t.equal(looks(growth, 200 * MB, IDLE), null);
  t.end();
});

t.test('one who grows again at once waits', (t) => {
  const growth = new Growth();
  growth.look(100 * MB, IDLE);
  t.equal(looks(growth, 200 * MB, IDLE), 29);
  growth.left(100 * MB);
  t.equal(looks(growth, 200 * MB, IDLE), 30);
  t.end();
});

t.test('a smaller process is the new measure', (t) => {
  const growth = new Growth();
  growth.look(300 * MB, BUSY);
  growth.look(100 * MB, BUSY);
  t.equal(looks(growth, 130 * MB, IDLE), 30);
  t.end();
});
