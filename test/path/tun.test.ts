// app -> IP packets -> TUN -> each adapter -> target, where either side is the one that speaks first, and either ends first. The app is the model peer.
import { definePlugin, type KernelInput, type Plugin } from '@nekit/core';
import { packetAt, pipeDevice } from '@nekit/core/ip';
import { eventually, pattern, type Target } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { ModelPeer, ON_A_PIPE } from '../../packages/stack-tcp/dist-test/support/model-peer.js';
import { startKernel, type TestKernel } from '../helpers/kernel.js';
import { startAnswerAfterEnd, startBanner, startEndsFirst } from '../helpers/targets.js';

const WAIT_MS = 10_000;

/** Brings an adapter that reaches this port of loopback, which no packet of a TUN may be for, whatever address it is asked for. */
const toLoopback = (port: number): Plugin =>
  definePlugin({
    name: 'to-loopback',
    api: 1,
    setup: (context) =>
      context.adapter({
        type: 'loopback',
        config: { parse: () => null, toJSONSchema: () => ({ type: 'object' }) },
        create: (_config, { tag, base }) => ({
          tag,
          type: 'loopback',
          stream: {
            dialStream: (_to, options) => base.stream?.dialStream({ host: '127.0.0.1', port }, options) ?? Promise.reject(new Error('no base')),
          },
        }),
      }),
  });

const KEY = Buffer.alloc(32, 7).toString('base64');

interface Kind {
  readonly type: string;
  readonly cipher?: string;
  readonly password?: string;
}

/** What goes into the config of the kernel with the TUN, and what listens in the one behind it; null: the first one reaches the target itself. */
const WAYS: Readonly<Record<string, { readonly listener: Kind; readonly proxy: Kind } | null>> = {
  'a socket': null,
  socks5: { listener: { type: 'socks' }, proxy: { type: 'socks5' } },
  http: { listener: { type: 'http' }, proxy: { type: 'http' } },
  'ss, aes-256-gcm': { listener: { type: 'ss', cipher: 'aes-256-gcm', password: 'x' }, proxy: { type: 'ss', cipher: 'aes-256-gcm', password: 'x' } },
  'ss, 2022-blake3-aes-256-gcm': {
    listener: { type: 'ss', cipher: '2022-blake3-aes-256-gcm', password: KEY },
    proxy: { type: 'ss', cipher: '2022-blake3-aes-256-gcm', password: KEY },
  },
};

class App {
  readonly peer: ModelPeer;
  readonly close: () => Promise<void>;

  private constructor(peer: ModelPeer, close: () => Promise<void>) {
    this.peer = peer;
    this.close = close;
  }

  /** With its packets go through a TUN, and then `way`, to `target`. */
  static async start(target: Target, way: keyof typeof WAYS, native: boolean): Promise<App> {
    const chosen = WAYS[way] ?? null;
    const last: KernelInput = { proxies: [{ name: 'out', type: 'loopback' }], rules: ['MATCH,out'] };
    const kernels: TestKernel[] = [];
    if (chosen !== null) {
      kernels.push(await startKernel({ ...last, listeners: [{ name: 'in', port: 0, ...chosen.listener }] }, { plugins: [toLoopback(target.port)], native }));
    }
    const [near, far] = pipeDevice({ mtu: 9_000 });
    const first: KernelInput =
      chosen === null ? last : { proxies: [{ name: 'up', server: '127.0.0.1', port: kernels[0]?.port ?? 0, ...chosen.proxy }], rules: ['MATCH,up'] };
    const listeners = [{ name: 'other', type: 'mixed', port: 0 }];
    kernels.push(await startKernel({ ...first, listeners, tun: { enable: true } }, { plugins: [toLoopback(target.port)], openTun: () => near, native }));
    const peer = new ModelPeer({ ...ON_A_PIPE, send: (packet) => far.inject(packet), isn: 1, readDelayMs: 0 });
    far.start({
      packets: (batch) => {
        for (let i = 0; i < batch.length; i++) {
          const packet = packetAt(batch, i);
          if (packet.kind === 'tcp') peer.receive(packet);
        }
      },
      failed: () => {},
    });
    peer.connect();
    return new App(peer, async () => {
      if (!peer.isQuiet) peer.abort();
      await Promise.all(kernels.map((kernel) => kernel.stop()));
    });
  }

  async hears(text: string): Promise<void> {
    await eventually(() => this.peer.receivedLength >= text.length, WAIT_MS, `${text.slice(0, 40)}…, and not "${this.text.slice(0, 40)}"`);
  }

  get text(): string {
    return Buffer.concat(this.peer.received).toString('latin1');
  }
}

for (const native of [true, false])
  for (const way of Object.keys(WAYS))
    t.test(`${way}, ${native ? 'the addon where it is' : 'Node'}`, async (t: Test) => {
      const run = async (target: Target, use: (app: App) => Promise<void>): Promise<void> => {
        const app = await App.start(target, way, native);
        try {
          await use(app);
          t.same(app.peer.faults, []);
        } finally {
          await app.close();
          await target.close();
        }
      };
      await run(await startBanner(Buffer.from('220 ready')), async (app) => {
        await app.hears('220 ready');
        const asked = pattern(300_001, 1);
        app.peer.write(asked);
        const all = `220 ready${Buffer.from(asked).toString('latin1')}`;
        await app.hears(all);
        app.peer.close();
        await eventually(() => app.peer.hasEnded && app.peer.isFinAcked, WAIT_MS, 'both ends');
        t.ok(app.text === all, 'a server that speaks first');
      });
      await run(await startAnswerAfterEnd(), async (app) => {
        app.peer.close();
        await eventually(() => app.peer.hasEnded && app.peer.isFinAcked, WAIT_MS, 'both ends');
        t.equal(app.text, 'you said: ', 'an app that says nothing and ends');
      });
      const goodbye = await startEndsFirst(Buffer.from('goodbye'));
      await run(goodbye, async (app) => {
        await eventually(() => app.peer.hasEnded, WAIT_MS, 'the end of the target');
        t.equal(app.text, 'goodbye', 'a server that says all and ends');
        app.peer.close();
        await eventually(() => app.peer.isFinAcked, WAIT_MS, 'the end of the app');
        await goodbye.heard;
      });
    });
