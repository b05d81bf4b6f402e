// A client's connection joined with real sockets on loopback.
import { createHash } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { relay, SOCKETS, type Stream, systemClock, TimerWheel, type Totals } from '@nekit/core';
import { packetAt, pipeDevice, SeededRandom } from '@nekit/core/ip';
import { eventually, testContext, within } from '@nekit/core/testing';
import t from 'tap';
import { ModelPeer, ON_A_PIPE } from './support/model-peer.js';
import { stackOn } from './support/stack-on.js';

const { context } = testContext();
const sockets = context.get(SOCKETS);

t.test(
  'with real sockets: the client, the stack, relay, a server on loopback',
  { skip: sockets.kind === 'native' ? false : 'the addon is not there' },
  async (t) => {
    const bytes = new SeededRandom(5).bytes(3_000_000);
    const digest = (chunks: readonly Uint8Array[]): string => chunks.reduce((hash, chunk) => hash.update(chunk), createHash('sha256')).digest('hex');

    /** Runs one connection of the model peer to a server, and gives what came of it. */
    const connect = async (
      serve: (socket: Socket) => void,
    ): Promise<{ peer: ModelPeer; totals: Promise<Totals>; stack: ReturnType<typeof stackOn>['stack'] }> => {
      const server = createServer({ allowHalfOpen: true }, serve);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('no port');
      const [ours, theirs] = pipeDevice({ mtu: 9_000, queueBytes: 8 << 20 });
      const timers = new TimerWheel(systemClock);
      let report: (totals: Totals) => void = () => {};
      const totals = new Promise<Totals>((resolve) => {
        report = resolve;
      });
      const { stack, driver } = stackOn({
        device: ours,
        clock: systemClock,
        isReal: true,
        handleStream: async (request) => {
          const remote = await new Promise<Stream>((resolve, reject) => sockets.connect('127.0.0.1', address.port, {}, resolve, reject));
          report(
            await relay(
              await request.accept(),
              remote,
              { signal: request.session.signal, idleMs: 30_000, halfCloseMs: 30_000, counters: new Float64Array(2), slot: 0 },
              timers,
            ),
          );
        },
      });
      const peer: ModelPeer = new ModelPeer({ ...ON_A_PIPE, send: (packet) => theirs.inject(packet), isn: 1, readDelayMs: 0 });
      theirs.start({
        packets: (batch) => {
          for (let i = 0; i < batch.length; i++) {
            const packet = packetAt(batch, i);
            if (packet.kind === 'tcp') peer.receive(packet);
          }
        },
        failed: () => {},
      });
      t.teardown(() => {
        peer.abort();
        driver.close();
        ours.close();
        server.close();
      });
      peer.connect();
      return { peer, totals, stack };
    };

    await t.test('3 MB there and back, then both FINs', async (t) => {
      const { peer, totals, stack } = await connect((socket) => socket.pipe(socket));
      peer.write(bytes);
      peer.close();
      t.match(await within(totals, 20_000), { up: bytes.length, down: bytes.length, error: null });
      await eventually(() => peer.hasEnded && peer.isFinAcked);
      t.equal(digest(peer.received), digest([bytes]));
      t.strictSame(peer.faults, []);
      await eventually(() => stack.info.connections === 0);
      t.equal(stack.info.memory, 0);
    });

    await t.test('a server that reads slowly, and answers after the FIN', async (t) => {
      const hash = createHash('sha256');
      const { peer, totals } = await connect((socket) => {
        socket.on('data', (chunk) => {
          hash.update(chunk);
          socket.pause();
          setTimeout(() => socket.resume(), 2);
        });
        socket.on('end', () => socket.end('done'));
      });
      peer.write(bytes);
      peer.close();
      t.match(await within(totals, 20_000), { up: bytes.length, down: 4, error: null });
      t.equal(hash.digest('hex'), digest([bytes]));
      await eventually(() => peer.hasEnded);
      t.equal(Buffer.concat(peer.received).toString(), 'done');
    });

    await t.test('a server that resets: the client sees RST, not an end', async (t) => {
      const { peer, totals } = await connect((socket) => {
        socket.write('half of');
        setTimeout(() => socket.resetAndDestroy(), 20);
      });
      t.match(await within(totals, 5_000), { error: { code: 'ECONNRESET' } });
      await eventually(() => peer.isReset);
      t.equal(peer.hasEnded, false);
    });

    await t.test('a client that leaves: the server sees it', async (t) => {
      let failed: string | undefined;
      let hasHeard = false;
      const { peer, totals } = await connect((socket) => {
        socket.on('data', () => {
          hasHeard = true;
        });
        socket.on('error', (error: NodeJS.ErrnoException) => {
          failed = error.code;
        });
      });
      peer.write(Buffer.from('x'));
      await eventually(() => hasHeard);
      peer.abort();
      t.match(await within(totals, 5_000), { error: { code: 'ECONNRESET' } });
      await eventually(() => failed !== undefined);
      t.equal(failed, 'ECONNRESET');
    });
    sockets.close();
  },
);
