/** RFC 9293 sections 3.10.7.1 and 3.10.7.2 (CLOSED and LISTEN), and SYN-RECEIVED of 3.10.7.4. */
import { FLAG } from '@nekit/core/ip';
import type { Probe, Scenarios } from '../probe.js';
import { CLOSED } from '../targets.js';

const { syn, ack, fin, rst, psh, urg } = FLAG;
const ECE = 0x40;
const CWR = 0x80;

/** A first segment with these flags, to a port where somebody listens. */
const first =
  (flags: number, payload = 0, urgent = 0) =>
  async (p: Probe): Promise<void> => {
    await p.say('first', { flags, acknowledgment: 5_000, payload, urgent });
  };

/** The same, where nobody does. */
const firstToClosed =
  (flags: number, payload = 0) =>
  async (p: Probe): Promise<void> => {
    p.target = CLOSED;
    await p.say('first', { flags, acknowledgment: 5_000, payload });
  };

export const handshake: Scenarios = {
  'LISTEN: SYN': first(syn),
  'LISTEN: SYN, PSH': first(syn | psh),
  'LISTEN: SYN, URG': first(syn | urg, 0, 5),
  'LISTEN: SYN, ECE, CWR': first(syn | ECE | CWR),
  'LISTEN: SYN, ECE': first(syn | ECE),
  'LISTEN: SYN, FIN': first(syn | fin),
  'LISTEN: SYN, RST': first(syn | rst),
  'LISTEN: SYN, ACK': first(syn | ack),
  'LISTEN: ACK': first(ack),
  'LISTEN: ACK with text': first(ack, 10),
  'LISTEN: FIN': first(fin),
  'LISTEN: FIN, ACK': first(fin | ack),
  'LISTEN: FIN, PSH, URG': first(fin | psh | urg),
  'LISTEN: RST': first(rst),
  'LISTEN: RST, ACK': first(rst | ack),
  'LISTEN: no flag': first(0),
  'LISTEN: no flag, text': first(0, 10),
  'CLOSED: SYN': firstToClosed(syn),
  'CLOSED: SYN with text': firstToClosed(syn, 100),
  'CLOSED: SYN, FIN': firstToClosed(syn | fin),
  'CLOSED: ACK': firstToClosed(ack),
  'CLOSED: ACK with text': firstToClosed(ack, 100),
  'CLOSED: FIN': firstToClosed(fin),
  'CLOSED: FIN, ACK': firstToClosed(fin | ack),
  'CLOSED: no flag, text': firstToClosed(0, 100),
  'CLOSED: RST': firstToClosed(rst),
  'a SYN with a wrong checksum': async (p) => {
    await p.say('SYN', { flags: syn, breaksChecksum: true });
    await p.say('SYN, right', { flags: syn });
  },
  'SYN with text': async (p) => {
    await p.syn(undefined, { payload: 100 });
    await p.say('ACK', {});
    await p.text('the text again', 100);
  },
  'sequence numbers wrap': async (p) => {
    p.iss = 0xffff_ffff;
    await p.open();
    await p.text('text', 10);
    p.app.write(10);
    await p.say('ACK', {});
  },
  'SYN-RECEIVED: the same SYN': async (p) => {
    await p.syn();
    await p.say('SYN', { flags: syn, sequence: p.iss });
  },
  'SYN-RECEIVED: another SYN in the window': async (p) => {
    await p.syn();
    await p.say('SYN', { flags: syn, sequence: p.iss + 100 });
    await p.say('ACK', {});
  },
  'SYN-RECEIVED: another SYN outside of the window': async (p) => {
    await p.syn();
    await p.say('SYN', { flags: syn, sequence: p.iss - 100_000 });
    await p.say('ACK', {});
  },
  'SYN-RECEIVED: an ACK of too much': async (p) => {
    await p.syn();
    await p.say('ACK', { acknowledgment: p.ack + 1_000 });
    await p.say('the right ACK', {});
  },
  'SYN-RECEIVED: an ACK of too little': async (p) => {
    await p.syn();
    await p.say('ACK', { acknowledgment: p.ack - 1 });
    await p.say('the right ACK', {});
  },
  'SYN-RECEIVED: RST': async (p) => {
    await p.syn();
    await p.say('RST', { flags: rst });
    await p.say('ACK', {});
  },
  'SYN-RECEIVED: RST in the window': async (p) => {
    await p.syn();
    await p.say('RST', { flags: rst, sequence: p.seq + 10 });
    await p.say('ACK', {});
  },
  'SYN-RECEIVED: RST outside of the window': async (p) => {
    await p.syn();
    await p.say('RST', { flags: rst, sequence: p.seq - 10 });
    await p.say('ACK', {});
  },
  'SYN-RECEIVED: text without ACK': async (p) => {
    await p.syn();
    await p.say('text', { flags: 0, payload: 10 });
  },
  'SYN-RECEIVED: FIN without ACK': async (p) => {
    await p.syn();
    await p.say('FIN', { flags: fin });
  },
  'SYN-RECEIVED: ACK with text': async (p) => {
    await p.syn();
    await p.text('ACK with text', 100);
  },
  'SYN-RECEIVED: ACK with FIN': async (p) => {
    await p.syn();
    await p.say('ACK, FIN', { flags: ack | fin });
  },
  'SYN-RECEIVED: text outside of the window': async (p) => {
    await p.syn();
    await p.say('text', { sequence: p.seq + 1_000_000, payload: 10 });
  },
  'SYN-RECEIVED: SYN, ACK': async (p) => {
    await p.syn();
    await p.say('SYN, ACK', { flags: syn | ack, sequence: p.iss });
    await p.say('ACK', {});
  },
};
