/** A retransmission comes one second after its SYN (RFC 6298), or later, and not after this; in ticks. */
const EARLIEST = 2;
const LATEST = 200;
/** ms per tick, as a shift. Ticks are kept as 8 bits: they wrap after 65 s. */
const TICK_SHIFT = 8;
/** SYNs that are remembered: those of three seconds at 20,000 per second find their place free nine times out of ten. */
const SLOTS = 1 << 18;

/**
 * SYNs that were dropped in a crowd, to know them when they come again. A flood with false sources sends each of its SYNs once; a client that lives sends its own again after a
 * second, and is let in then (greylisting). One word per SYN, in a table of fixed size (1 MiB) that exists only while there is a crowd; a newer SYN takes the place of an older one.
 *
 *     | fingerprint of the flow's keyed hash and the sequence number, 24 bits | tick, 8 bits |
 */
export class Greylist {
  #slots: Uint32Array | null = null;

  /** Whether this SYN was dropped here before and may be a retransmission now; if not, it is remembered. `hash`: of its flow, keyed. `now` in int32 ms. */
  hasAsked(hash: number, sequence: number, now: number): boolean {
    this.#slots ??= new Uint32Array(SLOTS);
    const mixed = Math.imul((hash ^ Math.imul(sequence, 0x9e37_79b1)) | 0, 0x85eb_ca6b);
    const slot = (hash >>> 3) & (SLOTS - 1);
    const tick = (now >>> TICK_SHIFT) & 0xff;
    const kept = this.#slots[slot] ?? 0;
    const age = (tick - (kept & 0xff)) & 0xff;
    if (kept >>> 8 === mixed >>> 8 && kept !== 0) {
      // Sent again at once it stays what it was: nobody gets in by saying everything twice.
      if (age < EARLIEST) return false;
      if (age <= LATEST) {
        this.#slots[slot] = 0;
        return true;
      }
    }
    this.#slots[slot] = ((mixed & ~0xff) | tick) >>> 0;
    return false;
  }

  /** The crowd is gone. */
  release(): void {
    this.#slots = null;
  }
}
