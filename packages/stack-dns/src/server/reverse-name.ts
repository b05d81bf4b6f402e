/** Names of addresses. Read first: RFC 1035 section 3.5, RFC 3596 section 2.5. */
import { formatAddress } from '@nekit/core';

/** `4.3.2.1.in-addr.arpa` or the 32 nibbles of `ip6.arpa`, in lower case, as a canonical address; null for any other name. */
export function addressOfReverseName(name: string): string | null {
  const labels = name.split('.');
  if (name.endsWith('.in-addr.arpa') && labels.length === 6) {
    const bytes = labels.slice(0, 4).reverse();
    if (bytes.some((label) => !/^(?:0|[1-9]\d{0,2})$/.test(label) || Number(label) > 255)) return null;
    return bytes.join('.');
  }
  if (!name.endsWith('.ip6.arpa') || labels.length !== 34) return null;
  const nibbles = labels.slice(0, 32).reverse();
  if (nibbles.some((label) => !/^[0-9a-f]$/.test(label))) return null;
  return formatAddress(Uint8Array.from(Buffer.from(nibbles.join(''), 'hex')));
}
