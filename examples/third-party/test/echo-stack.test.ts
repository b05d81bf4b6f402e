import { buildPacket, FLAG, type Packet, packetAt, pipeDevice, StackDriver } from '@nekit/core/ip';
import { FakeClock, settle, testStackContext } from '@nekit/core/testing';
import t from 'tap';
import { EchoStack } from '../dist/echo-stack.js';

t.test('answers ping, and leaves the rest to others', async (t) => {
  const [ours, theirs] = pipeDevice();
  const driver = new StackDriver({ device: ours, clock: new FakeClock() });
  driver.start([new EchoStack(testStackContext({ output: driver.output }))]);
  const got: Packet[] = [];
  theirs.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) got.push(packetAt(batch, i));
    },
    failed: () => {},
  });
  const payload = Buffer.from('are you there');
  theirs.inject(buildPacket({ kind: 'icmp', source: '10.0.0.2', destination: '192.0.2.1', type: 8, code: 0, rest: 0x0001_0002, payload }));
  theirs.inject(buildPacket({ kind: 'icmp', source: 'fd00::2', destination: '2001:db8::1', type: 128, code: 0, rest: 7, payload }));
  const tcp = {
    kind: 'tcp',
    source: '10.0.0.2',
    destination: '192.0.2.1',
    sourcePort: 1,
    destinationPort: 2,
    sequence: 0,
    acknowledgment: 0,
    window: 0,
    payload: new Uint8Array(0),
  } as const;
  theirs.inject(buildPacket({ ...tcp, flags: FLAG.syn }));
  await settle();
  t.match(got, [
    { kind: 'icmp', source: '192.0.2.1', destination: '10.0.0.2', type: 0, rest: 0x0001_0002 },
    { kind: 'icmp', source: '2001:db8::1', destination: 'fd00::2', type: 129, rest: 7 },
  ]);
  t.strictSame(
    got.map((packet) => Buffer.from(packet.payload).toString()),
    ['are you there', 'are you there'],
  );
  t.equal(driver.unclaimed, 1);
  driver.close();
});
