// Reading a segment: one object is filled anew for each.
import { FLAG } from '@nekit/core/ip';
import t from 'tap';
import { Client, tcp, Wire } from './support/wire.js';

t.test("a SYN with the usual twelve bytes of timestamps has nothing of another client's SYN", async (t) => {
  const wire = new Wire();
  new Client(wire, 5_000, 40_002).syn({ mss: 700, windowScale: 9, sackPermitted: true });
  const client = new Client(wire, 9_000, 40_003);
  wire.raw(padded(client.segment({ flags: FLAG.syn, acknowledgment: 0, options: { timestamps: { value: 77, echo: 0 } } })));
  const opening = wire.requests.pop()?.accept();
  const [synAck] = tcp(wire.flush());
  t.match(synAck, { flags: FLAG.syn | FLAG.ack, destinationPort: 40_003, options: { timestamps: { echo: 77 } } });
  t.notOk(synAck?.options?.sackPermitted);
  t.equal(synAck?.options?.windowScale, undefined);
  client.seq++;
  client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
  client.window = 1_000;
  client.options = { timestamps: { value: 78, echo: synAck?.options?.timestamps?.value ?? 0 } };
  client.send();
  const stream = await opening;
  await stream?.write([new Uint8Array(5_000)]);
  t.match(
    tcp(wire.flush()).map((packet) => packet.payload.length),
    [524],
    'the MSS of who says none, the window as it is',
  );
});

/** The padding in front of the timestamps, as everybody has it: the checksum stays. */
function padded(packet: Uint8Array): Uint8Array {
  const at = packet.length - 12;
  const timestamps = packet.slice(at, at + 10);
  const padding = packet.slice(at + 10);
  packet.set(padding, at);
  packet.set(timestamps, at + 2);
  return packet;
}
