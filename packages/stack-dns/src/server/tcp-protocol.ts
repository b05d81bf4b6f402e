import { type InboundConnection, type InboundProtocol, NetError, type Stream, type TimerWheel, toNetError } from '@nekit/core';
import type { Answerer } from './answerer.js';
import type { Clients } from './clients.js';
import { DnsStream, QUESTION_IDLE } from './dns-stream.js';

export interface TcpProtocolOptions {
  readonly server: Answerer;
  readonly clients: Clients;
  readonly timers: TimerWheel;
}

/** The server on a TCP port. */
export function dnsOverTcp({ server, clients, timers }: TcpProtocolOptions): InboundProtocol {
  return {
    name: 'dns',
    takes: () => true,
    async serve({ stream, source, signal, retired }: InboundConnection): Promise<void> {
      if (clients.refuses(source.host, timers.now()) !== null) {
        stream.abort(new NetError('denied', `${source.host} may not ask this name server`, { code: 'DNS_FAR_CLIENT' }));
        return;
      }
      const counted: Answerer = {
        respond: (bytes, start, end, transport, out) =>
          clients.refuses(source.host, timers.now()) === null ? server.respond(bytes, start, end, transport, out) : server.refuse(bytes, start, end, out),
        refuse: (...given) => server.refuse(...given),
      };
      const answers = new DnsStream(counted);
      const idle = timers.after(QUESTION_IDLE, () => stream.abort(new NetError('timeout', `no question for ${QUESTION_IDLE} ms`)));
      const forget = signal.onCancel((reason) => answers.abort(reason));
      // No more questions; those under way are answered.
      const forgetRetired = retired.onCancel(() => {
        void answers.closeWrite().catch(() => undefined); // it has failed, which the pumps tell
      });
      const moved = (): void => {
        idle.at = timers.now() + QUESTION_IDLE;
      };
      try {
        await Promise.all([pump(stream, answers, moved), pump(answers, stream, moved)]);
      } catch (error) {
        answers.abort(toNetError(error));
        stream.abort(toNetError(error));
        throw error;
      } finally {
        idle.cancel();
        forget();
        forgetRetired();
      }
    },
  };
}

async function pump(from: Stream, to: Stream, moved: () => void): Promise<void> {
  for (let chunks = await from.read(); chunks !== null; chunks = await from.read()) {
    moved();
    await to.write(chunks);
  }
  await to.closeWrite();
}
