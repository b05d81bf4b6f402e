/** RFC 5961: what one outside of the path can send; RFC 9293 table 6. */
import { FLAG } from '@nekit/core/ip';
import type { Fields } from '../packets.js';
import type { Probe, Scenarios } from '../probe.js';

const { syn, ack, fin, rst, psh } = FLAG;

/** In ESTABLISHED, after some text both ways: one segment, and text that shows whether the connection stands. */
const segment =
  (fieldsOf: (p: Probe) => Fields) =>
  async (p: Probe): Promise<void> => {
    await p.open();
    await p.text('text', 100);
    await p.watch('the application writes', () => p.app.write(100));
    await p.say('ACK', {});
    await p.say('the segment', fieldsOf(p));
    await p.text('text', 10);
  };

/** The same twice at once: how often is it answered? */
const twice =
  (fieldsOf: (p: Probe) => Fields) =>
  async (p: Probe): Promise<void> => {
    await p.open();
    await p.say('the segment, twice', fieldsOf(p), fieldsOf(p));
  };

export const intruders: Scenarios = {
  'ESTABLISHED: RST': segment(() => ({ flags: rst })),
  'ESTABLISHED: RST, ACK': segment(() => ({ flags: rst | ack })),
  'ESTABLISHED: RST, ACK of anything': segment((p) => ({ flags: rst | ack, acknowledgment: p.ack + 100_000 })),
  'ESTABLISHED: RST with text': segment(() => ({ flags: rst, payload: 10 })),
  'ESTABLISHED: RST one beyond': segment((p) => ({ flags: rst, sequence: p.seq + 1 })),
  'ESTABLISHED: RST in the window': segment((p) => ({ flags: rst, sequence: p.seq + 1_000 })),
  'ESTABLISHED: RST one before': segment((p) => ({ flags: rst, sequence: p.seq - 1 })),
  'ESTABLISHED: RST far beyond the window': segment((p) => ({ flags: rst, sequence: p.seq + 1_000_000 })),
  'ESTABLISHED: SYN at the next number': segment(() => ({ flags: syn })),
  'ESTABLISHED: SYN in the window': segment((p) => ({ flags: syn, sequence: p.seq + 1_000 })),
  'ESTABLISHED: SYN outside of the window': segment((p) => ({ flags: syn, sequence: p.seq + 1_000_000 })),
  'ESTABLISHED: the first SYN again': segment((p) => ({ flags: syn, sequence: p.iss, acknowledgment: 0 })),
  'ESTABLISHED: SYN, ACK': segment((p) => ({ flags: syn | ack, sequence: p.iss })),
  'ESTABLISHED: SYN with text': segment(() => ({ flags: syn, payload: 10 })),
  'ESTABLISHED: SYN, RST': segment(() => ({ flags: syn | rst })),
  'ESTABLISHED: SYN, FIN': segment(() => ({ flags: syn | fin })),
  'ESTABLISHED: no flag': segment(() => ({ flags: 0 })),
  'ESTABLISHED: text without ACK': segment(() => ({ flags: psh, payload: 10 })),
  'ESTABLISHED: FIN without ACK': segment(() => ({ flags: fin })),
  'ESTABLISHED: an ACK of what was not sent': segment((p) => ({ acknowledgment: p.ack + 1_000 })),
  'ESTABLISHED: text with an ACK of what was not sent': segment((p) => ({ acknowledgment: p.ack + 1_000, payload: 10 })),
  'ESTABLISHED: an old ACK': segment((p) => ({ acknowledgment: p.ack - 50 })),
  'ESTABLISHED: text with an old ACK': segment((p) => ({ acknowledgment: p.ack - 50, payload: 10, sequence: p.seq })),
  'ESTABLISHED: text with an ACK older than any window': segment((p) => ({ acknowledgment: p.ack - 100_000, payload: 10 })),
  'ESTABLISHED: an ACK older than any window': segment((p) => ({ acknowledgment: p.ack - 100_000 })),
  'ESTABLISHED: text half the circle away': segment((p) => ({ sequence: p.seq + 0x8000_0000, payload: 10 })),
  'ESTABLISHED: an ACK one beyond the window': segment((p) => ({ sequence: p.seq + 1_000_000 })),
  'ESTABLISHED: text beyond the window': segment((p) => ({ sequence: p.seq + 1_000_000, payload: 10 })),
  'ESTABLISHED: text with a wrong checksum': segment(() => ({ payload: 10, breaksChecksum: true })),
  'ESTABLISHED: RST with a wrong checksum': segment(() => ({ flags: rst, breaksChecksum: true })),
  'throttle: SYN': twice((p) => ({ flags: syn, sequence: p.seq + 1_000 })),
  'throttle: RST in the window': twice((p) => ({ flags: rst, sequence: p.seq + 1_000 })),
  'throttle: an ACK of what was not sent': twice((p) => ({ acknowledgment: p.ack + 1_000 })),
  'throttle: an ACK beyond the window': twice((p) => ({ sequence: p.seq + 1_000_000 })),
  'throttle: text beyond the window': twice((p) => ({ sequence: p.seq + 1_000_000, payload: 10 })),
  'throttle: keep-alive probes': twice((p) => ({ sequence: p.seq - 1 })),
};
