/** The log: JSON lines for machines, coloured lines for a terminal; one line per session, at its end. */
import { clean, formatEndpoint, type Kernel, type KernelEvents } from '@nekit/core';
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino';
import { atMost } from './at-most.js';
import type { LogLevel } from './options.js';

export interface Log {
  readonly logger: Logger;
  setLevel(level: LogLevel): void;
  /** Writes out what is still buffered, as far as a reader takes it within a second; what is logged afterwards is lost. Before the process ends. Never rejects. */
  close(): Promise<void>;
}

/** What a slow reader of our output may leave unwritten, in bytes; lines beyond are dropped rather than kept for ever. */
const MAX_BUFFER = 4 * 1024 * 1024;

/** How long `close` waits for a reader, in ms. */
const CLOSE_MS = 1_000;

const PINO_LEVEL = { silent: 'silent', error: 'error', warning: 'warn', info: 'info', debug: 'debug' } as const satisfies Record<LogLevel, string>;

/** `pretty`: for a terminal. In this process, not in a worker thread: nothing is lost at the end. */
export async function openLog(level: LogLevel, pretty: boolean): Promise<Log> {
  let broken = false;
  let closing = false;
  const file = destination({ dest: 1, sync: pretty, maxLength: MAX_BUFFER, retryEAGAIN: () => !broken });
  file.on('error', () => {
    broken = true; // nobody reads our output any more, or the disk is full: the proxy goes on in silence
    file.destroy(); // what is left cannot be written, and at the end of the process it would be tried for ever
  });
  const sink: DestinationStream = {
    write(line) {
      if (!broken && !closing) file.write(line);
    },
  };
  const stream: DestinationStream = pretty ? await prettyStream(sink) : sink;
  const options = { level: PINO_LEVEL[level], base: null, timestamp: stdTimeFunctions.isoTime, formatters: { level: (label: string) => ({ level: label }) } };
  const logger = pino(options, stream);
  return {
    logger,
    setLevel(next) {
      logger.level = PINO_LEVEL[next];
    },
    async close() {
      if (broken || pretty) return;
      closing = true; // it ends when it has nothing left: lines that go on coming would keep it from that
      await atMost(ended(file), CLOSE_MS);
      broken = true;
      file.destroy(); // or the end of the process would wait for the reader, for ever
    },
  };
}

/** Until all is written, or cannot be. */
function ended(file: ReturnType<typeof destination>): Promise<void> {
  return new Promise((resolve) => {
    file.once('close', resolve);
    file.once('error', () => resolve());
    file.end();
  });
}

async function prettyStream(file: DestinationStream): Promise<DestinationStream> {
  const { prettyFactory } = await import('pino-pretty');
  const format = prettyFactory({ colorize: true, translateTime: 'SYS:HH:MM:ss', hideObject: true });
  return { write: (line) => file.write(format(line)) };
}

/** Failures of these kinds are worth a warning; the rest (a client that leaves, a rule that says no) is everyday life. */
const NOTABLE: ReadonlySet<string> = new Set(['refused', 'unreachable', 'timeout', 'name', 'auth', 'protocol']);

/** Of this machine, not of a target: whoever runs it has to do something. */
const NOTABLE_CODES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/** Writes a kernel's events to its log. Only what the level shows is listened to: an event without a listener costs nothing. */
export class EventLog {
  readonly #kernel: Kernel;
  readonly #logger: Logger;
  #forgetSessions: (() => void) | null = null;
  /** Takes the handlers of level debug back. */
  #details: (() => void)[] = [];

  constructor(kernel: Kernel, log: Log) {
    this.#kernel = kernel;
    this.#logger = log.logger;
    kernel.on('kernel.warning', ({ code, message }) => log.logger.warn({ code }, clean(message)));
    kernel.on('listener.failed', ({ listener, code, message }) => log.logger.error({ listener, code }, clean(`listener ${listener}: ${message}`)));
    kernel.on('listener.started', ({ listener, type, endpoint }) => {
      log.logger.info(
        { listener, type, host: endpoint.host, port: endpoint.port },
        clean(`listener ${listener} (${type}) on ${endpoint.port === 0 ? endpoint.host : formatEndpoint(endpoint)}`),
      );
    });
    this.follow();
  }

  /** Call it when the level has changed. */
  follow(): void {
    if (!this.#logger.isLevelEnabled('warn')) {
      this.#forgetSessions?.();
      this.#forgetSessions = null;
    } else {
      this.#forgetSessions ??= this.#kernel.on('session.closed', (event) => logSession(this.#logger, event));
    }
    const wanted = this.#logger.isLevelEnabled('debug');
    if (wanted === this.#details.length > 0) return;
    for (const forget of this.#details) forget();
    this.#details = wanted ? logDetails(this.#kernel, this.#logger) : [];
  }
}

function logDetails(kernel: Kernel, logger: Logger): (() => void)[] {
  return [
    kernel.on('request.failed', ({ listener, source, code, message }) => {
      logger.debug({ listener, source: formatEndpoint(source), code }, clean(`${formatEndpoint(source)} at ${listener}: ${message}`));
    }),
    kernel.on('connection.refused', ({ listener, source, reason }) => {
      logger.debug({ listener, source: formatEndpoint(source), reason }, clean(`${formatEndpoint(source)} at ${listener} turned away: ${reason}`));
    }),
    kernel.on('session.sniffed', ({ session, protocol, host, ech }) => {
      logger.debug(
        { session, protocol, host, ech },
        clean(`session ${session}: ${protocol} shows ${host}${ech ? ' (ECH: it may be the outer name only)' : ''}`),
      );
    }),
    kernel.on('adapter.dialing', ({ session, adapter, destination: to }) => {
      logger.debug({ session, adapter, destination: clean(formatEndpoint(to)) }, clean(`session ${session}: ${adapter} dials ${formatEndpoint(to)}`));
    }),
    kernel.on('adapter.failed', ({ session, adapter, code, message }) => {
      logger.debug({ session, adapter, code }, clean(`session ${session}: ${adapter}: ${message}`));
    }),
  ];
}

function logSession(logger: Logger, event: KernelEvents['session.closed']): void {
  const { error } = event;
  const level = error !== null && (NOTABLE.has(error.failure) || NOTABLE_CODES.has(error.code)) ? 'warn' : 'info';
  if (!logger.isLevelEnabled(level)) return;
  const source = formatEndpoint(event.source);
  const destinationText = clean(formatEndpoint(event.destination));
  const rule = event.rule === null ? null : clean(event.rule);
  const fields = {
    session: event.session,
    network: event.network,
    inbound: event.inbound,
    type: event.inboundType,
    source,
    destination: destinationText,
    ...(event.sniffed === null ? {} : { sniffed: clean(event.sniffed) }),
    ...(event.user === null ? {} : { user: clean(event.user) }),
    rule,
    adapter: event.adapter,
    ...(event.chain.length === 0 ? {} : { chain: event.chain }),
    up: event.up,
    down: event.down,
    ms: Math.round(event.ms),
    error: event.error === null ? null : event.error.code,
  };
  const way = [...event.chain, event.adapter ?? 'nothing'].join(' > ');
  const seen = event.sniffed === null || event.sniffed === event.destination.host ? '' : ` (${event.sniffed})`;
  const outcome = event.error === null ? '' : ` ${event.error.code}: ${event.error.message}`;
  const text = `${event.network} ${source} -> ${destinationText}${seen} ${rule ?? 'no rule'} -> ${way} ${size(event.up)} up ${size(event.down)} down ${fields.ms} ms${outcome}`;
  logger[level](fields, clean(text));
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

function size(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}
