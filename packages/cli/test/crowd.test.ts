// When memory is given back: a crowd that has come and rests, a crowd that has gone; never while it comes, works, or changes only a little.
import t from 'tap';
import { Crowd } from '../dist/crowd.js';

const IDLE = 0.01;
const BUSY = 0.9;

t.test('a crowd has come and rests', (t) => {
  const crowd = new Crowd();
  t.notOk(crowd.look(5_000, BUSY), 'comes');
  t.notOk(crowd.look(9_000, IDLE), 'still comes');
  t.notOk(crowd.look(9_000, BUSY), 'works');
  t.ok(crowd.look(9_000, IDLE));
  for (let i = 0; i < 5; i++) t.notOk(crowd.look(9_000, IDLE), 'once');
  t.notOk(crowd.look(10_000, IDLE));
  t.notOk(crowd.look(10_000, IDLE), 'a few more are no new crowd');
  t.notOk(crowd.look(14_000, IDLE));
  t.ok(crowd.look(14_000, IDLE), 'half as many again are');
  t.end();
});

t.test('a crowd has gone', (t) => {
  const crowd = new Crowd();
  crowd.look(600, BUSY);
  t.notOk(crowd.look(100, BUSY));
  t.ok(crowd.look(30, BUSY), 'whatever the loop does');
  t.notOk(crowd.look(20, IDLE), 'once');
  t.notOk(crowd.look(600, BUSY));
  t.ok(crowd.look(600, IDLE), 'the next one');
  t.ok(crowd.look(0, IDLE));
  t.end();
});

t.test('few are no crowd', (t) => {
  const crowd = new Crowd();
  for (const connections of [499, 499, 0, 0, 499, 499]) t.notOk(crowd.look(connections, IDLE));
  t.end();
});
