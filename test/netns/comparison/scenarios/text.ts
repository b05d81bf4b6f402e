/** What comes in: RFC 9293 section 3.10.7.4 (seventh), RFC 2018, RFC 2883, keep-alive (3.8.4), urgent (3.8.5), zero windows (3.8.6). */
import { FLAG, type TcpOptions } from '@nekit/core/ip';
import type { Probe, Scenarios } from '../probe.js';

const { ack, fin, psh, urg } = FLAG;
const SACK: TcpOptions = { mss: 1_460, sackPermitted: true };

/** Text until the window is closed. */
async function fill(p: Probe): Promise<void> {
  for (let left = 60; left > 0; left--) {
    const before = p.lastWindow;
    const length = Math.min(1_400, before);
    if (length === 0) break;
    p.send({ payload: length });
    p.seq += length;
    for (let tries = 0; tries < 20 && p.lastWindow === before; tries++) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { record } = p;
  const steps = record.length;
  await p.watch('filled', () => {});
  record.length = steps; // how much there was room for, and how many ACKs there were, is not what is compared
  p.iss = p.seq - 1;
}

export const text: Scenarios = {
  'text: in order': async (p) => {
    await p.open();
    await p.text('10', 10);
    await p.text('1,400', 1_400);
    await p.text('one more', 1, { flags: ack | psh });
  },
  'text: two segments at once': async (p) => {
    await p.open();
    await p.say('two', { payload: 1_400 }, { payload: 1_400, sequence: p.seq + 1_400 });
  },
  'text: all of it again': async (p) => {
    await p.open();
    await p.text('text', 100);
    await p.say('again', { payload: 100, sequence: p.seq - 100 });
  },
  'text: all of it again, with SACK': async (p) => {
    await p.open(SACK);
    await p.text('text', 100);
    await p.say('again', { payload: 100, sequence: p.seq - 100 });
  },
  'text: a part of it again': async (p) => {
    await p.open(SACK);
    await p.text('text', 100);
    await p.say('50 old, 50 new', { payload: 100, sequence: p.seq - 50 });
  },
  'text: a hole': async (p) => {
    await p.open();
    await p.say('behind a hole', { payload: 100, sequence: p.seq + 100 });
    await p.say('the hole', { payload: 100 });
  },
  'text: a hole, with SACK': async (p) => {
    await p.open(SACK);
    await p.say('behind a hole', { payload: 100, sequence: p.seq + 100 });
    await p.say('the same', { payload: 100, sequence: p.seq + 100 });
    await p.say('the hole', { payload: 100 });
  },
  'text: five holes, with SACK': async (p) => {
    await p.open(SACK);
    for (let i = 1; i <= 5; i++) await p.say(`island ${i}`, { payload: 100, sequence: p.seq + i * 200 });
    await p.say('the second again', { payload: 100, sequence: p.seq + 400 });
    await p.say('between one and two', { payload: 100, sequence: p.seq + 300 });
  },
  'text: four holes, with SACK and timestamps': async (p) => {
    await p.open({ ...SACK, timestamps: { value: 100, echo: 0 } });
    for (let i = 1; i <= 4; i++) await p.say(`island ${i}`, { payload: 100, sequence: p.seq + i * 200 });
  },
  'text: overlapping islands': async (p) => {
    await p.open(SACK);
    await p.say('island', { payload: 100, sequence: p.seq + 100 });
    await p.say('over its end', { payload: 100, sequence: p.seq + 150 });
    await p.say('over its begin', { payload: 100, sequence: p.seq + 50 });
    await p.say('the rest and all of it', { payload: 400 });
  },
  'text: beyond the right edge': async (p) => {
    await p.open();
    await p.say('a part is in the window', { payload: 1_400, sequence: p.seq + p.lastWindow - 700 });
  },
  'FIN behind a hole': async (p) => {
    await p.open(SACK);
    await p.say('FIN', { flags: ack | fin, sequence: p.seq + 100 });
    await p.say('the hole', { payload: 100 });
  },
  'text with FIN behind a hole': async (p) => {
    await p.open(SACK);
    await p.say('text, FIN', { flags: ack | fin, payload: 50, sequence: p.seq + 100 });
    await p.say('the hole', { payload: 100 });
  },
  'keep-alive: nothing, one before': async (p) => {
    await p.open();
    await p.say('probe', { sequence: p.seq - 1 });
  },
  'keep-alive: one byte, one before': async (p) => {
    await p.open();
    await p.say('probe', { sequence: p.seq - 1, payload: 1 });
  },
  'keep-alive: after text, with SACK': async (p) => {
    await p.open(SACK);
    await p.text('text', 100);
    await p.say('probe', { sequence: p.seq - 1 });
    await p.say('probe with a byte', { sequence: p.seq - 1, payload: 1 });
  },
  'urgent: at the end': async (p) => {
    await p.open();
    await p.text('text', 10, { flags: ack | urg, urgent: 10 });
  },
  'urgent: in the middle': async (p) => {
    await p.open();
    await p.text('text', 10, { flags: ack | urg, urgent: 5 });
    await p.text('text', 10);
  },
  'urgent: beyond the segment': async (p) => {
    await p.open();
    await p.text('text', 10, { flags: ack | urg, urgent: 60_000 });
    await p.text('text', 10);
  },
  'urgent: pointer 0': async (p) => {
    await p.open();
    await p.text('text', 10, { flags: ack | urg });
  },
  'urgent: without text': async (p) => {
    await p.open();
    await p.say('URG', { flags: ack | urg, urgent: 1 });
  },
  'a closed window: probes, and what opens it': async (p) => {
    p.beLazy();
    await p.open();
    await fill(p);
    await p.say('a probe of one byte', { payload: 1 });
    await p.say('a probe without text', { sequence: p.seq - 1 });
    await p.say('a full segment', { payload: 1_400 });
    await p.say('RST far beyond', { flags: FLAG.rst, sequence: p.seq + 1_000 });
    await p.watch('the application reads', () => p.app.read());
    await p.text('text', 10);
  },
  'a closed window: FIN': async (p) => {
    p.beLazy();
    await p.open();
    await fill(p);
    await p.say('FIN', { flags: ack | fin });
    await p.watch('the application reads', () => p.app.read());
  },
  'a closed window: RST': async (p) => {
    p.beLazy();
    await p.open();
    await fill(p);
    await p.say('RST', { flags: FLAG.rst });
    await p.say('ACK', {});
  },
};
