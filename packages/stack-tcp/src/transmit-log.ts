/**
 * What is in flight: ranges of sequence numbers with the time of their last transmission and what became of them.
 * Read first: RFC 8985 sections 4 to 6 (what RACK has to know per segment), RFC 6675 section 2 (the scoreboard).
 *
 *     first      end 0        end 1              end 2 = sndNxt
 *       |  sent   | SACKed     | sent again        |
 *
 * Neighbours of one time and state are one range, so a whole flush is one, and a super-packet never more than one.
 */
import { FIRST_CAPACITY, type RangePool, STRIDE } from './range-pool.js';
import { before, upTo } from './sequence.js';

/** What a range can be, as bits. */
export const SACKED = 1;
export const LOST = 2;
export const RETRANSMITTED = 4;

/** More ranges are not told apart: new ones join the last, and a SACK that would split one more is passed over (CVE-2019-11477: a bound on what a peer can make us keep). */
const MOST_RANGES = 1_024;

export class TransmitLog {
  /** Where the first range begins: sndUna. */
  first = 0;
  count = 0;
  /** Bytes that are neither SACKed nor lost. */
  inFlight = 0;
  sacked = 0;
  lost = 0;
  /** Of what the last `acknowledge` and `sack` calls delivered: bytes, and the range that was sent last (RACK.segment). `begin` clears them. */
  delivered = 0;
  newestSentAt = 0;
  newestEnd = 0;
  newestIsRetransmitted = false;
  /** Something was delivered behind what the peer had reported before, and was not sent twice: the path reorders. */
  isReordered = false;
  /** Behind the last byte that the peer has reported. */
  foremost = 0;
  #ranges: Int32Array | null = null;
  #capacity = 0;
  #head = 0;
  readonly #pool: RangePool;

  constructor(pool: RangePool) {
    this.#pool = pool;
  }

  reset(sequence: number): void {
    this.first = sequence;
    this.foremost = sequence;
    this.count = 0;
    this.#head = 0;
    this.inFlight = 0;
    this.sacked = 0;
    this.lost = 0;
    this.#ranges = null;
    this.#capacity = 0;
  }

  endOf(index: number): number {
    return this.#ranges?.[this.#at(index)] ?? 0;
  }

  startOf(index: number): number {
    return index === 0 ? this.first : this.endOf(index - 1);
  }

  sentAt(index: number): number {
    return this.#ranges?.[this.#at(index) + 1] ?? 0;
  }

  stateOf(index: number): number {
    return this.#ranges?.[this.#at(index) + 2] ?? 0;
  }

  /** `[last end, end)` was sent for the first time. */
  append(end: number, now: number): void {
    const start = this.count === 0 ? this.first : this.endOf(this.count - 1);
    this.inFlight += (end - start) | 0;
    if (this.count > 0) {
      const last = this.#at(this.count - 1);
      const ranges = this.#ranges;
      if (ranges !== null && ranges[last + 2] === 0 && (ranges[last + 1] === now || this.count >= MOST_RANGES)) {
        ranges[last] = end;
        ranges[last + 1] = now;
        return;
      }
    }
    this.#grow(this.count + 1);
    this.count++;
    this.#set(this.count - 1, end, now, 0);
  }

  /** Before the ACK at hand is looked at. */
  begin(): void {
    this.delivered = 0;
    this.isReordered = false;
    this.newestEnd = 0;
    this.newestSentAt = 0;
    this.newestIsRetransmitted = false;
  }

  /** Everything before `sequence` has arrived. */
  acknowledge(sequence: number): void {
    while (this.count > 0) {
      const end = this.endOf(0);
      const upto = before(sequence, end) ? sequence : end;
      const length = (upto - this.first) | 0;
      if (length <= 0) break;
      const state = this.stateOf(0);
      if ((state & SACKED) !== 0) this.sacked -= length;
      else {
        this.#leave(state, length);
        this.#deliver(0, upto, length);
      }
      this.first = upto;
      if (upto !== end) break;
      this.#head = (this.#head + 1) & (this.#capacity - 1);
      this.count--;
    }
    if (before(this.first, sequence)) this.first = sequence;
    if (before(this.foremost, sequence)) this.foremost = sequence;
    if (this.count === 0) this.release();
  }

  /** What is empty takes no memory: most connections are idle. */
  release(): void {
    if (this.#ranges === null) return;
    this.#pool.give(this.#ranges);
    this.#ranges = null;
    this.#capacity = 0;
    this.#head = 0;
  }

  /** The peer has `[left, right)`, which lies inside of what is in flight. */
  sack(left: number, right: number): void {
    for (let i = 0; i < this.count; i++) {
      const start = this.startOf(i);
      if (upTo(right, start)) break;
      const end = this.endOf(i);
      if (upTo(end, left) || (this.stateOf(i) & SACKED) !== 0) continue;
      if (before(start, left)) {
        if (!this.#split(i, left)) break;
        continue;
      }
      if (before(right, end) && !this.#split(i, right)) break;
      const length = (this.endOf(i) - start) | 0;
      this.#leave(this.stateOf(i), length);
      this.#deliver(i, this.endOf(i), length);
      this.sacked += length;
      this.#set(i, this.endOf(i), this.sentAt(i), SACKED);
      if (this.#join(i)) i--;
    }
    if (before(this.foremost, right)) this.foremost = right;
  }

  /** A range is lost. */
  markLost(index: number): void {
    const state = this.stateOf(index);
    if ((state & (LOST | SACKED)) !== 0) return;
    const length = (this.endOf(index) - this.startOf(index)) | 0;
    this.inFlight -= length;
    this.lost += length;
    this.#set(index, this.endOf(index), this.sentAt(index), state | LOST);
  }

  /** The first `length` bytes are lost, for peers without SACK. */
  markHeadLost(length: number): void {
    if (this.count === 0) return;
    const end = (this.first + length) | 0;
    if (before(end, this.endOf(0))) this.#split(0, end);
    this.markLost(0);
  }

  /** What begins before `sequence` is lost, unless it was SACKed. */
  markLostBefore(sequence: number): void {
    for (let i = 0; i < this.count && before(this.startOf(i), sequence); i++) this.markLost(i);
  }

  /** After a timeout: everything that was not SACKed. `forget`: and the SACKs do not count any more (the peer has thrown away what it reported). */
  markAllLost(forget: boolean): void {
    for (let i = 0; i < this.count; i++) {
      if (forget && (this.stateOf(i) & SACKED) !== 0) {
        const length = (this.endOf(i) - this.startOf(i)) | 0;
        this.sacked -= length;
        this.inFlight += length;
        this.#set(i, this.endOf(i), this.sentAt(i), RETRANSMITTED);
      }
      this.markLost(i);
    }
  }

  /** Nothing is lost after all: what was not sent again is still under way. */
  takeBack(): void {
    for (let i = 0; i < this.count; i++) {
      const state = this.stateOf(i);
      if ((state & LOST) !== 0) this.#set(i, this.endOf(i), this.sentAt(i), state & ~LOST);
    }
    this.inFlight += this.lost;
    this.lost = 0;
  }

  /** The first range that is lost and was not sent again, -1: none. */
  firstLost(): number {
    if (this.lost === 0) return -1;
    for (let i = 0; i < this.count; i++) if ((this.stateOf(i) & LOST) !== 0) return i;
    return -1;
  }

  /**
   * The first `length` bytes of a range were sent again. Where the log is full, its rest counts as sent, too, and is found lost once more: if it stayed lost, the same bytes would be
   * sent for ever, and a peer can fill the log (CVE-2019-11478).
   */
  retransmitted(index: number, length: number, now: number): void {
    const start = this.startOf(index);
    const end = (start + length) | 0;
    if (before(end, this.endOf(index))) this.#split(index, end);
    const state = this.stateOf(index);
    const sent = (this.endOf(index) - start) | 0;
    if ((state & LOST) !== 0) {
      this.lost -= sent;
      this.inFlight += sent;
    }
    this.#set(index, this.endOf(index), now, (state & ~LOST) | RETRANSMITTED);
    if (index > 0 && this.stateOf(index - 1) === RETRANSMITTED && this.sentAt(index - 1) === now && state !== SACKED) this.#remove(index - 1);
  }

  /** Cuts the range at the end of what is in flight so that its last `length` bytes are one of its own; gives its index, or -1: the log is full or empty. */
  isolateTail(length: number): number {
    if (this.count === 0) return -1;
    const last = this.count - 1;
    const cut = (this.endOf(last) - length) | 0;
    if (before(this.startOf(last), cut)) return this.#split(last, cut) ? last + 1 : -1;
    return last;
  }

  #at(index: number): number {
    return ((this.#head + index) & (this.#capacity - 1)) * STRIDE;
  }

  #set(index: number, end: number, sentAt: number, state: number): void {
    const ranges = this.#ranges;
    if (ranges === null) return;
    const at = this.#at(index);
    ranges[at] = end;
    ranges[at + 1] = sentAt;
    ranges[at + 2] = state;
  }

  #leave(state: number, length: number): void {
    if ((state & LOST) !== 0) this.lost -= length;
    else this.inFlight -= length;
  }

  /** Range `index` up to `end` has arrived. */
  #deliver(index: number, end: number, length: number): void {
    const sentAt = this.sentAt(index);
    const isRetransmitted = (this.stateOf(index) & RETRANSMITTED) !== 0;
    if (this.delivered === 0 || before(this.newestSentAt, sentAt) || (this.newestSentAt === sentAt && before(this.newestEnd, end))) {
      this.newestSentAt = sentAt;
      this.newestEnd = end;
      this.newestIsRetransmitted = isRetransmitted;
    }
    if (!isRetransmitted && before(end, this.foremost)) this.isReordered = true;
    this.delivered += length;
  }

  /** Two out of one, cut at `sequence`, which lies inside. false: the log is full. */
  #split(index: number, sequence: number): boolean {
    if (this.count >= MOST_RANGES) return false;
    this.#grow(this.count + 1);
    this.count++;
    for (let i = this.count - 1; i > index; i--) this.#set(i, this.endOf(i - 1), this.sentAt(i - 1), this.stateOf(i - 1));
    this.#set(index, sequence, this.sentAt(index), this.stateOf(index));
    return true;
  }

  /** A SACKed range swallows SACKed neighbours. Whether the one in front of it went. */
  #join(index: number): boolean {
    if (index + 1 < this.count && (this.stateOf(index + 1) & SACKED) !== 0) this.#remove(index);
    if (index === 0 || (this.stateOf(index - 1) & SACKED) === 0) return false;
    this.#remove(index - 1);
    return true;
  }

  /** Its bytes become the next one's. */
  #remove(index: number): void {
    for (let i = index; i + 1 < this.count; i++) this.#set(i, this.endOf(i + 1), this.sentAt(i + 1), this.stateOf(i + 1));
    this.count--;
  }

  #grow(count: number): void {
    if (count <= this.#capacity) return;
    const capacity = Math.max(FIRST_CAPACITY, this.#capacity * 2);
    const ranges = this.#pool.take(capacity);
    for (let i = 0; i < this.count; i++) {
      ranges[i * STRIDE] = this.endOf(i);
      ranges[i * STRIDE + 1] = this.sentAt(i);
      ranges[i * STRIDE + 2] = this.stateOf(i);
    }
    if (this.#ranges !== null) this.#pool.give(this.#ranges);
    this.#ranges = ranges;
    this.#capacity = capacity;
    this.#head = 0;
  }
}
