import { NetError, type Session, type Stream, type StreamRequest } from '@nekit/core';

/** A valid request. There is no word for "no" in Shadowsocks: a refusal is a reset, which tells who has the password nothing new. */
export class TunnelRequest implements StreamRequest {
  readonly session: Session;
  readonly #stream: Stream;
  #answered = false;

  /** `stream`: plain bytes, those behind the address in front. */
  constructor(session: Session, stream: Stream) {
    this.session = session;
    this.#stream = stream;
  }

  accept(): Promise<Stream> {
    if (this.#answered) return Promise.reject(new NetError('aborted', 'the request was answered before', { code: 'ANSWERED' }));
    this.#answered = true;
    return Promise.resolve(this.#stream);
  }

  reject(error: NetError): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#stream.abort(error);
  }

  /** Nobody stays without an answer. */
  ended(): void {
    if (!this.#answered) this.reject(new NetError('aborted', 'nobody answered the request'));
  }
}
