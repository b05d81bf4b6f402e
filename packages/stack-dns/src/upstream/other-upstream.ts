import { type Cancel, type NameServer, NetError, toNetError } from '@nekit/core';
import { read16 } from '../wire/message.js';
import { matchOf, type Question, queryMessage } from '../wire/question.js';
import { Life } from './life.js';
import { type Upstream, type UpstreamContext, unlessCancelled } from './upstream.js';

/** A server of a kind that a plugin has brought. What it says is checked as if it came off a wire. */
export class OtherUpstream implements Upstream {
  readonly name: string;
  readonly #server: NameServer;
  readonly #context: Pick<UpstreamContext, 'random'>;
  readonly #life = new Life();

  constructor(name: string, server: NameServer, context: Pick<UpstreamContext, 'random'>) {
    this.name = name;
    this.#server = server;
    this.#context = context;
    this.#life.signal.onCancel(() => {
      try {
        server.close?.();
      } catch {} // the last question has its answer all the same
    });
  }

  ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    return this.#life.during(() => this.#ask(question, signal));
  }

  close(): void {
    this.#life.close();
  }

  async #ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    const sent = queryMessage(question, { id: read16(this.#context.random(2), 0), spelling: null, edns: true });
    let message: Uint8Array;
    try {
      message = await unlessCancelled(this.#server.ask(sent, signal), signal);
    } catch (error) {
      throw toNetError(error, this.name);
    }
    if (matchOf(sent, question.wire.length + 4, message) === 'no')
      throw new NetError('protocol', `${this.name} answered something that was not asked`, { code: 'DNS_BAD_MESSAGE' });
    return message;
  }
}
