/** What a device at home does: programs of others in its namespace, and what came of it. */
import { FLIGHT } from './home-network.js';
import type { Namespace } from './namespace.js';
import type { Outcome } from './programs.js';

/** Bytes of a datagram as QUIC has them: more than 1200. */
const QUIC_SIZE = 1350;
/** That the client sends, one after the other without waiting. */
const SENT = 6;

export function curl(namespace: Namespace, ...args: readonly string[]): Promise<Outcome> {
  return namespace.run('curl', ['-sSk', '--max-time', '20', ...args], { ms: 30_000 });
}

/** `host from address`: whom the web server has seen. */
export async function who(namespace: Namespace, url: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await curl(namespace, ...args, `${url}/who`);
  return code === 0 ? stdout.toString() : `${code}: ${stderr}`;
}

/** The data of the records, a line each. */
export async function dig(namespace: Namespace, ...args: readonly string[]): Promise<string> {
  const { stdout } = await namespace.run('dig', ['+short', '+time=5', '+tries=2', ...args], { ms: 20_000 });
  return stdout.toString().trim();
}

/** The answers to pings, of three. */
export async function ping(namespace: Namespace, host: string): Promise<number> {
  const { stdout } = await namespace.run('ping', ['-c', '3', '-i', '0.2', '-w', '15', host], { ms: 20_000 });
  return Number(/(\d+) received/.exec(stdout.toString())?.[1] ?? 0);
}

export interface UdpReport {
  /** The address that was sent to. */
  readonly to: string;
  readonly from: readonly string[];
  /** Of what came, in bytes. */
  readonly sizes: readonly number[];
  readonly error: string | null;
  /** Until the end, or the error. */
  readonly ms: number;
}

/** Datagrams of these sizes to a name, each answered before the next is sent. */
export function udpEcho(namespace: Namespace, name: string, family: 4 | 6, sizes: readonly number[]): Promise<UdpReport> {
  return udp(namespace, { name, family, port: 7, flights: sizes.map((size) => [size]), answers: 1 });
}

/** Several datagrams at once, each answered by several: as QUIC does. */
export function quicLike(namespace: Namespace, name: string, family: 4 | 6): Promise<UdpReport> {
  return udp(namespace, { name, family, port: 443, flights: [Array.from({ length: SENT }, () => QUIC_SIZE)], answers: FLIGHT });
}

export const QUIC_ANSWERS: readonly number[] = Array.from({ length: SENT * FLIGHT }, () => QUIC_SIZE);

interface Exchange {
  readonly name: string;
  readonly family: 4 | 6;
  readonly port: number;
  readonly flights: readonly (readonly number[])[];
  /** To each datagram. */
  readonly answers: number;
}

/** A socket that is connected, so that it hears of "port unreachable". */
const UDP_CLIENT = `
const { name, family, port, flights, answers } = JSON.parse(process.argv[1]);
const report = { to: '', from: [], sizes: [], error: null };
const begin = performance.now();
const socket = require('node:dgram').createSocket('udp' + family);
let ended = false;
const end = (error) => {
  if (ended) return;
  ended = true;
  if (error) report.error = error.code ?? error.message;
  report.ms = performance.now() - begin;
  process.stdout.write(JSON.stringify(report), () => process.exit());
};
setTimeout(() => end(new Error('silence')), 8000);
let due = 0;
const next = () => {
  const flight = flights.shift();
  if (flight === undefined) return end();
  due = flight.length * answers;
  for (const size of flight) socket.send(Buffer.alloc(size, 7), (error) => error && end(error));
};
socket.on('error', end).on('message', (message, { address }) => {
  report.from.push(address);
  report.sizes.push(message.length);
  if (--due === 0) next();
});
socket.connect(port, name, (error) => {
  if (error) return end(error);
  report.to = socket.remoteAddress().address;
  next();
});
`;

async function udp(namespace: Namespace, exchange: Exchange): Promise<UdpReport> {
  const { stdout, stderr } = await namespace.run(process.execPath, ['-e', UDP_CLIENT, JSON.stringify(exchange)], { ms: 20_000 });
  if (stdout.length === 0) throw new Error(`no report: ${stderr}`);
  return JSON.parse(stdout.toString()) as UdpReport;
}
