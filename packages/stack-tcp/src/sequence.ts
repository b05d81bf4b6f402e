/**
 * Sequence numbers: a circle of 2^32, kept as int32 so that V8 needs no box, and compared by their distance.
 * Read first: RFC 9293 section 3.4. `<` on two sequence numbers is always wrong.
 */

/** Whether `a` comes before `b`. */
export function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** Whether `a` is `b` or comes before it. */
export function upTo(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

/** How far it is from `a` to `b`: negative if `b` comes first. Times, which are int32 milliseconds, are compared in the same way. */
export function distance(a: number, b: number): number {
  return (b - a) | 0;
}

export function later(a: number, b: number): number {
  return ((a - b) | 0) > 0 ? a : b;
}

export function earlier(a: number, b: number): number {
  return ((a - b) | 0) < 0 ? a : b;
}
