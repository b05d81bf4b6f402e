/**
 * "Did you mean …": the candidate that a person most likely meant by `word`, or null if none is close. Upper and lower case are the
 * same; close is one slip (a letter too much, too few, wrong, or two swapped) per three letters, at most three.
 */
export function closest(word: string, candidates: Iterable<string>): string | null {
  const wanted = word.toLowerCase().slice(0, MAX_LENGTH);
  let limit = Math.min(3, Math.ceil(wanted.length / 3));
  let best: string | null = null;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - wanted.length) > limit) continue;
    const slips = distance(wanted, candidate.toLowerCase());
    if (slips > limit || (slips === limit && best !== null)) continue;
    best = candidate;
    limit = slips;
  }
  return best;
}

/** Longer words are cut: nobody's slip is told from so far away, and the distance costs a product of lengths. */
const MAX_LENGTH = 128;

/** Optimal string alignment: insert, remove, replace, swap neighbours. Three rows are enough. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(at(above, j) + 1, at(row, j - 1) + 1, at(above, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, at(before, j - 2) + 1);
      row.push(least);
    }
    before = above;
    above = row;
  }
  return at(above, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? 0;
}
