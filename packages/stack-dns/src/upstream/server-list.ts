/** Several servers as one: the best is asked first, the next when it is late or cannot answer. */
import { type Cancel, CancelSource, type Clock, NetError, timeoutError, toNetError } from '@nekit/core';
import { type Answer, readAnswer } from '../wire/answer.js';
import { RCODE } from '../wire/message.js';
import type { Question } from '../wire/question.js';
import type { Upstream } from './upstream.js';

/** A server that takes longer than this, in ms, gets a rival. Most answers are there in 100. */
export const PATIENCE = 300;
/** A server that failed is asked last for so long, in ms; doubled with each failure in a row. */
const PENALTY = 2_000;
const MAX_PENALTY = 60_000;
/** Weight of a new measurement of the time that a server takes. */
const GAIN = 0.25;

interface Member {
  readonly upstream: Upstream;
  /** Smoothed, in ms. */
  ms: number;
  failures: number;
  /** It is asked last until then. */
  until: number;
}

export interface ServerListOptions {
  readonly clock: Clock;
  /** For all servers together, in ms. */
  readonly timeoutMs: number;
}

export class ServerList {
  readonly #members: readonly Member[];
  readonly #options: ServerListOptions;

  constructor(upstreams: readonly Upstream[], options: ServerListOptions) {
    this.#members = upstreams.map((upstream) => ({ upstream, ms: 0, failures: 0, until: 0 }));
    this.#options = options;
  }

  get names(): readonly string[] {
    return this.#members.map(({ upstream }) => upstream.name);
  }

  /** Each has failed a moment ago. */
  get isFailing(): boolean {
    const now = this.#options.clock.now();
    return this.#members.every(({ until }) => until > now);
  }

  /** The first good answer; the first bad one (SERVFAIL, REFUSED) if there is no other. Rejects with a NetError if nobody answers. */
  ask(question: Question, signal: Cancel): Promise<Answer> {
    if (signal.reason !== null) return Promise.reject(toNetError(signal.reason));
    const { clock, timeoutMs } = this.#options;
    const now = clock.now();
    const order = [...this.#members].sort((one, other) => Number(one.until > now) - Number(other.until > now) || one.ms - other.ms);
    const stop = new CancelSource(signal);
    return new Promise((resolve, reject) => {
      let next = 0;
      let running = 0;
      let bad: Answer | null = null;
      let error: NetError | null = null;
      let settled = false;
      let stopTimer = (): void => {};
      const stopDeadline = clock.after(timeoutMs, () => stop.cancel(timeoutError(`asking ${this.names.join(', ')} for ${question.name}`, timeoutMs)));
      const settle = (run: () => void): void => {
        if (settled) return;
        settled = true;
        stopTimer();
        stopDeadline();
        forget();
        stop.cancel(LOST);
        run();
      };
      const forget = stop.onCancel((reason) => {
        const answer = bad;
        settle(() => (answer === null ? reject(toNetError(reason)) : resolve(answer)));
      });
      const begin = (): void => {
        stopTimer();
        const member = order[next++];
        if (settled || member === undefined) return;
        running++;
        if (next < order.length) stopTimer = clock.after(PATIENCE, begin);
        this.#askOne(member, question, stop, signal).then(
          (answer) => {
            running--;
            if (isGood(answer)) settle(() => resolve(answer));
            else {
              bad ??= answer;
              another();
            }
          },
          (reason: unknown) => {
            running--;
            error ??= toNetError(reason);
            another();
          },
        );
      };
      const another = (): void => {
        if (settled) return;
        if (next < order.length) begin();
        else if (running === 0) {
          const [answer, failure] = [bad, error];
          settle(() => (answer === null ? reject(failure ?? NOBODY) : resolve(answer)));
        }
      };
      if (order.length === 0) settle(() => reject(NOBODY));
      else begin();
    });
  }

  close(): void {
    for (const { upstream } of this.#members) upstream.close();
  }

  async #askOne(member: Member, question: Question, signal: Cancel, asker: Cancel): Promise<Answer> {
    const { clock } = this.#options;
    const { upstream } = member;
    const start = clock.now();
    try {
      const message = await upstream.ask(question, signal);
      const answer = readAnswer(message, question.wire.length + 4) ?? emptyError(message, question);
      if (answer === null) throw new NetError('protocol', `${upstream.name} sent a broken answer to ${question.name}`, { code: 'DNS_BAD_MESSAGE' });
      const ms = clock.now() - start;
      member.ms = member.ms === 0 ? ms : member.ms + GAIN * (ms - member.ms);
      if (answer.rcode === RCODE.SERVFAIL || answer.rcode === RCODE.REFUSED) return answer; // of this name, perhaps: no penalty, nor a proof of health
      member.failures = 0;
      member.until = 0;
      return answer;
    } catch (error) {
      // Who lost a race is only as slow as it was up to then.
      if (signal.reason === LOST) member.ms = Math.max(member.ms, clock.now() - start);
      else if (asker.reason === null || asker.reason === LATE) {
        member.failures++;
        member.until = clock.now() + Math.min(MAX_PENALTY, PENALTY * 2 ** (member.failures - 1));
      }
      throw error;
    }
  }
}

export const LOST = new NetError('aborted', 'another server has answered', { code: 'LOST_RACE' });
/** Cancels a question that others have answered, and counts as a failure. */
export const LATE = new NetError('timeout', 'other servers have answered much earlier', { code: 'DNS_LATE' });
const NOBODY = new NetError('name', 'there is no name server to ask', { code: 'DNS_NO_SERVER' });

/** Whether it says what there is, or that there is nothing. */
export function isGood({ rcode }: Answer): boolean {
  return rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN;
}

/** An error that came without the question: as one with it. */
function emptyError(message: Uint8Array, question: Question): Answer | null {
  const rcode = (message[3] ?? 0) & 0xf;
  if (message.length !== 12 || rcode === 0) return null;
  const bytes = new Uint8Array(12 + question.wire.length + 4);
  bytes.set(message);
  bytes[5] = 1;
  bytes.set(question.wire, 12);
  bytes[bytes.length - 3] = question.type;
  bytes[bytes.length - 1] = 1;
  return { bytes, rcode, ttls: new Uint16Array(0), ttl: 0, negative: true, answers: 0, start: bytes.length };
}
