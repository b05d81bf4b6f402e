import { readFileSync } from 'node:fs';

/** How many descriptors this process may have (RLIMIT_NOFILE); null: unlimited, or a host that does not tell. `limits`: what proc(5) says, for tests. */
export function descriptorLimit(limits: string = readLimits()): number | null {
  const found = /^Max open files\s+(\d+)/m.exec(limits);
  return found === null ? null : Number(found[1]);
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return ''; // there is no /proc
  }
}
