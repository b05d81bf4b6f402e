import type { Draft, DraftEntry, Place } from './draft.js';

/** The stream ciphers that the plugin has. */
const STREAM = /^(?:aes-(?:128|192|256)-(?:cfb|ctr)|chacha20(?:-ietf)?|salsa20|rc4-md5)$/;

const WHY =
  'is a broken cipher (bytes can be altered on the way, unseen, and so redirected and read), which "allow-insecure-ciphers" takes anyway: ' +
  'set the server to aes-256-gcm or 2022-blake3-aes-256-gcm';

/** Users bring servers with ciphers that are broken: they are allowed to, and told. */
export function withInsecureCipher(entry: DraftEntry['entry'], place: Place, draft: Draft): Pick<DraftEntry, 'entry' | 'comment'> {
  const { cipher } = entry;
  if (entry.type !== 'ss' || typeof cipher !== 'string' || !STREAM.test(cipher)) return { entry, comment: null };
  draft.note(place, `${cipher} ${WHY}`);
  return { entry: { ...entry, 'allow-insecure-ciphers': true }, comment: `${cipher} ${WHY}` };
}
