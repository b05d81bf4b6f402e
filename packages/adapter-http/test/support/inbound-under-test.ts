import {
  CancelSource,
  type Clock,
  EVENTS,
  type InboundConnection,
  NetError,
  relay,
  type Session,
  type Stream,
  streamFromSocket,
  TIMEOUTS,
  type Timeouts,
  type TimerWheel,
  toNetError,
  type Users,
} from '@nekit/core';
import { startTarget, type Target, testContext, testInboundContext } from '@nekit/core/testing';
import { HttpProtocol } from '../../dist/inbound/http-protocol.js';

export interface Options {
  readonly users?: Readonly<Record<string, string>>;
  readonly timeouts?: Partial<Timeouts>;
  readonly clock?: Clock;
  /** What the rules say. */
  readonly refuse?: (session: Session) => NetError | null;
  /** Comes between the protocol and its clients. */
  readonly wrap?: (stream: Stream) => Stream;
}

export interface InboundUnderTest extends Target {
  readonly protocol: HttpProtocol;
  readonly timers: TimerWheel;
  /** Sessions that ended, with how. */
  readonly ended: { readonly session: Session; readonly error: NetError | null; readonly up: number; readonly down: number }[];
  /** Codes of `request.failed`. */
  readonly failed: string[];
  /** Errors that `serve` threw; it must not. */
  readonly thrown: unknown[];
  /** Dials that were made. */
  dials(): number;
  /** As a listener does that a reload has taken away. */
  retire(): void;
  /** Another adapter from here on. */
  reload(): void;
  /** As the kernel does when it stops. */
  stop(): void;
}

/** The protocol on a port, with everything around it that a kernel would be, and a direct way out. */
export async function startInbound(options: Options = {}): Promise<InboundUnderTest> {
  const { context, timers, events } = testContext({
    ...(options.timeouts ? { timeouts: options.timeouts } : {}),
    ...(options.clock ? { clock: options.clock } : {}),
  });
  const protocol = new HttpProtocol();
  const stopped = new CancelSource();
  const ended: InboundUnderTest['ended'] = [];
  const failed: string[] = [];
  const thrown: unknown[] = [];
  let generation = 1;
  let ids = 0;
  let dials = 0;
  context.get(EVENTS).on('request.failed', (event) => failed.push(event.code));
  const dial = (session: Session): ReturnType<NonNullable<typeof context.base.stream>['dialStream']> => {
    dials++;
    return context.base.stream?.dialStream(session.destination, { session, signal: session.signal }) ?? Promise.reject(new NetError('unreachable', 'no base'));
  };
  const counted = (session: Session): { counters: Float64Array; end(error: NetError | null): void } => {
    const counters = new Float64Array(2);
    return { counters, end: (error) => ended.push({ session, error, up: counters[0] ?? 0, down: counters[1] ?? 0 }) };
  };
  const inbound = testInboundContext({
    name: 'under-test',
    type: 'http',
    handleStream: async (request) => {
      const { session } = request;
      const { counters, end } = counted(session);
      try {
        const refused = options.refuse?.(session) ?? null;
        if (refused !== null) throw refused;
        const remote = await dial(session);
        const client = await request.accept();
        const { idle, halfClose } = context.get(TIMEOUTS);
        end((await relay(client, remote, { signal: session.signal, idleMs: idle, halfCloseMs: halfClose, counters, slot: 0 }, timers)).error);
      } catch (error) {
        request.reject(toNetError(error));
        end(toNetError(error));
      }
    },
    route: async (session) => {
      const refused = options.refuse?.(session) ?? null;
      if (refused !== null) throw refused;
      return { ...counted(session), key: `direct:${generation}`, slot: 0, signal: session.signal, dial: () => dial(session) };
    },
    nextId: () => ++ids,
    get: (wanted) => context.get(wanted),
  });
  const users: Users | null =
    options.users === undefined
      ? null
      : { check: (name, password) => options.users !== undefined && Object.hasOwn(options.users, name) && options.users[name] === password };
  const retired = new CancelSource();
  const target = await startTarget((socket) => {
    const signal = new CancelSource(stopped);
    const stream = streamFromSocket(socket, (error) => signal.cancel(error));
    signal.onCancel((reason) => stream.abort(reason));
    socket.once('close', () => signal.release());
    const source = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    const wrapped = options.wrap?.(stream) ?? stream;
    const connection: InboundConnection = {
      stream: wrapped,
      source,
      local: { host: '127.0.0.1', port: target.port },
      port: target.port,
      signal,
      retired,
      users,
    };
    protocol.serve(connection, inbound).then(
      () => stream.abort(new NetError('aborted', 'the connection is done', { code: 'DONE' })),
      (error: unknown) => {
        thrown.push(error);
        socket.destroy();
      },
    );
  });
  const stop = (): void => {
    stopped.cancel(new NetError('aborted', 'the kernel stops', { code: 'STOPPED' }));
    events.emit('kernel.stopped', {});
  };
  return {
    ...target,
    protocol,
    timers,
    ended,
    failed,
    thrown,
    dials: () => dials,
    retire: () => retired.cancel(new NetError('aborted', 'the listener has stopped', { code: 'RETIRED' })),
    reload: () => generation++,
    stop,
    close: async () => {
      stop();
      await target.close();
    },
  };
}
