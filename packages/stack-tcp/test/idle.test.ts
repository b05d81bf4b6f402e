// What an idle connection costs: most connections are idle, and a router has thousands of them. Below 2 KiB of heap each, bare, after it has carried something.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Stream } from '@nekit/core';
import { buildPacket, FLAG, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { tcp, Wire } from './support/wire.js';

const ROUNDS = 3;
const COUNT = 9_000;
const WARM_UP = 500;
/** Bytes. */
const MOST = 2_048;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

t.test(`${COUNT} idle connections take less than ${MOST} bytes each`, async (t) => {
  const streams: Stream[] = [];
  const wire = new Wire({
    handleStream: async (request) => {
      streams.push(await request.accept());
    },
  });
  const open = async (number: number): Promise<void> => {
    const client = { source: `10.0.${number >> 8}.${number & 255}`, sourcePort: 1_024 + number, destination: '192.0.2.1', destinationPort: 443 };
    const send = (fields: Partial<TcpPacket>): TcpPacket | undefined => {
      const packet = {
        kind: 'tcp',
        ...client,
        sequence: 1_001,
        acknowledgment: 0,
        flags: FLAG.ack,
        window: 65_535,
        payload: new Uint8Array(0),
        ...fields,
      } as const;
      return tcp(wire.raw(buildPacket(packet)))[0];
    };
    const synAck = send({
      sequence: 1_000,
      flags: FLAG.syn,
      options: { mss: 1_460, sackPermitted: true, windowScale: 7, timestamps: { value: 1, echo: 0 } },
    });
    const acknowledgment = ((synAck?.sequence ?? 0) + 1) >>> 0;
    const options = { timestamps: { value: 2, echo: synAck?.options?.timestamps?.value ?? 0 } };
    send({ acknowledgment, options });
    send({ acknowledgment, options, payload: new Uint8Array(100) });
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    const stream = streams.at(-1);
    await stream?.read();
    await stream?.write([new Uint8Array(500)]);
    wire.flush();
    send({ acknowledgment: (acknowledgment + 500) >>> 0, sequence: 1_101, options });
  };
  const used = (): number => {
    collect();
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  for (let number = 0; number < WARM_UP; number++) await open(number);
  // The median of some rounds: V8 compiles meanwhile, which is in the figures, too.
  const rounds: number[] = [];
  for (let from = WARM_UP; from < WARM_UP + COUNT; from += COUNT / ROUNDS) {
    const before = used();
    for (let number = from; number < from + COUNT / ROUNDS; number++) await open(number);
    rounds.push(Math.round(((used() - before) * ROUNDS) / COUNT));
  }
  const each = rounds.sort((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
  wire.advance(2_000); // deadlines that are gone stay until their time
  t.match(wire.stack.info, { connections: WARM_UP + COUNT, memory: 0, timers: 0 });
  t.equal(streams.length, WARM_UP + COUNT);
  t.comment(`${rounds.join(', ')} bytes each, their sessions included`);
  t.ok(each < MOST, `${each} bytes`);
});
