/** NEKit's `rule:` as rules and rule-providers. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { ConfigSource } from '@nekit/core';
import type { Draft, DraftRule } from './draft.js';
import type { NekitNames } from './nekit-adapters.js';
import { NekitEntry, placeOf } from './nekit-reader.js';

/** `folders`: where files that rules name are looked for; empty if they must not name any. */
export function draftRules(list: readonly unknown[], source: ConfigSource, names: NekitNames, folders: readonly string[], draft: Draft): void {
  for (const [index, value] of list.entries()) {
    const path = ['rule', index];
    try {
      addRule(new NekitEntry(source, path, value), names, folders, draft);
    } catch (error) {
      draft.note(placeOf(source, path), `the rule is left out: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const end = draft.rules.findIndex(({ kind }) => kind === 'MATCH');
  for (const { place } of end === -1 ? [] : draft.rules.splice(end + 1))
    draft.note(place, 'the rule is left out: the one of type "all" before takes everything');
  if (end === -1) draft.rules.push({ place: null, kind: 'MATCH', value: null, to: 'DIRECT', options: {}, comment: 'as NEKit ended every list' });
}

function addRule(entry: NekitEntry, names: NekitNames, folders: readonly string[], draft: Draft): void {
  const { place } = entry;
  const type = entry.text('type').toLowerCase();
  const id = entry.text('adapter');
  const name = names.get(id);
  if (name === undefined) throw new Error(`there is no adapter "${id}"`);
  const rule: DraftRule = { place, ...matchOf(type, entry, folders, draft), to: name ?? 'REJECT', comment: null };
  draft.rules.push(name === null ? draft.toReject(rule, id) : rule);
  entry.noteOthers(draft);
}

function matchOf(type: string, entry: NekitEntry, folders: readonly string[], draft: Draft): Pick<DraftRule, 'kind' | 'value' | 'options'> {
  switch (type) {
    case 'all':
      return { kind: 'MATCH', value: null, options: {} };
    case 'dnsfail':
      return { kind: 'DNSFAIL', value: null, options: {} };
    case 'country': {
      const value = entry.text('country');
      const match = entry.flag('match');
      if (match === null) throw new Error('"match" must be true or false');
      return { kind: 'COUNTRY', value, options: match ? {} : { match: false } };
    }
    case 'list':
    case 'domainlist':
      return { kind: 'RULE-SET', value: listOf(entry, 'domain', folders, draft), options: {} };
    case 'iplist':
      return { kind: 'RULE-SET', value: listOf(entry, 'ipcidr', folders, draft), options: {} };
    default:
      throw new Error('its type is none of country, domainlist, iplist, dnsfail and all');
  }
}

/** The file as a rule-provider: its name. One file that several rules use is one. */
function listOf(entry: NekitEntry, behavior: 'domain' | 'ipcidr', folders: readonly string[], draft: Draft): string {
  const written = entry.text('file');
  if (folders.length === 0) throw new Error('what comes from elsewhere must not name a file of this machine');
  const expanded = written === '~' || written.startsWith('~/') ? join(homedir(), written.slice(1)) : written;
  const places = folders.map((folder) => resolve(folder, expanded));
  const path = places.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error(`there is no file ${[...new Set(places)].join(', nor ')}`);
  const same = draft.providers.find(({ entry: other }) => other.path === path && other.behavior === behavior);
  if (same !== undefined) return same.name;
  const name = unused(
    basename(path)
      .replace(/\.[^.]*$/, '')
      .replace(/[^\w.-]+/g, '-') || 'list',
    draft,
  );
  draft.providers.push({ place: entry.place, name, entry: { type: 'file', behavior, format: 'nekit', path } });
  return name;
}

function unused(name: string, draft: Draft): string {
  let candidate = name;
  for (let count = 2; draft.providers.some((provider) => provider.name === candidate); count++) candidate = `${name}-${count}`;
  return candidate;
}
