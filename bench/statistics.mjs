// Medians and ratios of figures that were taken by rounds.

export function median(values) {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of one figure over rounds; a round that failed has none. */
export function medianOf(rounds, figure) {
  return median((rounds ?? []).map((round) => round?.[figure]).filter((value) => Number.isFinite(value)));
}

/** The median over rounds of ours divided by theirs in the same round: what drifts with the machine cancels out. */
export function pairedRatio(ours, theirs, figure) {
  const ratios = [];
  for (const [index, round] of (ours ?? []).entries()) {
    const [value, other] = [round?.[figure], theirs?.[index]?.[figure]];
    if (Number.isFinite(value) && other > 0) ratios.push(value / other);
  }
  return median(ratios);
}
