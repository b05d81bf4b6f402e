/** Questions over UDP. Read first: RFC 5452 (what makes answers hard to forge), RFC 7766 section 5 (TC). */
import { type Cancel, type Datagram, type Endpoint, isSameAddress, NetError, type PacketConn, toNetError } from '@nekit/core';
import { HEADER, RCODE, TC } from '../wire/message.js';
import { matchOf, type Question, queryMessage } from '../wire/question.js';
import type { Route, Upstream, UpstreamContext } from './upstream.js';

/** When the question is sent again, in ms after the time before: a datagram is lost now and then. */
const AGAIN = [1_000, 1_500];

/** Answers to something else that one question stands; beyond, somebody is guessing, and TCP cannot be guessed. */
const MAX_WRONG = 16;

/**
 * One socket for each question, so that the port is as random as the id: the system gives any of some 28,000. With the case of the letters that is what somebody who cannot see the
 * question has to guess.
 */
export class UdpUpstream implements Upstream {
  readonly name: string;
  readonly #route: Route;
  readonly #tcp: Upstream;
  readonly #context: UpstreamContext;

  /** `tcp`: the same server, for what UDP has no room for. */
  constructor(name: string, route: Route, tcp: Upstream, context: UpstreamContext) {
    this.name = name;
    this.#route = route;
    this.#tcp = tcp;
    this.#context = context;
  }

  async ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    const { endpoint } = this.#route;
    const { adapter, options } = await this.#route.way('udp', signal);
    // A proxy that has no UDP is asked by TCP.
    if (adapter.packet === undefined) return this.#tcp.ask(question, signal);
    const conn = await adapter.packet.dialPacket(options);
    let answer: Uint8Array | null;
    try {
      answer = await this.#exchange(conn, question, { endpoint, addresses: options.addresses }, signal, true);
      // Servers that know no EDNS say so by one of these (RFC 6891 section 7).
      const rcode = (answer?.[3] ?? 0) & 0xf;
      if (answer !== null && answer.length <= HEADER + question.wire.length + 4 && (rcode === RCODE.FORMERR || rcode === RCODE.NOTIMP))
        answer = await this.#exchange(conn, question, { endpoint, addresses: options.addresses }, signal, false);
    } finally {
      conn.close();
    }
    return answer ?? this.#tcp.ask(question, signal);
  }

  close(): void {
    this.#tcp.close();
  }

  /** null: TCP is to be asked. */
  #exchange(conn: PacketConn, question: Question, to: Target, signal: Cancel, edns: boolean): Promise<Uint8Array | null> {
    const random = this.#context.random(2 + 32);
    const id = ((random[0] ?? 0) << 8) | (random[1] ?? 0);
    const sent = queryMessage(question, { id, spelling: random.subarray(2), edns });
    if (signal.reason !== null) return Promise.reject(toNetError(signal.reason));
    return new Promise((resolve, reject) => {
      let wrong = 0;
      let tries = 0;
      let done = false;
      let stopTimer = (): void => {};
      const finish = (run: () => void): void => {
        if (done) return;
        done = true;
        stopTimer();
        forget();
        run();
      };
      const forget = signal.onCancel((reason) => finish(() => reject(toNetError(reason))));
      const fail = (error: NetError): void => finish(() => reject(error));
      const send = (): void => {
        if (done) return;
        const { endpoint: peer, addresses } = to;
        // At its addresses in turn.
        const isSent = conn.send([addresses === undefined ? { bytes: sent, peer } : { bytes: sent, peer, addresses, turn: tries }]) > 0;
        if (!isSent && conn.error === null) {
          fail(new NetError('unreachable', `${this.name} cannot be asked: the datagram was not sent`, { code: 'DNS_NOT_SENT' }));
          return;
        }
        const wait = AGAIN[tries++];
        if (wait !== undefined) stopTimer = this.#context.clock.after(wait, send);
      };
      const judge = ({ bytes, peer }: Datagram): void => {
        if (done) return;
        const match = isFrom(peer, to) ? matchOf(sent, question.wire.length + 4, bytes) : 'no';
        if (match === 'yes' && ((bytes[2] ?? 0) & TC) === 0) {
          const answer = Uint8Array.from(bytes);
          finish(() => resolve(answer));
        } else if (match !== 'no' || ++wrong > MAX_WRONG) finish(() => resolve(null));
      };
      const receive = async (): Promise<void> => {
        while (!done) {
          const datagrams = await conn.receive();
          if (datagrams === null) {
            fail(conn.error ?? new NetError('aborted', `${this.name}: the association ended before an answer came`));
            return;
          }
          for (const datagram of datagrams) judge(datagram);
        }
      };
      send();
      receive().catch((error: unknown) => fail(toNetError(error)));
    });
  }
}

interface Target {
  readonly endpoint: Endpoint;
  readonly addresses: readonly string[] | undefined;
}

/** A proxy may tell the address of a server that it was given by name. */
function isFrom(peer: Endpoint, { endpoint, addresses }: Target): boolean {
  if (peer.port !== endpoint.port) return false;
  if (isSameAddress(peer.host, endpoint.host) || addresses?.some((address) => isSameAddress(peer.host, address)) === true) return true;
  return addresses === undefined && /[^0-9.]/.test(endpoint.host) && !endpoint.host.includes(':');
}
