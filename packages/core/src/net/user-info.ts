/** The part of a URI in front of its host (RFC 3986 section 3.2.1), as v2rayN and its kin write it: name and password in base64, both as one. */

const PACKED = /^([a-z][a-z0-9+.-]*:\/\/)([a-z0-9+/_-]+(?:=|%3d){0,2})@/i;

/** The URI with `user:password` written out where they were in base64 (either alphabet, padded or not); any other as it is. */
export function unpackUserInfo(uri: string): string {
  const [all, scheme = '', packed = ''] = PACKED.exec(uri) ?? [];
  const [, user, password] = /^([^:]+):(.+)$/.exec(base64Text(packed.replace(/%3d/gi, '=')) ?? '') ?? [];
  // What is not printable was no text: a name that happens to be made of these letters.
  if (all === undefined || user === undefined || password === undefined || /\p{C}/u.test(user + password)) return uri;
  return `${scheme}${encodeURIComponent(user)}:${encodeURIComponent(password)}@${uri.slice(all.length)}`;
}

/** UTF-8 text in base64, of either alphabet, padded or not; null for anything else. */
export function base64Text(text: string): string | null {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1) return null;
  const bytes = Buffer.from(text, 'base64');
  const decoded = bytes.toString();
  return Buffer.from(decoded).equals(bytes) ? decoded : null;
}
