import { readFileSync } from 'node:fs';

/** As many client ports as half of this process's descriptors carry (RLIMIT_NOFILE), and not more than `most`: the other half is for connections. */
export function portsAllowed(most: number, limits: string = readLimits()): number {
  const found = /^Max open files\s+(\d+)/m.exec(limits);
  if (found === null) return most; // unlimited, or a host that does not tell
  return Math.max(8, Math.min(most, Math.floor(Number(found[1]) / 2)));
}

/** Empty where there is no /proc. */
function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return '';
  }
}
