/** Clients that leave whenever they like. */
import net from 'node:net';
import { toNetError } from '@nekit/core';
import { socksAddress } from '../helpers/apps.js';
import { UdpApp } from '../helpers/udp.js';
import { ORDERS, type Order, resetNow } from './targets.js';

/** mulberry32: small, seeded, good enough to choose by. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Ports of the targets. */
export interface Ports {
  readonly proxy: number;
  readonly obedient: number;
  readonly refused: number;
  /** Routed to upstream proxies that answer late and never. */
  readonly late: number;
  readonly never: number;
  readonly neverAccepts: number;
  readonly echoUdp: number;
}

export const PHASES = ['silent', 'handshake', 'dialling', 'relay', 'half-closed', 'http', 'udp'] as const;
export type Phase = (typeof PHASES)[number];

/** No client stays longer, in ms; the kernel's own timeouts end it before. */
const PATIENCE = 15_000;

/** How a connection may fail here. Anything else (no descriptors, say) means that there is no load any more. */
export const EXPECTED: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/** One connection from beginning to end. Settles when its socket is closed; false: only our patience ended it, or it failed in a way that it must not. */
export function runClient(phase: Phase, ports: Ports, random: () => number): Promise<boolean> {
  if (phase === 'udp') return runUdp(ports, random);
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port: ports.proxy, allowHalfOpen: true, noDelay: true });
    let patient = true;
    const patience = setTimeout(() => {
      patient = false;
      socket.destroy();
    }, PATIENCE);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!EXPECTED.has(error.code ?? '')) patient = false;
      socket.destroy();
    });
    socket.on('close', () => {
      clearTimeout(patience);
      resolve(patient);
    });
    socket.on('end', () => socket.end()); // whatever else happens, FIN is answered
    socket.on('connect', () => act(socket, phase, ports, random));
  });
}

const pick = <T>(list: readonly [T, ...T[]] | readonly T[], random: () => number): T => list[Math.floor(random() * list.length)] as T;

function act(socket: net.Socket, phase: Phase, ports: Ports, random: () => number): void {
  const leave = (): void => leaveSoon(socket, random);
  const usesSocks = random() < 0.5;
  switch (phase) {
    case 'silent':
      socket.resume();
      leave();
      break;
    case 'handshake': {
      const whole = usesSocks ? Buffer.concat([greeting, request(ports.obedient)]) : connectHead(ports.obedient);
      socket.resume();
      socket.write(whole.subarray(0, 1 + Math.floor(random() * (whole.length - 1))));
      leave();
      break;
    }
    case 'dialling': {
      const port = pick([ports.late, ports.never, ports.refused, ports.neverAccepts], random);
      socket.resume();
      socket.write(usesSocks ? Buffer.concat([greeting, request(port)]) : connectHead(port));
      leave();
      break;
    }
    case 'relay':
    case 'half-closed':
      established(socket, usesSocks, ports.obedient, () => {
        const order = pick(ORDERS, random);
        const ownEnd = phase === 'half-closed';
        socket.write(`${order}\n`);
        if (random() < 0.7) socket.write(Buffer.alloc(Math.floor(random() * 200_000), 0x2b));
        if (random() < 0.8) socket.resume(); // else it never reads: backpressure
        if (ownEnd) socket.end();
        // A flood and a silence end only when somebody leaves.
        if (ownEnd || order === 'flood' || order === 'silence' || random() < 0.5) leave();
        else socket.end();
        if (!ownEnd && socket.isPaused()) leave();
      });
      break;
    case 'http':
      talkHttp(socket, ports, random);
      break;
    case 'udp':
      break;
  }
}

const greeting = Buffer.from([5, 1, 0]);
const request = (port: number): Buffer => Buffer.concat([Buffer.from([5, 1, 0]), socksAddress({ host: '127.0.0.1', port })]);
const connectHead = (port: number): Buffer => Buffer.from(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);

/** FIN, RST, or (rarely) nothing at all until the kernel's patience ends; after a moment. */
function leaveSoon(socket: net.Socket, random: () => number): void {
  const how = random();
  setTimeout(
    () => {
      if (how < 0.45) resetNow(socket);
      else if (how < 0.6) socket.destroy();
      else if (how < 0.9) {
        socket.resume(); // or its FIN would never be seen
        socket.end();
      } else socket.resume();
    },
    Math.floor(random() ** 2 * 60),
  );
}

/** Runs `then` when the proxy has said yes; ends the connection otherwise. */
function established(socket: net.Socket, usesSocks: boolean, port: number, then: () => void): void {
  let answer = Buffer.alloc(0);
  const length = usesSocks ? 12 : Number.POSITIVE_INFINITY;
  const hear = (bytes: Buffer): void => {
    answer = Buffer.concat([answer, bytes]);
    const done = usesSocks ? answer.length >= length : answer.includes('\r\n\r\n');
    if (!done) return;
    socket.off('data', hear);
    socket.pause();
    then();
  };
  socket.on('data', hear);
  socket.write(usesSocks ? Buffer.concat([greeting, request(port)]) : connectHead(port));
}

/** A few requests on one connection, the last of them often in pieces. */
function talkHttp(socket: net.Socket, ports: Ports, random: () => number): void {
  const orders: readonly Order[] = ['http', 'http', 'http-cut', 'http-reset', 'silence'];
  const port = random() < 0.15 ? pick([ports.never, ports.refused, ports.neverAccepts], random) : ports.obedient;
  const head = (order: Order): string => `GET http://127.0.0.1:${port}/${order} HTTP/1.1\r\nHost: a\r\n\r\n`;
  const upload = `POST http://127.0.0.1:${port}/http HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n`;
  const whole = Buffer.concat([
    Buffer.from(random() < 0.5 ? head('http') : ''),
    Buffer.from(random() < 0.3 ? upload : head(pick(orders, random))),
    Buffer.alloc(random() < 0.3 ? Math.floor(random() * 100_000) : 0, 0x47),
  ]);
  socket.resume();
  socket.write(random() < 0.5 ? whole : whole.subarray(0, Math.floor(random() * whole.length)));
  leaveSoon(socket, random);
}

async function runUdp(ports: Ports, random: () => number): Promise<boolean> {
  const app = await UdpApp.open(ports.proxy).catch((error: unknown) => toNetError(error));
  if (app instanceof Error) return app.code === 'ECONNRESET'; // we were too slow for the handshake's timeout
  const count = Math.floor(random() * 4);
  for (let i = 0; i < count; i++) app.send({ host: '127.0.0.1', port: random() < 0.7 ? ports.echoUdp : ports.refused }, Buffer.from('datagram'));
  if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, random() * 30));
  await app.close();
  return true;
}
