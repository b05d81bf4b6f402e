/**
 * A SIP003 plugin: a program that takes our connections on loopback and carries them to its other half at the server. Read first: SIP003.
 *
 *   SS_REMOTE_HOST, SS_REMOTE_PORT   the server          SS_LOCAL_HOST, SS_LOCAL_PORT   where it listens
 *   SS_PLUGIN_OPTIONS                `plugin-opts`
 *
 *   start -> run --(accepts our first connection)--> listening
 *             '--- ends, or does not listen in time --> wait (longer each time) --> run on another port
 *
 * Nobody connects just to see whether it listens, which it would pass on to the server: the first dials try until it does.
 *
 * Entries hold it, and it is stopped when none does any more and the last connection through it has closed: a reload cuts nothing off.
 */
import {
  addressFamily,
  type Cancel,
  type Clock,
  type DialOptions,
  type Events,
  type Exemptions,
  isNetError,
  NetError,
  never,
  type Resolver,
  type Stream,
  type StreamDialer,
  toNetError,
} from '@nekit/core';
import { deathWish } from './die-with-us.js';
import { freePort } from './free-port.js';
import { ProgramRun } from './program-run.js';

const LOOPBACK = '127.0.0.1';

/** Between two tries to reach a program that has just been started, in ms. */
const TRY_EVERY = 20;

/** Within this it has to listen, in ms: programs of interpreted languages take a second or two on a busy machine. */
const START_LIMIT = 10_000;

/** First and longest wait before it is started again, in ms; twice as long each time. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 60_000;

/** One that has run for so long was well: the next wait is the first again. In ms. */
const WAS_WELL = 60_000;

/** A dial waits for a start that is due within this, in ms; else it says at once why there is none. */
const SOON = 2 * FIRST_WAIT;

export interface ProgramOptions {
  /** As the user calls it. */
  readonly name: string;
  /** The file. */
  readonly program: string;
  readonly options: string;
  readonly secrets: readonly string[];
  readonly server: { readonly host: string; readonly port: number };
}

export interface ProgramSurroundings {
  readonly direct: StreamDialer;
  readonly resolver: Resolver;
  /** Its sockets carry no mark: with auto-route this lets it reach its server. */
  readonly exemptions: Exemptions;
  readonly clock: Clock;
  readonly events: Events;
  readonly tag: string;
  /** Of [0, 1): for the jitter. */
  readonly random: () => number;
}

export class Program {
  readonly #options: ProgramOptions;
  readonly #forget: () => void;
  /** Of each entry that holds it. */
  readonly #holders = new Set<ProgramSurroundings>();
  /** Of who holds it last: a reload may have changed how names are looked up. */
  #around: ProgramSurroundings;
  /** Under way. */
  #dials = 0;
  #run: ProgramRun | null = null;
  /** A start under way, up to the moment that there is a process. */
  #starting: Promise<void> | null = null;
  /** When it will be started again, and how to take that back. */
  #again: { readonly at: number; readonly cancel: () => void } | null = null;
  /** Of before, for the connections that they have. */
  readonly #old = new Set<ProgramRun>();
  #failures = 0;
  /** What went wrong last; told again only when it changes. */
  #trouble: string | null = null;
  #stopped = false;

  /** `forget` runs when it is stopped: there will be no other process. */
  constructor(options: ProgramOptions, around: ProgramSurroundings, forget: () => void) {
    this.#options = options;
    this.#around = around;
    this.#forget = forget;
  }

  hold(around: ProgramSurroundings): void {
    this.#around = around;
    this.#holders.add(around);
  }

  /** Whoever else is to hold it does so in this turn: the kernel closes one config's entries and starts the next one's without a pause. */
  release(around: ProgramSurroundings): void {
    this.#holders.delete(around);
    this.#around = [...this.#holders].at(-1) ?? this.#around;
    queueMicrotask(() => this.#stopIfIdle());
  }

  /** Also where it waits to be started again: a reload may come because somebody has mended what was wrong. */
  start(): void {
    if (this.#stopped) return;
    if (this.#run !== null) {
      void this.#look(this.#run);
      return;
    }
    this.#again?.cancel();
    this.#again = null;
    this.#trouble = null;
    void this.#begin();
  }

  /** At once, and for good. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#again?.cancel();
    this.#again = null;
    for (const run of [this.#run, ...this.#old]) this.#end(run);
    this.#forget();
  }

  #end(run: ProgramRun | null): void {
    run?.stop();
    run?.unexempt();
  }

  /** After a reload its server may have to be given by another address, or by an address at all: then another process takes the dials from here on. */
  async #look(run: ProgramRun): Promise<void> {
    const host = await this.#serverHost().catch(() => run.host);
    if (host === run.host || this.#stopped || this.#run !== run) return;
    this.#run = null;
    this.#old.add(run);
    this.#endIfUnused(run);
    void this.#begin();
  }

  #endIfUnused(run: ProgramRun): void {
    if (this.#dials === 0 && run.streams.size === 0 && this.#old.delete(run)) this.#end(run);
  }

  async dial(direct: StreamDialer, { session, signal }: DialOptions): Promise<Stream> {
    this.#dials++;
    try {
      return await this.#dial(direct, { session, signal });
    } finally {
      this.#dials--;
      for (const run of this.#old) this.#endIfUnused(run);
      this.#stopIfIdle();
    }
  }

  async #dial(direct: StreamDialer, { session, signal }: DialOptions): Promise<Stream> {
    const { clock } = this.#around;
    const deadline = clock.now() + START_LIMIT;
    for (;;) {
      if (signal.reason !== null) throw toNetError(signal.reason);
      const run = await this.#running();
      if (run !== null) {
        try {
          const stream = await this.#connect(run, direct, { session, signal });
          this.#listens(run);
          return stream;
        } catch (error) {
          if (!isNetError(error) || error.failure !== 'refused' || run.listening) throw error;
        }
        if (run.end === null && clock.now() - run.startedAt > START_LIMIT) {
          this.#failed(run, `does not listen on the port it was told, for ${START_LIMIT / 1_000} s`);
          run.stop();
        }
      }
      if (clock.now() > deadline) throw this.#unavailable();
      await pause(clock, TRY_EVERY, signal);
    }
  }

  /** Counted until its socket is closed, which a relay thread may have by then. */
  async #connect(run: ProgramRun, direct: StreamDialer, { session, signal }: DialOptions): Promise<Stream> {
    const state = { open: true };
    const closed = (): void => {
      state.open = false;
      if (stream !== null) run.streams.delete(stream);
      this.#endIfUnused(run);
      this.#stopIfIdle();
    };
    let stream: Stream | null = null;
    stream = await direct.dialStream({ host: LOOPBACK, port: run.port }, { session, signal, closed });
    if (state.open) run.streams.add(stream);
    return stream;
  }

  #stopIfIdle(): void {
    if (this.#holders.size === 0 && this.#dials === 0 && (this.#run?.streams.size ?? 0) === 0 && this.#old.size === 0) this.stop();
  }

  /** Its end comes as a FIN, which makes what it has cut off look whole to who has passed that on already. */
  #exited(run: ProgramRun, how: string): void {
    run.unexempt();
    this.#old.delete(run);
    const reason = new NetError('aborted', `the plugin "${this.#options.name}" ${how} while the connection went through it`, { code: 'SS_PLUGIN_EXIT' });
    for (const stream of [...run.streams]) stream.abort(reason);
    this.#stopIfIdle();
  }

  /** The process, or null while one is soon to come. Throws when none is. */
  async #running(): Promise<ProgramRun | null> {
    if (this.#stopped) throw stopped(this.#options.name);
    if (this.#again !== null) {
      if (this.#again.at - this.#around.clock.now() > SOON) throw this.#unavailable();
      return null;
    }
    if (this.#run === null) await this.#begin();
    return this.#run;
  }

  #begin(): Promise<void> {
    this.#starting ??= this.#spawn().finally(() => {
      this.#starting = null;
    });
    return this.#starting;
  }

  async #spawn(): Promise<void> {
    const { program, options, server, secrets } = this.#options;
    try {
      // A port of its own each time: who took the last one away may have it still.
      const [port, wish, host] = await Promise.all([freePort(LOOPBACK), deathWish(), this.#serverHost()]);
      if (this.#stopped) return;
      const [command, ...args] = wish.length > 0 ? [...wish, program] : [program];
      const run: ProgramRun = new ProgramRun(port, {
        command,
        args,
        env: {
          SS_REMOTE_HOST: host,
          SS_REMOTE_PORT: String(server.port),
          SS_LOCAL_HOST: LOOPBACK,
          SS_LOCAL_PORT: String(port),
          SS_PLUGIN_OPTIONS: options,
        },
        secrets,
        diesWithUs: wish.length > 0,
        clock: this.#around.clock,
        exited: (how) => this.#exited(run, how),
        ended: (what) => this.#failed(run, what),
      });
      run.host = host;
      if (addressFamily(host) !== 0) run.unexempt = this.#around.exemptions.add({ host, port: server.port }, 'tcp');
      this.#run = run;
    } catch (error) {
      this.#failed(null, `cannot be started: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** What the program is to connect to. With auto-route it cannot look up names: its questions would come to us, and be answered for clients. */
  async #serverHost(): Promise<string> {
    const { host } = this.#options.server;
    if (addressFamily(host) !== 0 || !this.#around.exemptions.needed) return host;
    const [address = host] = await this.#around.resolver.resolve(host, 0, never);
    return address;
  }

  #listens(run: ProgramRun): void {
    if (run.listening) return;
    run.listening = true;
    this.#trouble = null;
  }

  /** Once for each run: what it was, and when there will be another. */
  #failed(run: ProgramRun | null, what: string): void {
    if (this.#stopped || run !== this.#run) return;
    const { clock, events, tag, random } = this.#around;
    this.#run = null;
    this.#failures = run?.listening === true && clock.now() - run.startedAt >= WAS_WELL ? 1 : this.#failures + 1;
    const wait = Math.min(FIRST_WAIT * 2 ** (this.#failures - 1), LONGEST_WAIT) * (0.75 + random() / 2);
    const cancel = clock.after(wait, () => {
      this.#again = null;
      void this.#begin();
    });
    this.#again = { at: clock.now() + wait, cancel };
    if (what === this.#trouble) return;
    this.#trouble = what;
    events.emit('kernel.warning', { code: 'SS_PLUGIN_EXIT', message: `${tag}: the plugin "${this.#options.name}" ${what}. It is started again` });
  }

  #unavailable(): NetError {
    const what = this.#trouble ?? 'does not listen yet';
    return new NetError('refused', `the plugin "${this.#options.name}" ${what}`, { code: 'SS_PLUGIN_EXIT' });
  }
}

/** What a dial is told that comes too late. */
export function stopped(name: string): NetError {
  return new NetError('aborted', `the plugin "${name}" was stopped`, { code: 'SS_PLUGIN_STOPPED' });
}

/** Settles after `ms`, or sooner when the signal fires. */
function pause(clock: Clock, ms: number, signal: Cancel): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      forget();
      resolve();
    };
    const cancel = clock.after(ms, done);
    const forget = signal.onCancel(done);
  });
}
