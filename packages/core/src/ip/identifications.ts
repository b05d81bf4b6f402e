import { read16, read32 } from './bytes.js';

/** Those of IPv4. */
const DECK = 0x1_0000;
/** Random bytes that are fetched at a time. */
const POOL = 256;

/**
 * Identifications of datagrams that are cut, or may be on their way, unlike those of a counter unpredictable: who sees his own must not know those of others, to put false fragments
 * between theirs or to count their packets (RFC 7739 sections 3 and 4).
 * 16 bits are too few to be drawn at random, for none may come again while fragments of the last with it may be on their way (RFC 6864 section 4.1). So they are a deck of cards: the next
 * is taken, and put back among the 32,768 before it, from where it comes again after as many others at least. Memory for it (128 KiB) is taken with the first.
 */
export class Identifications {
  readonly #random: (length: number) => Uint8Array;
  #pool = new Uint8Array(0);
  #poolAt = 0;
  #deck: Uint16Array | null = null;
  #next = 0;

  /** `random`: bytes that nobody can guess. */
  constructor(random: (length: number) => Uint8Array) {
    this.#random = random;
  }

  /** A uint32; IPv4 takes the lower half of it. */
  next(): number {
    this.#deck ??= shuffled(this.#random(2 * DECK));
    if (this.#poolAt === this.#pool.length) {
      this.#pool = Uint8Array.from(this.#random(POOL));
      this.#poolAt = 0;
    }
    const random = read32(this.#pool, this.#poolAt);
    this.#poolAt += 4;
    const at = this.#next;
    const back = (at - (random & 0x7fff)) & 0xffff;
    const card = this.#deck[at] ?? 0;
    this.#deck[at] = this.#deck[back] ?? 0;
    this.#deck[back] = card;
    this.#next = (at + 1) & 0xffff;
    return ((random & 0xffff_0000) | card) >>> 0;
  }
}

/** All numbers of 16 bits, by two random bytes for each (Fisher and Yates). */
function shuffled(random: Uint8Array): Uint16Array {
  const deck = new Uint16Array(DECK);
  for (let i = 0; i < DECK; i++) {
    const other = (read16(random, 2 * i) * (i + 1)) >>> 16;
    deck[i] = deck[other] ?? 0;
    deck[other] = i;
  }
  return deck;
}
