import { type InboundConnection, type InboundContext, type InboundProtocol, NetError, toNetError } from '@nekit/core';
import { Client, type NextStep } from './client.js';
import { serve4 } from './serve-4.js';
import { serve5 } from './serve-5.js';
import { VERSION_4, VERSION_5 } from './wire.js';

/** SOCKS 4, 4a and 5 on one port; the first byte says which. */
export const socksProtocol: InboundProtocol = {
  name: 'socks',
  takes: (first) => first[0] === VERSION_5 || first[0] === VERSION_4,
  serve,
};

/** A client that breaks the protocol, is too slow or leaves in the middle is reported and cut off; nothing is thrown. */
function serve(connection: InboundConnection, context: InboundContext): Promise<void> {
  const client = new Client(connection, context);
  const next = client.reader.peek(1).then((first) => shakeHands(client, first[0]));
  return next.then(
    (go) => {
      client.release();
      return go();
    },
    (thrown: unknown) => {
      const error = toNetError(thrown);
      client.release();
      client.report(error);
      connection.stream.abort(error);
    },
  );
}

function shakeHands(client: Client, version: number | undefined): Promise<NextStep> {
  if (version === undefined) throw new NetError('aborted', 'the client left without a word', { code: 'UNEXPECTED_END' });
  if (version === VERSION_5) return serve5(client);
  if (version === VERSION_4) return serve4(client);
  throw new NetError('protocol', `a SOCKS request cannot start with ${version}`, { code: 'SOCKS_PROTOCOL' });
}
