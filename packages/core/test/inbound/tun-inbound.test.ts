// The TUN inbound on a device in memory.
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { StackContext } from '../../dist/inbound/stack-context.js';
import { TunInbound } from '../../dist/inbound/tun/tun-inbound.js';
import type { IpStack } from '../../dist/ip/ip-stack.js';
import type { PacketDevice } from '../../dist/ip/packet-device.js';
import { never } from '../../dist/net/cancel.js';
import { EVENTS } from '../../dist/net/tokens.js';
import { testContext, testInboundContext } from '../../dist/testing.js';
import { udp, Wire } from '../support/tun-wire.js';

interface Listening {
  readonly inbound: TunInbound;
  readonly wire: Wire;
  readonly told: string[];
}

function inboundOn(open: (wire: Wire) => PacketDevice, stacks: readonly ((context: StackContext) => IpStack)[] = []): Listening {
  const wire = new Wire();
  const { context, events } = testContext({ clock: wire.clock });
  const told: string[] = [];
  for (const name of ['listener.started', 'listener.stopped', 'listener.failed', 'kernel.warning'] as const)
    events.on(name, (event) => told.push(`${name} ${'message' in event ? event.message : ''}`.trim()));
  assert.equal(context.get(EVENTS), events);
  const inboundContext = testInboundContext({ name: 'tun', type: 'tun', get: (token) => context.get(token) });
  return { inbound: new TunInbound({ open: () => open(wire), networks: [], stacks, echo: true }, inboundContext), wire, told };
}

void t.test('starts, warns of UDP, stops, starts again', async () => {
  const { inbound, wire, told } = inboundOn((wire) => wire.near);
  await inbound.start(never);
  assert.equal(inbound.device, wire.near);
  wire.send(udp('198.18.0.1', '203.0.113.7'));
  wire.send(udp('198.18.0.1', '203.0.113.7'));
  await wire.turn();
  assert.deepEqual(told, ['listener.started', 'kernel.warning tun: UDP is not carried; npm install @nekit/stack-udp, and add "udp" to plugins']);
  await inbound.stop();
  await inbound.stop();
  assert.deepEqual([inbound.device, told.at(-1), wire.clock.pending], [null, 'listener.stopped', 0]);
});

void t.test('a device that cannot be opened, a stack that cannot be made', async () => {
  const cannot = inboundOn(() => {
    throw new Error('the TUN device tun0 cannot be opened: not permitted');
  });
  await assert.rejects(cannot.inbound.start(never), { code: 'LISTEN_FAILED', message: 'listener tun: the TUN device tun0 cannot be opened: not permitted' });
  assert.deepEqual([cannot.told, cannot.inbound.device], [[], null]);

  let closed = 0;
  const broken = inboundOn(
    ({ near }) => ({ name: near.name, sink: near.sink, arena: near.arena, start: () => undefined, flush: () => undefined, close: () => closed++ }),
    [
      () => ({ input: () => false, flush: () => undefined, nextDeadline: () => Number.POSITIVE_INFINITY, close: () => (closed += 10) }),
      () => {
        throw new Error('on purpose');
      },
    ],
  );
  await assert.rejects(broken.inbound.start(never), { code: 'LISTEN_FAILED', message: 'listener tun: on purpose' });
  assert.deepEqual([closed, broken.inbound.device], [11, null], 'nothing is left open');
});

void t.test('names are taken when all runs, and have been given back when it has stopped', async () => {
  const wire = new Wire();
  const { context } = testContext({ clock: wire.clock });
  const inboundContext = testInboundContext({ name: 'tun', type: 'tun', get: (token) => context.get(token) });
  const said: string[] = [];
  const close = async (): Promise<void> => {
    await setImmediate();
    said.push('given back');
  };
  const inbound = new TunInbound(
    {
      open: () => wire.near,
      networks: [],
      stacks: [],
      echo: true,
      route: () => {
        said.push('routed');
        return { close: () => said.push('no routes') };
      },
      names: ({ name }) => {
        said.push(name);
        return { close };
      },
    },
    inboundContext,
  );
  await inbound.start(never);
  await inbound.stop();
  await inbound.stop();
  assert.deepEqual(said, ['routed', wire.near.name, 'no routes', 'given back']);
});

void t.test('the device goes away, which is told once', async () => {
  const { inbound, wire, told } = inboundOn((wire) => wire.near);
  await inbound.start(never);
  await wire.turn();
  // The far end closes.
  wire.close();
  await wire.turn();
  assert.deepEqual(told.slice(1), ['listener.failed the other end of the pipe was closed']);
  await inbound.stop();
});
