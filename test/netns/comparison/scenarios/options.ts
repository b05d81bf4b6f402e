/** RFC 9293 section 3.2 (MUST-4 to MUST-7), RFC 7323, RFC 2018, RFC 7413, RFC 6691. */
import { FLAG, type TcpOptions } from '@nekit/core/ip';
import { EVERYTHING } from '../packets.js';
import type { Probe, Scenarios } from '../probe.js';

const { syn, ack, fin, rst } = FLAG;

const opening =
  (options: TcpOptions) =>
  async (p: Probe): Promise<void> => {
    await p.open(options);
    p.app.write(10);
    await p.watch('the application writes', () => {});
  };

const raw =
  (...rawOptions: readonly number[]) =>
  async (p: Probe): Promise<void> => {
    await p.syn({}, { rawOptions });
    await p.say('ACK', {});
  };

/** As an opening with timestamps goes on. */
const stamped = async (p: Probe): Promise<void> => {
  await p.open({ mss: 1_460, timestamps: { value: 100_000, echo: 0 } });
  await p.text('text', 10, { options: { timestamps: { value: 100_010, echo: 0 } } });
  p.options = { timestamps: { value: 100_020, echo: 0 } };
};
const OLD: TcpOptions = { timestamps: { value: 99_000, echo: 0 } };

export const options: Scenarios = {
  'SYN options: none': opening({}),
  'SYN options: MSS': opening({ mss: 1_460 }),
  'SYN options: all': opening(EVERYTHING),
  'SYN options: SACK permitted': opening({ sackPermitted: true }),
  'SYN options: window scale': opening({ windowScale: 3 }),
  'SYN options: window scale 0': opening({ windowScale: 0 }),
  'SYN options: window scale 255': opening({ windowScale: 255 }),
  'SYN options: timestamps': opening({ timestamps: { value: 1, echo: 0 } }),
  'SYN options: MSS 0': raw(2, 4, 0, 0),
  'SYN options: MSS with length 3': raw(2, 3, 5, 1),
  'SYN options: window scale with length 4': raw(3, 4, 7, 0),
  'SYN options: a length of 0': raw(253, 0, 2, 4, 5, 180),
  'SYN options: a length of 1': raw(253, 1, 2, 4, 5, 180),
  'SYN options: a length beyond the header': raw(2, 4, 5, 180, 253, 40),
  'SYN options: a kind without length at the end': raw(1, 1, 1, 4),
  'SYN options: an unknown kind first': raw(253, 4, 1, 2, 4, 2, 1, 1),
  'SYN options: nothing behind the end': raw(0, 4, 2, 1, 4, 2, 1, 1),
  'SYN options: MSS twice': raw(2, 4, 5, 180, 2, 4, 2, 24),
  'SYN options: forty NOPs': raw(...new Array<number>(40).fill(1)),
  'SYN options: a request for a Fast Open cookie': raw(34, 2, 1, 1),
  'SYN options: MPTCP': raw(30, 12, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8),
  'SYN options: an MD5 signature': raw(19, 18, ...new Array<number>(16).fill(7)),
  'SYN options: TCP-AO': raw(29, 16, 1, 1, ...new Array<number>(12).fill(7)),
  'SYN with text and a Fast Open cookie': async (p) => {
    await p.syn({}, { rawOptions: [34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1], payload: 100 });
    await p.say('ACK', {});
  },
  'an unknown option in ESTABLISHED': async (p) => {
    await p.open();
    await p.text('text', 10, { rawOptions: [253, 6, 1, 2, 3, 4] });
  },
  'a broken option in ESTABLISHED': async (p) => {
    await p.open();
    await p.text('text', 10, { rawOptions: [253, 0, 1, 2] });
  },
  'timestamps that were not agreed on': async (p) => {
    await p.open();
    await p.text('text', 10, { options: { timestamps: { value: 5, echo: 0 } } });
  },
  'timestamps: older text': async (p) => {
    await stamped(p);
    await p.say('text', { payload: 10, options: OLD });
    await p.text('text, newer', 10);
  },
  'timestamps: an older ACK': async (p) => {
    await stamped(p);
    await p.say('ACK', { options: OLD });
  },
  'timestamps: older FIN': async (p) => {
    await stamped(p);
    await p.say('FIN', { flags: fin | ack, options: OLD });
  },
  'timestamps: older RST': async (p) => {
    await stamped(p);
    await p.say('RST', { flags: rst, options: OLD });
    await p.say('ACK', {});
  },
  'timestamps: RST without': async (p) => {
    await stamped(p);
    await p.say('RST', { flags: rst, options: {} });
    await p.say('ACK', {});
  },
  'timestamps: older SYN': async (p) => {
    await stamped(p);
    await p.say('SYN', { flags: syn, options: OLD });
  },
  'timestamps: text without': async (p) => {
    await stamped(p);
    await p.say('text', { payload: 10, options: {} });
  },
  'timestamps: the same again': async (p) => {
    await stamped(p);
    await p.text('text', 10);
    await p.text('text', 10);
  },
  'SACK permitted in ESTABLISHED': async (p) => {
    await p.open();
    await p.text('text', 10, { options: { sackPermitted: true } });
    await p.say('text behind a hole', { sequence: p.seq + 100, payload: 10 });
  },
};
