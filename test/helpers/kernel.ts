import { httpPlugin } from '@nekit/adapter-http';
import { shadowsocksPlugin } from '@nekit/adapter-shadowsocks';
import { socks5Plugin } from '@nekit/adapter-socks5';
import { type Clock, createKernel, type Kernel, type KernelEvents, type KernelInput, type OpenTun, type Plugin, type Timeouts } from '@nekit/core';
import { eventually } from '@nekit/core/testing';
import { tcpPlugin } from '@nekit/stack-tcp';
import { udpPlugin } from '@nekit/stack-udp';

/** A kernel that runs, and what became of its sessions. */
export interface TestKernel {
  readonly kernel: Kernel;
  /** Of the first listener that is no TUN. */
  readonly port: number;
  /** Sessions that have ended, in their order. */
  readonly closed: KernelEvents['session.closed'][];
  /** Clients that broke their protocol or failed to authenticate. */
  readonly failed: KernelEvents['request.failed'][];
  readonly warned: KernelEvents['kernel.warning'][];
  /** Waits until no session is open, and gives the last that ended. */
  last(): Promise<KernelEvents['session.closed']>;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly timeouts?: Partial<Timeouts>;
  readonly clock?: Clock;
  /** Beside those of ours. */
  readonly plugins?: readonly Plugin[];
  readonly openTun?: OpenTun;
  readonly native?: boolean;
}

/** Starts a kernel with the HTTP, SOCKS, Shadowsocks, TCP and UDP plugins; without `listeners` it has one, `mixed`, on a port by the OS. */
export async function startKernel(config: KernelInput = {}, options: StartOptions = {}): Promise<TestKernel> {
  const input: KernelInput = { listeners: [{ name: 'in', type: 'mixed', port: 0 }], ...config };
  const kernel = createKernel(input, {
    plugins: [httpPlugin, socks5Plugin, shadowsocksPlugin, tcpPlugin, udpPlugin, ...(options.plugins ?? [])],
    strict: true,
    timeouts: { drain: 500, ...options.timeouts },
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.openTun === undefined ? {} : { openTun: options.openTun }),
    ...(options.native === undefined ? {} : { native: options.native }),
  });
  const closed: KernelEvents['session.closed'][] = [];
  const failed: KernelEvents['request.failed'][] = [];
  const warned: KernelEvents['kernel.warning'][] = [];
  kernel.on('session.closed', (event) => closed.push(event));
  kernel.on('request.failed', (event) => failed.push(event));
  kernel.on('kernel.warning', (event) => warned.push(event));
  await kernel.start();
  const port = kernel.listeners().find(({ type }) => type !== 'tun')?.endpoint?.port;
  if (port === undefined) throw new Error('the kernel has no listener');
  return {
    kernel,
    port,
    closed,
    failed,
    warned,
    last: async () => {
      await eventually(() => kernel.sessions().length === 0, 5_000, 'the end of all sessions');
      const session = closed.at(-1);
      if (session === undefined) throw new Error('no session was opened');
      return session;
    },
    stop: () => kernel.stop(),
  };
}
