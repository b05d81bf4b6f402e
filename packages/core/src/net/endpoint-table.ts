import { BoundedMap } from './bounded-map.js';
import type { Endpoint } from './endpoint.js';

/** One frozen object per endpoint, so that `===` replaces a look-up. Bounded: the oldest is forgotten, and made anew when it comes again. */
export class EndpointTable {
  readonly #known: BoundedMap<string, Endpoint>;

  constructor(limit = 4096) {
    this.#known = new BoundedMap(limit);
  }

  /** `host` must be canonical. */
  get(host: string, port: number): Endpoint {
    const key = `${host} ${port}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const endpoint: Endpoint = Object.freeze({ host, port });
    this.#known.set(key, endpoint);
    return endpoint;
  }
}
