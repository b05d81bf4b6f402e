/** Whether something rises over time: the line with the least squares through what was measured. */
import type { Counts } from './kernel-process.js';

/** The first part of the time: caches fill, code is compiled, allocators take what they will need. */
const WARM_UP = 1 / 3;

export interface Sample {
  /** Since the beginning. */
  readonly minutes: number;
  readonly counts: Counts;
}

/** How much the line rises from the end of the warm-up to the last sample. */
export function riseOf(samples: readonly Sample[], of: (counts: Counts) => number): number {
  const all = samples.at(-1)?.minutes ?? 0;
  const points = samples.filter(({ minutes }) => minutes >= all * WARM_UP).map(({ minutes, counts }): [number, number] => [minutes, of(counts)]);
  return slope(points) * all * (1 - WARM_UP);
}

/** Per unit of x. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (at: 0 | 1): number => points.reduce((sum, point) => sum + point[at], 0) / Math.max(1, points.length);
  const [x, y] = [mean(0), mean(1)];
  let above = 0;
  let below = 0;
  for (const [px, py] of points) {
    above += (px - x) * (py - y);
    below += (px - x) ** 2;
  }
  return below === 0 ? 0 : above / below;
}

export const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
