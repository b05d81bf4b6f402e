import {
  type AdapterContext,
  CLOCK,
  type DialOptions,
  EVENTS,
  EXEMPTIONS,
  NekitError,
  NetError,
  normaliseHost,
  RESOLVER,
  type Stream,
  type StreamDialer,
  TIMEOUTS,
  TIMERS,
  TlsLayer,
  timeoutError,
  toNetError,
} from '@nekit/core';
import type { ServerLink } from '../server-link.js';
import { HttpObfsStream, httpObfs } from './obfs/http-obfs.js';
import { TlsObfsStream } from './obfs/tls-obfs.js';
import { choosePlugin, type LinkConfig, type PluginChoice } from './plugin-config.js';
import { ProgramLink } from './process/program-link.js';
import { Programs } from './process/programs.js';
import { secretsIn } from './process/secrets.js';
import { LateFin } from './websocket/late-fin.js';
import { MuxStream } from './websocket/mux-stream.js';
import { openWebSocket } from './websocket/open-websocket.js';

/**
 * How the server of an entry is reached. The connections of all of them go through the base adapter, but those to a program, which are to loopback.
 * Throws NekitError: `SS_PLUGIN` for a plugin that cannot be (its schema has said so before, unless a program has gone since), `SS_PLUGIN_CHAIN` for a
 * program behind `dialer-proxy`, `BAD_CA`.
 */
export function linkOf(config: LinkConfig, context: AdapterContext, programs = new Programs()): ServerLink {
  const chosen = choosePlugin(config);
  if ('problem' in chosen) throw new NekitError('SS_PLUGIN', `"${chosen.problem.path.join('.')}": ${chosen.problem.message}`);
  const server = { host: normaliseHost(config.server) ?? config.server, port: config.port };
  const { plugin } = chosen;
  if (plugin.kind === 'program') return programLink(plugin, server, context, programs);
  const { stream: base } = context.base;
  if (base === undefined) return unavailable(`"${context.base.tag}" carries no connections`, context);
  const dialServer = ({ session, signal }: DialOptions): Promise<Stream> => base.dialStream(server, { session, signal }); // `addresses` are the destination's
  switch (plugin.kind) {
    case 'none':
      return { dial: dialServer };
    case 'obfs':
      return obfsLink(plugin, server.port, dialServer, context);
    case 'websocket':
      return websocketLink(plugin, dialServer, context);
  }
}

/** How long nothing may come before our end is told to a v2ray server, in ms: what v2ray itself waits (its policy "uplinkOnly"). */
const QUIET = 2_000;

type Choice<K extends PluginChoice['kind']> = Extract<PluginChoice, { readonly kind: K }>;

function obfsLink(
  { mode, host, path, ignored }: Choice<'obfs'>,
  port: number,
  dialServer: (options: DialOptions) => Promise<Stream>,
  context: AdapterContext,
): ServerLink {
  const http = httpObfs(host, port, path);
  const dial = async (options: DialOptions): Promise<Stream> => {
    const stream = await dialServer(options);
    return mode === 'http' ? new HttpObfsStream(stream, http) : new TlsObfsStream(stream, host);
  };
  if (ignored.length === 0) return { dial };
  return { dial, start: () => warn(context, `${ignored.map((key) => `"${key}"`).join(', ')} in "plugin-opts" has no effect with the plugin obfs`) };
}

/** An entry that cannot be used stays listed, as one of an unknown type does. */
function unavailable(why: string, context: AdapterContext): ServerLink {
  const message = `${context.tag} is not available: ${why}`;
  return {
    dial: () => Promise.reject(new NetError('denied', message, { code: 'ADAPTER_UNAVAILABLE' })),
    start: () => warn(context, `it is not available, and connections to it fail: ${why}`),
  };
}

/** Once the kernel runs: before that nobody listens. */
function warn(context: AdapterContext, what: string): void {
  context.get(EVENTS).emit('kernel.warning', { code: 'SS_PLUGIN', message: `${context.tag}: ${what}` });
}

function programLink(
  { name, program, options }: Choice<'program'>,
  server: { readonly host: string; readonly port: number },
  context: AdapterContext,
  programs: Programs,
): ServerLink {
  const direct = context.adapter('DIRECT');
  if (context.base !== direct) {
    throw new NekitError(
      'SS_PLUGIN_CHAIN',
      `the plugin "${name}" connects to the server by itself, so that "dialer-proxy" cannot carry it: leave one of both out`,
    );
  }
  const stream: StreamDialer | undefined = direct.stream;
  if (stream === undefined) throw new NekitError('SS_PLUGIN', 'DIRECT carries no connections');
  const { tag } = context;
  const around = { clock: context.get(CLOCK), events: context.get(EVENTS), exemptions: context.get(EXEMPTIONS), resolver: context.get(RESOLVER) };
  const surroundings = { ...around, direct: stream, tag, random: Math.random };
  return new ProgramLink(programs, { name, program, options, secrets: secretsIn(options), server }, surroundings);
}

function websocketLink(
  { host, path, headers, mux, tls }: Choice<'websocket'>,
  dialServer: (options: DialOptions) => Promise<Stream>,
  context: AdapterContext,
): ServerLink {
  const layer = tls === null ? null : new TlsLayer(tls, 'the v2ray-plugin server', ['http/1.1']);
  const timers = context.get(TIMERS);
  const limit = context.get(TIMEOUTS).handshake;
  const dial = async (options: DialOptions): Promise<Stream> => {
    const stream = await dialServer(options);
    const cut: { error: NetError | null } = { error: null };
    const stop = (reason: Error): void => {
      cut.error ??= toNetError(reason);
      stream.abort(cut.error);
    };
    const deadline = timers.after(limit, () => stop(timeoutError('the handshake with the v2ray-plugin server', limit)));
    const forget = options.signal.onCancel(stop);
    try {
      const secured = layer === null ? stream : await layer.secure(stream);
      const socket = await openWebSocket(secured, { host, path, headers });
      if (cut.error !== null) throw cut.error; // fired in the last moment: who gets a stream could not know that it is dead
      return new LateFin(mux ? new MuxStream(socket) : socket, timers, QUIET);
    } catch (error) {
      const failure = cut.error ?? toNetError(error);
      stream.abort(failure);
      throw failure;
    } finally {
      forget();
      deadline.cancel();
    }
  };
  return { dial };
}
