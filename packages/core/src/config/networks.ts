import { parseAddress } from '../net/address.js';

/** `10.0.0.0/8` or a single address, as it is; null if it is neither. */
export function checkNetwork(text: string): string | null {
  const [address = '', bits, more] = text.trim().split('/');
  if (more !== undefined || address.includes('%')) return null;
  const bytes = parseAddress(address);
  if (bytes === null) return null;
  const longest = bytes.length * 8;
  if (bits === undefined) return `${address}/${longest}`;
  return /^[0-9]{1,3}$/.test(bits) && Number(bits) <= longest ? `${address}/${Number(bits)}` : null;
}
