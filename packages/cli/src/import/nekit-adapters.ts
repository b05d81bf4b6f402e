/** NEKit's `adapter:` as proxies and groups. */
import type { ConfigSource } from '@nekit/core';
import type { Draft, DraftGroup } from './draft.js';
import { withInsecureCipher } from './insecure-cipher.js';
import { NekitEntry, placeOf } from './nekit-reader.js';

/** What rules call it in NEKit, to what it is called here; null: it could not be taken over. */
export type NekitNames = ReadonlyMap<string, string | null>;

/** Rules in NEKit mean this by `direct`, whatever else was called so. */
const DIRECT = 'direct';

export function draftAdapters(list: readonly unknown[], source: ConfigSource, draft: Draft): NekitNames {
  const names = new Map<string, string | null>([[DIRECT, 'DIRECT']]);
  for (const [index, value] of list.entries()) {
    const path = ['adapter', index];
    try {
      addAdapter(new NekitEntry(source, path, value), names, draft);
    } catch (error) {
      draft.note(placeOf(source, path), `the adapter is left out: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return names;
}

/** Throws a plain Error when it cannot be taken over. */
function addAdapter(entry: NekitEntry, names: Map<string, string | null>, draft: Draft): void {
  const id = entry.text('id');
  if (id === DIRECT) throw new Error('"direct" is there without being defined, and rules never use another one');
  if (names.has(id)) throw new Error(`the id "${id}" is there twice`);
  names.set(id, null);
  const type = entry.text('type').toLowerCase();
  const { place } = entry;
  if (type === 'speed') {
    const members = membersOf(entry, names, draft);
    const name = draft.claim(id);
    draft.groups.push({ place, name, type: 'race', members });
    names.set(id, name);
  } else {
    const config = configOf(type, entry, draft);
    const name = draft.claim(id);
    draft.proxies.push({ place, ...withInsecureCipher({ name, ...config }, place, draft) });
    names.set(id, name);
  }
  if (names.get(id) !== id) draft.note(place, `"${id}" is called "${names.get(id) ?? ''}" here`);
  entry.noteOthers(draft);
}

function configOf(type: string, entry: NekitEntry, draft: Draft): Record<string, unknown> {
  switch (type) {
    case 'http':
      return { type: 'http', ...serverOf(entry), ...authOf(entry, draft) };
    case 'shttp':
      return { type: 'http', ...serverOf(entry), tls: true, ...authOf(entry, draft) };
    case 'socks5':
      return { type: 'socks5', ...serverOf(entry) };
    case 'ss':
      return shadowsocksOf(entry);
    case 'reject':
      return { type: 'reject', delay: entry.delay('delay', draft) };
    default:
      throw new Error('its type is none of http, shttp, socks5, ss, speed and reject');
  }
}

function serverOf(entry: NekitEntry): Record<string, unknown> {
  return { server: entry.text('host').trim(), port: entry.port('port') };
}

function authOf(entry: NekitEntry, draft: Draft): Record<string, unknown> {
  const auth = entry.flag('auth');
  const [username, password] = [entry.optionalText('username'), entry.optionalText('password')];
  if (auth === true) {
    if (username === null || password === null) throw new Error('"auth: true" needs "username" and "password"');
    return { username, password };
  }
  if (username !== null || password !== null) draft.note(entry.place, 'username and password are left out: without "auth: true" NEKit did not send them');
  return {};
}

const SSR = 'that is ShadowsocksR, which is not supported (the protocol is dead): set the server to Shadowsocks with 2022-blake3-aes-256-gcm or aes-256-gcm';

function shadowsocksOf(entry: NekitEntry): Record<string, unknown> {
  const server = serverOf(entry);
  const cipher = entry.text('method').trim().toLowerCase();
  const password = entry.text('password');
  const protocol = (entry.optionalText('protocol') ?? 'origin').toLowerCase();
  const obfs = (entry.optionalText('obfs') ?? 'origin').toLowerCase();
  entry.optionalText('obfs_param');
  if (protocol === 'verify_sha1')
    throw new Error('its "protocol" is verify_sha1 (one-time authentication), which is gone from Shadowsocks since 2017: set the server to aes-256-gcm');
  if (protocol !== 'origin') throw new Error(`its "protocol" is not origin: ${SSR}`);
  if (obfs === 'http_simple' || obfs === 'tls1.2_ticket_auth')
    throw new Error(`its "obfs" is ${obfs}: ${SSR}, with v2ray-plugin or simple-obfs where it must be disguised`);
  if (obfs !== 'origin') throw new Error(`its "obfs" is not origin: ${SSR}`);
  if (entry.flag('ota') === true) throw new Error('"ota" (one-time authentication) is gone from Shadowsocks since 2017: set the server to aes-256-gcm');
  return { type: 'ss', ...server, cipher, password };
}

/** Members must be defined before; those that could not be taken over are left out. */
function membersOf(entry: NekitEntry, names: NekitNames, draft: Draft): DraftGroup['members'] {
  const members = entry.list('adapters').flatMap((member) => {
    const id = member.text('id');
    const delay = member.delay('delay', draft);
    const name = names.get(id);
    if (typeof name === 'string') return [{ name, delay }];
    draft.note(
      member.place,
      name === null ? `"${id}" is no member, because it could not be taken over` : `there is no adapter "${id}" before this one: it is no member`,
    );
    return [];
  });
  if (members.length === 0) throw new Error('it has no member');
  return members;
}
