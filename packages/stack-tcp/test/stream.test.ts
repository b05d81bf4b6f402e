// The Stream contract, over real time: our stack on one end of a pipe, the model peer on the other.
import { type Stream, systemClock } from '@nekit/core';
import { packetAt, pipeDevice } from '@nekit/core/ip';
import { type StreamPair, streamConformance } from '@nekit/core/testing';
import t from 'tap';
import { ModelPeer, ON_A_PIPE } from './support/model-peer.js';
import { PeerStream } from './support/peer-stream.js';
import { stackOn } from './support/stack-on.js';

async function makePair(): Promise<StreamPair> {
  const [ours, theirs] = pipeDevice({ mtu: 9_000, queuePackets: 1_000, queueBytes: 8 << 20 });
  let accepted: (stream: Stream) => void = () => {};
  const opening = new Promise<Stream>((resolve) => {
    accepted = resolve;
  });
  const { driver } = stackOn({ device: ours, clock: systemClock, isReal: true, handleStream: async (request) => accepted(await request.accept()) });
  const peer: ModelPeer = new ModelPeer({ ...ON_A_PIPE, send: (packet) => theirs.inject(packet), isn: 0xffff_0000, readDelayMs: -1 });
  const client = new PeerStream(peer);
  theirs.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) {
        const packet = packetAt(batch, i);
        if (packet.kind === 'tcp') peer.receive(packet);
      }
      client.poll();
    },
    failed: () => {},
  });
  peer.connect();
  return {
    a: await opening,
    b: client,
    close: () => {
      peer.abort();
      driver.close();
      ours.close();
    },
  };
}

t.test('streamConformance', (t) => {
  streamConformance((name, run) => t.test(name, run), makePair);
  t.end();
});
