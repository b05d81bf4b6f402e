/** A process at home: clients of the TUN that come, talk, break off in any way and come again, until they are told to stop. */
import dgram from 'node:dgram';
import net from 'node:net';
import { SERVER, SERVER_6 } from '../helpers/tun-home.js';
import { randomFrom } from './clients.js';
import { type Order, resetNow } from './targets.js';

export interface TunClientReport {
  readonly connections: number;
  /** Those that ended as they must not, or did not end. */
  readonly wrong: number;
  /** What was wrong with the first few. */
  readonly why: readonly string[];
}

/** At the same time. */
const SHORT = 40;
const BULK = 3;
const IDLE = 100;
const DATAGRAMS = 10;
/** No connection stays longer, in ms: the kernel's time for silence is shorter. */
const PATIENCE = 20_000;
/** What the target's flood is. */
const FLOOD = 400 * 16 * 1024;
const MOST_ECHO = 300_000;

const [port = 0, seed = 0] = process.argv.slice(2).map(Number);
const random = randomFrom(seed);
let isRunning = true;
let connections = 0;
let wrong = 0;
const why: string[] = [];

function blame(reason: string): void {
  wrong++;
  if (why.length < 10) why.push(reason);
}

const below = (most: number): number => Math.floor(random() * most);

function connect(to = port): net.Socket {
  connections++;
  return net.connect({ host: random() < 0.5 ? SERVER : SERVER_6, port: to, allowHalfOpen: true, noDelay: true });
}

/** Settles when it is closed. `errors`: codes that may end it. */
function end(socket: net.Socket, what: string, errors: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const patience = setTimeout(() => {
      blame(`${what}: it does not end`);
      socket.destroy();
    }, PATIENCE);
    socket.on('end', () => socket.end());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!errors.includes(error.code ?? '')) blame(`${what}: ${error.message}`);
      socket.destroy();
    });
    socket.once('close', () => {
      clearTimeout(patience);
      resolve();
    });
  });
}

function order(socket: net.Socket, what: Order): void {
  socket.write(`${what}\n`);
}

/** Everything comes back, in its order. */
async function echo(): Promise<void> {
  const socket = connect();
  const sent = Buffer.alloc(1 + below(MOST_ECHO), below(256));
  let got = 0;
  socket.on('data', (bytes) => {
    got += bytes.length;
    if (bytes.some((byte) => byte !== sent[0])) blame('echo: other bytes');
    if (got === sent.length) socket.end();
  });
  order(socket, 'echo');
  socket.write(sent);
  await end(socket, 'echo', []);
  if (got !== sent.length) blame(`echo: ${got} of ${sent.length} bytes`);
}

/** All of it, or as much as comes until the client leaves: by FIN, or by reset. */
async function flood(isWhole: boolean): Promise<void> {
  const socket = connect();
  let got = 0;
  const stop = isWhole ? Number.POSITIVE_INFINITY : below(FLOOD);
  socket.on('data', (bytes) => {
    got += bytes.length;
    if (got < stop) return;
    if (random() < 0.5) socket.destroy();
    else resetNow(socket);
  });
  order(socket, 'flood');
  await end(socket, 'flood', []);
  if (isWhole && got !== FLOOD) blame(`flood: ${got} of ${FLOOD} bytes`);
}

async function answered(what: Order, errors: readonly string[]): Promise<void> {
  const socket = connect();
  socket.resume();
  order(socket, what);
  await end(socket, what, errors);
}

/** Leaves at any time: before the connection is there, too. */
async function leave(): Promise<void> {
  const socket = connect();
  socket.resume();
  if (random() < 0.5) order(socket, 'echo');
  setTimeout(() => (random() < 0.5 ? socket.destroy() : resetNow(socket)), below(30));
  await end(socket, 'leave', ['ECONNRESET']);
}

async function refused(): Promise<void> {
  const socket = connect(1);
  socket.once('connect', () => blame('refused: it connects'));
  await end(socket, 'refused', ['ECONNREFUSED']);
}

/** The kernel ends it, after its time for silence: a reset, or a FIN when the client has sent one. */
async function silence(): Promise<void> {
  const socket = connect();
  socket.resume();
  order(socket, 'silence');
  if (random() < 0.3) socket.end();
  await end(socket, 'silence', ['ECONNRESET', 'EPIPE']);
}

/** A few datagrams from a port of its own, some larger than the MTU. What is lost is lost. */
function datagrams(): Promise<void> {
  connections++;
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    socket.on('error', () => {});
    for (let i = 1 + below(5); i > 0; i--) socket.send(Buffer.alloc(1 + below(4_000)), port, SERVER);
    setTimeout(() => socket.close(() => resolve()), 100 + below(400));
  });
}

const SHORTS = [echo, leave, refused, () => flood(false), () => answered('end', []), () => answered('reset', ['ECONNRESET', 'EPIPE'])];

async function work(run: () => Promise<void>): Promise<void> {
  while (isRunning) await run();
}

function several(count: number, run: () => Promise<void>): Promise<void>[] {
  return Array.from({ length: count }, () => work(run));
}

process.once('message', () => {
  isRunning = false;
});
process.once('disconnect', () => process.exit());
await Promise.all([
  ...several(SHORT, () => (SHORTS[below(SHORTS.length)] ?? echo)()),
  ...several(BULK, () => flood(true)),
  ...several(IDLE, silence),
  ...several(DATAGRAMS, datagrams),
]);
process.send?.({ connections, wrong, why } satisfies TunClientReport);
