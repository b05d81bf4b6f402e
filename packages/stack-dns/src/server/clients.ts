/** Who may ask: no open resolver, and nobody too often. */
import { addressTest, LOCAL_NETWORKS } from '../networks.js';
import { RateLimit } from './rate-limit.js';

const isNear = addressTest(LOCAL_NETWORKS);
const isHere = addressTest(['127.0.0.0/8', '::1/128']);

/** Judgements that are kept. */
const MAX_KNOWN = 4_096;

type Kind = 'here' | 'near' | 'far';

export class Clients {
  readonly #limit: RateLimit;
  readonly #kinds = new Map<string, Kind>();

  /** Questions a second that another machine may ask; 0: any number. */
  constructor(perSecond: number) {
    this.#limit = new RateLimit(perSecond);
  }

  /** null: yes. `far`: no business of ours. `often`: later, perhaps. */
  refuses(address: string, now: number): 'far' | 'often' | null {
    const kind = this.#kindOf(address);
    if (kind === 'here') return null;
    if (kind === 'far') return 'far';
    return this.#limit.take(address, now) ? null : 'often';
  }

  #kindOf(address: string): Kind {
    const known = this.#kinds.get(address);
    if (known !== undefined) return known;
    if (this.#kinds.size >= MAX_KNOWN) this.#kinds.clear();
    const kind = isHere(address) ? 'here' : isNear(address) ? 'near' : 'far';
    this.#kinds.set(address, kind);
    return kind;
  }
}
