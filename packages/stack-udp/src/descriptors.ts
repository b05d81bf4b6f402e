import { descriptorLimit } from '@nekit/core';

/** As many client ports as half of this process's descriptors carry, and not more than `most`: the other half is for connections. `limits`: see `descriptorLimit`. */
export function portsAllowed(most: number, limits?: string): number {
  const descriptors = descriptorLimit(limits);
  return descriptors === null ? most : Math.max(8, Math.min(most, Math.floor(descriptors / 2)));
}
