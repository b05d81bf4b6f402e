import { domainToASCII } from 'node:url';
import { normaliseAddress } from './address.js';

/** Where to: an IP literal or a domain, and a port. Parsed once, at the edge; never passed on as "host:port". */
export interface Endpoint {
  /** Canonical: a dotted IPv4, an RFC 5952 IPv6 without brackets, or a lower-case ASCII domain without a final dot. */
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
}

/** The longest name in text form (RFC 1035 section 2.3.4, without the final dot). */
const MAX_DOMAIN = 253;

/** The longest text that is worth an IDNA conversion, in UTF-16 units: no name of 253 letters needs more, and the conversion is not linear. */
const MAX_IDN = 1024;

/**
 * A host as people and protocols write it, in canonical form, or null if it cannot be one. Odd spellings of an address
 * (`0x7f.1`, `2130706433`, `::ffff:127.0.0.1`) become the address they mean, or IP rules could be walked around.
 */
export function normaliseHost(text: string): string | null {
  if (text.startsWith('[') && text.endsWith(']')) {
    const bare = text.slice(1, -1);
    // In a URI the zone's '%' is written '%25' (RFC 6874 section 2).
    return bare.includes(':') ? normaliseAddress(bare.replace(/%25(?=.)/, '%')) : null; // brackets belong to IPv6 alone
  }
  if (text.includes(':')) return normaliseAddress(text); // and so do colons
  return normaliseAddress(text) ?? normaliseDomain(text);
}

function normaliseDomain(text: string): string | null {
  let domain = text;
  if (!isPlainDomain(domain)) {
    // Node's conversion is half a URL parser: it decodes %2e and cuts at '/', '?' and '#'. Only letters of other scripts are for it.
    if (text.length > MAX_IDN || !isPlainDomain(text.replace(/\P{ASCII}/gu, 'x'))) return null;
    domain = domainToASCII(domain);
    // A full-width or otherwise dressed-up address comes out of IDNA as an address: judge it as one.
    const address = normaliseAddress(domain);
    if (address !== null) return address;
    if (!isPlainDomain(domain)) return null;
  }
  if (domain.endsWith('.')) domain = domain.slice(0, -1);
  if (domain.length > MAX_DOMAIN) return null;
  const labels = domain.split('.');
  for (const label of labels) if (label.length === 0 || label.length > 63) return null;
  // What ends in a number but is no address is a broken address, not a name: resolvers disagree on it (URL standard, "ends in a number").
  if (/^(?:[0-9]+|0[xX][0-9a-fA-F]*)$/.test(labels.at(-1) ?? '')) return null;
  return domain.toLowerCase();
}

/** Letters, digits, '-', '_' and dots: what names are made of in practice (RFC 1123 plus the underscore of service names). */
function isPlainDomain(text: string): boolean {
  if (text.length === 0) return false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i) | 0x20;
    const code = text.charCodeAt(i);
    const letter = c >= 0x61 && c <= 0x7a;
    const digit = code >= 0x30 && code <= 0x39;
    if (!letter && !digit && code !== 0x2d && code !== 0x2e && code !== 0x5f) return false;
  }
  return true;
}

/** Decimal digits, 0 to 65535, or null. */
export function parsePort(text: string): number | null {
  if (text.length === 0 || text.length > 5) return null;
  let port = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return null;
    port = port * 10 + digit;
  }
  return port <= 0xffff ? port : null;
}

/** `host:port`, `[v6]:port`; without a port only if a default is given. null if it is neither. */
export function parseEndpoint(text: string, defaultPort?: number): Endpoint | null {
  let host = text;
  let port: number | null = defaultPort ?? null;
  const bracket = text.startsWith('[') ? text.indexOf(']') : -1;
  const colon = text.indexOf(':', bracket === -1 ? 0 : bracket);
  const bareIPv6 = bracket === -1 && colon !== -1 && text.indexOf(':', colon + 1) !== -1;
  if (colon !== -1 && !bareIPv6) {
    host = text.slice(0, colon);
    port = parsePort(text.slice(colon + 1));
  }
  const normal = normaliseHost(host);
  return normal === null || port === null ? null : { host: normal, port };
}

/** `example.com:80`, `[::1]:80`. For people and for HTTP, never for parsing again. */
export function formatEndpoint(endpoint: Endpoint): string {
  return endpoint.host.includes(':') ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`;
}
