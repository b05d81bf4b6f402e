/** RFC 5927, RFC 1191, RFC 8201; RFC 9293 section 3.9.2.2. */
import type { Probe, Scenarios } from '../probe.js';

/** Type and code of both families. */
type Message = readonly [type4: number, code4: number, type6: number, code6: number];
const TOO_BIG: Message = [3, 4, 2, 0];
const HOST: Message = [3, 1, 1, 3];
const PORT: Message = [3, 3, 1, 4];
const ADMIN: Message = [3, 13, 1, 1];
const TIME_EXCEEDED: Message = [11, 0, 3, 0];
const PARAMETER: Message = [12, 0, 4, 1];

function report(p: Probe, [type4, code4, type6, code6]: Message, rest: number, sequence: number): void {
  if (p.family === 4) p.icmp(type4, code4, rest, sequence);
  else p.icmp(type6, code6, rest, sequence);
}

/** Text is in flight; the message is about it. */
const inFlight =
  (message: Message, offset = 1, rest = 0) =>
  async (p: Probe): Promise<void> => {
    await p.open();
    await p.watch('1,400', () => p.app.write(1_400));
    await p.watch('ICMP', () => report(p, message, rest, p.irs + offset), 60);
    await p.text('text, and the ACK', 10);
    await p.watch('the application writes', () => p.app.write(1_400));
  };

const inHandshake =
  (message: Message) =>
  async (p: Probe): Promise<void> => {
    await p.syn();
    await p.watch('ICMP', () => report(p, message, 0, p.irs));
    await p.say('ACK', {});
    await p.text('text', 10);
  };

export const icmp: Scenarios = {
  'ICMP: too big, in flight': inFlight(TOO_BIG, 1, 1_300),
  'ICMP: too big, not in flight': inFlight(TOO_BIG, 100_000, 1_300),
  'ICMP: too big, acknowledged long ago': inFlight(TOO_BIG, -1_000, 1_300),
  'ICMP: too big, of a larger MTU': inFlight(TOO_BIG, 1, 9_000),
  'ICMP: too big, of an MTU of 68': inFlight(TOO_BIG, 1, 68),
  'ICMP: host unreachable': inFlight(HOST),
  'ICMP: port unreachable': inFlight(PORT),
  'ICMP: prohibited': inFlight(ADMIN),
  'ICMP: time exceeded': inFlight(TIME_EXCEEDED),
  'ICMP: parameter problem': inFlight(PARAMETER),
  'ICMP in SYN-RECEIVED: host unreachable': inHandshake(HOST),
  'ICMP in SYN-RECEIVED: port unreachable': inHandshake(PORT),
};
