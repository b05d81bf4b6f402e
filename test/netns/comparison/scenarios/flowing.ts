/** What goes out: windows (RFC 9293 section 3.8.6), retransmission (RFC 6298, RFC 5681), segment sizes. */
import { FLAG, type TcpOptions } from '@nekit/core/ip';
import type { Scenarios } from '../probe.js';

const { ack, fin } = FLAG;
const SACK: TcpOptions = { mss: 1_000, sackPermitted: true };

export const flowing: Scenarios = {
  'sending: text': async (p) => {
    await p.open();
    await p.watch('10', () => p.app.write(10));
    await p.say('ACK', {});
    await p.watch('1,400', () => p.app.write(1_400));
    await p.say('ACK', {});
  },
  'sending: no more than the MSS': async (p) => {
    await p.open({ mss: 500 });
    await p.watch('1,200', () => p.app.write(1_200));
  },
  'sending: no more than 536 or 1,220 without the option': async (p) => {
    await p.open({});
    await p.watch('1,300', () => p.app.write(1_300));
  },
  'sending: no more than the window': async (p) => {
    p.window = 1_000;
    await p.open();
    await p.watch('2,500', () => p.app.write(2_500));
    await p.say('ACK', {});
    await p.say('ACK', {});
  },
  'sending: a closed window, and what opens it': async (p) => {
    await p.open();
    await p.watch('100', () => p.app.write(100));
    await p.say('ACK, window 0', { window: 0 });
    await p.watch('the application writes', () => p.app.write(100));
    await p.say('the window opens', {});
  },
  'sending: a window that is closed in the handshake': async (p) => {
    p.window = 0;
    await p.open();
    await p.watch('100', () => p.app.write(100));
    p.window = 65_535;
    await p.say('the window opens', {});
  },
  'sending: a probe of a closed window': async (p) => {
    p.keepsRepeats = true;
    await p.open();
    await p.say('window 0', { window: 0 });
    await p.watch('the application writes, and 0.7 s pass', () => p.app.write(100), 700);
  },
  'sending: a window that shrinks': async (p) => {
    p.window = 3_000;
    await p.open({ mss: 1_000 });
    await p.watch('5,000', () => p.app.write(5_000));
    await p.say('ACK of 1,000, window 500', { acknowledgment: p.irs + 1_001, window: 500 });
    await p.say('ACK of all, window 3,000', {});
  },
  'sending: FIN does not wait for a closed window': async (p) => {
    await p.open();
    await p.say('window 0', { window: 0 });
    await p.watch('the application ends', () => p.app.end());
    await p.say('the window opens', {});
  },
  'sending: FIN with the last text': async (p) => {
    await p.open();
    await p.watch('text and the end', () => {
      p.app.write(100);
      p.app.end();
    });
  },
  'sending: nothing is acknowledged': async (p) => {
    p.keepsRepeats = true;
    await p.open({ mss: 1_460 });
    await p.watch('100', () => p.app.write(100), 100);
    await p.say('ACK', { acknowledgment: p.irs + 101 });
  },
  'sending: SACK of what was never sent': async (p) => {
    await p.open(SACK);
    await p.watch('100', () => p.app.write(100));
    await p.say('SACK beyond', { acknowledgment: p.irs + 1, options: { sack: [[p.irs + 5_000, p.irs + 6_000]] } });
    await p.say('SACK turned round', { acknowledgment: p.irs + 1, options: { sack: [[p.irs + 50, p.irs + 10]] } });
    await p.say('ACK', {});
  },
  'sending: the ACK comes with text': async (p) => {
    await p.open();
    await p.watch('100', () => p.app.write(100));
    await p.text('text', 100);
    await p.watch('100', () => p.app.write(100));
    await p.say('FIN', { flags: ack | fin });
  },
  'sending: an MSS of 1': async (p) => {
    await p.open({ mss: 1 });
    await p.watch('48', () => p.app.write(48));
  },
};
