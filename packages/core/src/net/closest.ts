/**
 * "Did you mean …": the candidate that a person most likely meant by `word`, or null if none is close. Upper and lower case are the
 * same; close is one slip (a letter too much, too few, wrong, or two swapped) per three letters, at most three.
 */
export function closest(word: string, candidates: Iterable<string>): string | null {
  const wanted = word.toLowerCase().slice(0, MAX_LENGTH);
  const rows: Rows = [[], [], []];
  let limit = Math.min(3, Math.ceil(wanted.length / 3));
  let best: string | null = null;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - wanted.length) > limit) continue;
    const slips = distance(wanted, candidate.toLowerCase(), limit, rows);
    if (slips > limit || (slips === limit && best !== null)) continue;
    best = candidate;
    limit = slips;
  }
  return best;
}

/** Longer words are cut: nobody's slip is told from so far away, and the distance costs a product of lengths. */
const MAX_LENGTH = 128;

/** Used again for each candidate: there may be thousands. */
type Rows = readonly [number[], number[], number[]];

/**
 * Optimal string alignment: insert, remove, replace, swap neighbours. Three rows are enough, and of each what lies within `limit` of the
 * diagonal. Above `limit` the number says just that.
 */
function distance(a: string, b: string, limit: number, rows: Rows): number {
  let [before, above, row] = rows;
  for (let j = 0; j <= b.length; j++) above[j] = j;
  for (let i = 1; i <= a.length; i++) {
    const first = Math.max(1, i - limit);
    const last = Math.min(b.length, i + limit);
    row[first - 1] = first === 1 ? i : limit + 1;
    let least = at(row, first - 1);
    for (let j = first; j <= last; j++) {
      const same = a[i - 1] === b[j - 1];
      let slips = Math.min(at(above, j) + 1, at(row, j - 1) + 1, at(above, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) slips = Math.min(slips, at(before, j - 2) + 1);
      row[j] = slips;
      least = Math.min(least, slips);
    }
    if (least > limit) return least; // no row below has less: a swap costs what a letter wrong does in the row that it skips
    row[last + 1] = limit + 1;
    [before, above, row] = [above, row, before];
  }
  return at(above, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? 0;
}
