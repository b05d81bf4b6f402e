import { NetError } from '../net/errors.js';
import type { Stream } from '../net/stream.js';
import { StreamReader } from '../net/stream-reader.js';
import type { InboundProtocol } from './inbound.js';

/** More first bytes than this tell nobody anything. */
const MAX_FIRST_BYTES = 64;

/**
 * Finds the protocol by a connection's first bytes; gives it and the stream with those bytes still in front. null: the client left without
 * a word. Rejects with NetError 'protocol' when no protocol takes them.
 */
export async function chooseProtocol(stream: Stream, protocols: readonly InboundProtocol[]): Promise<{ protocol: InboundProtocol; stream: Stream } | null> {
  const reader = new StreamReader(stream);
  for (let wanted = 1; ; wanted++) {
    const first = await reader.peek(wanted);
    if (first.length === 0) return null;
    let open = false;
    for (const protocol of protocols) {
      const takes = protocol.takes(first);
      if (takes === true) return { protocol, stream: reader.release() };
      open ||= takes === undefined;
    }
    if (!open || first.length < wanted || first.length >= MAX_FIRST_BYTES)
      throw new NetError('protocol', 'the client speaks none of the protocols of this port', { code: 'UNKNOWN_PROTOCOL' });
    wanted = first.length;
  }
}
