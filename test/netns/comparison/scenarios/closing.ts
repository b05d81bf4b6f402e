/** Ends: RFC 9293 section 3.6 and the states behind ESTABLISHED; RFC 6191 and RFC 1337 (TIME-WAIT); RFC 2525 section 2.17. */
import { FLAG, type TcpOptions } from '@nekit/core/ip';
import type { Fields } from '../packets.js';
import type { Probe, Scenarios } from '../probe.js';

const { syn, ack, fin, rst, psh } = FLAG;
const FIN: Fields = { flags: ack | fin };

async function toCloseWait(p: Probe): Promise<void> {
  await p.open();
  await p.say('FIN', FIN);
  p.seq++;
}

async function toLastAck(p: Probe): Promise<void> {
  await toCloseWait(p);
  await p.watch('the application ends', () => p.app.end());
}

async function toFinWait1(p: Probe): Promise<void> {
  await p.open();
  await p.watch('the application ends', () => p.app.end());
}

async function toFinWait2(p: Probe): Promise<void> {
  await toFinWait1(p);
  await p.say('ACK', {});
}

async function toClosing(p: Probe): Promise<void> {
  await toFinWait1(p);
  await p.say('FIN, without the ACK of the other', { ...FIN, acknowledgment: p.ack - 1 });
  p.seq++;
}

async function toTimeWait(p: Probe, options?: TcpOptions): Promise<void> {
  await p.open(options);
  await p.watch('the application ends', () => p.app.end());
  await p.say('ACK', {});
  await p.say('FIN', FIN);
  p.seq++;
}

const STATES: Readonly<Record<string, (p: Probe) => Promise<void>>> = {
  'CLOSE-WAIT': toCloseWait,
  'LAST-ACK': toLastAck,
  'FIN-WAIT-1': toFinWait1,
  'FIN-WAIT-2': toFinWait2,
  CLOSING: toClosing,
  'TIME-WAIT': toTimeWait,
};

/** What each of the states is asked. The second segment shows what has become of it. */
const SEGMENTS: Readonly<Record<string, (p: Probe) => Fields>> = {
  RST: () => ({ flags: rst }),
  'RST in the window': (p) => ({ flags: rst, sequence: p.seq + 10 }),
  'RST outside of the window': (p) => ({ flags: rst, sequence: p.seq - 10 }),
  'SYN in the window': (p) => ({ flags: syn, sequence: p.seq + 10, acknowledgment: 0 }),
  'SYN outside of the window': (p) => ({ flags: syn, sequence: p.seq - 10_000, acknowledgment: 0 }),
  'an ACK of what was not sent': (p) => ({ acknowledgment: p.ack + 1_000 }),
  'an old ACK': (p) => ({ acknowledgment: p.ack - 1 }),
  text: () => ({ payload: 10 }),
  'text without ACK': () => ({ flags: psh, payload: 10 }),
  'text outside of the window': (p) => ({ payload: 10, sequence: p.seq + 1_000_000 }),
  'old text': (p) => ({ payload: 1, sequence: p.seq - 1 }),
  FIN: () => FIN,
  'the last number as FIN': (p) => ({ ...FIN, sequence: p.seq - 1 }),
  'no flag': () => ({ flags: 0 }),
  'a keep-alive probe': (p) => ({ sequence: p.seq - 1 }),
};

const inEachState: Scenarios = Object.fromEntries(
  Object.entries(STATES).flatMap(([state, reach]) =>
    Object.entries(SEGMENTS).map(([name, fieldsOf]) => [
      `${state}: ${name}`,
      async (p: Probe): Promise<void> => {
        await reach(p);
        await p.say('the segment', fieldsOf(p));
        await p.say('an ACK', {});
      },
    ]),
  ),
);

export const closing: Scenarios = {
  ...inEachState,
  'half-close: the client ends first, the application goes on': async (p) => {
    await toCloseWait(p);
    await p.watch('the application writes', () => p.app.write(100));
    await p.say('ACK', {});
    await p.watch('the application ends', () => p.app.end());
    await p.say('ACK', {});
    await p.say('one more ACK', {});
  },
  'half-close: the application ends first, the client goes on': async (p) => {
    await toFinWait2(p);
    await p.text('text', 100);
    await p.text('text', 1_000);
    await p.say('text, FIN', { flags: ack | fin, payload: 10 });
    p.seq += 11;
    await p.say('ACK', {});
  },
  'FIN with text': async (p) => {
    await p.open();
    await p.say('text, FIN', { flags: ack | fin, payload: 10 });
    p.seq += 11;
    await p.say('FIN again', { ...FIN, sequence: p.seq - 1 });
    await p.say('all again', { flags: ack | fin, payload: 10, sequence: p.seq - 11 });
  },
  'CLOSING, then the ACK': async (p) => {
    await toClosing(p);
    await p.say('ACK', {});
    await p.say('the FIN again', { ...FIN, sequence: p.seq - 1 });
  },
  'FIN with the ACK of the other': async (p) => {
    await toFinWait1(p);
    await p.say('FIN', FIN);
    p.seq++;
    await p.say('FIN again', { ...FIN, sequence: p.seq - 1 });
  },
  'TIME-WAIT: a new SYN, beyond': async (p) => {
    await toTimeWait(p);
    p.iss = p.seq + 10_000;
    await p.open();
    await p.text('text', 10);
  },
  'TIME-WAIT: a new SYN, before': async (p) => {
    await toTimeWait(p);
    await p.say('SYN', { flags: syn, sequence: p.seq - 10_000, acknowledgment: 0, options: { mss: 1_460 } });
  },
  'TIME-WAIT: a new SYN with a newer timestamp, before': async (p) => {
    await toTimeWait(p, { mss: 1_460, timestamps: { value: 1_000, echo: 0 } });
    await p.say('SYN', { flags: syn, sequence: p.seq - 10_000, acknowledgment: 0, options: { mss: 1_460, timestamps: { value: 900_000, echo: 0 } } });
  },
  'TIME-WAIT: a new SYN with an older timestamp, beyond': async (p) => {
    await toTimeWait(p, { mss: 1_460, timestamps: { value: 1_000, echo: 0 } });
    await p.say('SYN', { flags: syn, sequence: p.seq + 10_000, acknowledgment: 0, options: { mss: 1_460, timestamps: { value: 10, echo: 0 } } });
  },
  'TIME-WAIT: an old SYN, ACK': async (p) => {
    await toTimeWait(p);
    await p.say('SYN, ACK', { flags: syn | ack, sequence: p.iss });
  },
  'TIME-WAIT: old text and FIN': async (p) => {
    await toTimeWait(p);
    await p.say('text, FIN', { flags: ack | fin, payload: 10, sequence: p.seq - 11 });
  },
  'abort in ESTABLISHED': async (p) => {
    await p.open();
    await p.watch('the application aborts', () => p.app.abort());
    await p.say('ACK', {});
  },
  'abort with text in flight': async (p) => {
    await p.open();
    await p.watch('the application writes', () => p.app.write(100));
    await p.watch('the application aborts', () => p.app.abort());
  },
  'abort in CLOSE-WAIT': async (p) => {
    await toCloseWait(p);
    await p.watch('the application aborts', () => p.app.abort());
  },
  'abort in FIN-WAIT-2': async (p) => {
    await toFinWait2(p);
    await p.watch('the application aborts', () => p.app.abort());
    await p.say('text', { payload: 10 });
  },
  'close with text that was not read': async (p) => {
    p.beLazy();
    await p.open();
    await p.text('text', 100);
    await p.watch('the application closes', () => p.app.close());
    await p.say('text', { payload: 10 });
  },
  'close, and text comes after it': async (p) => {
    await p.open();
    await p.watch('the application closes', () => p.app.close());
    await p.say('text', { payload: 10 });
  },
};
