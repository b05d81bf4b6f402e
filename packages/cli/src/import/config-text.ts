/** From a draft to the text of a config that `check --strict` has nothing to say about. */
import { checkConfig, clean, type Problem, parseConfig, type Registry } from '@nekit/core';
import { type Draft, type DraftGroup, type DraftRule, notedLines, type Place } from './draft.js';
import { yamlItem, yamlValue } from './yaml-text.js';

/** Takes out what this kernel would not run, with a note each, until nothing is left to complain about. `title`: the first comment. */
export function configText(draft: Draft, registry: Registry, title: string): string {
  for (;;) {
    const text = render(draft, title);
    const { problems } = checkConfig(parseConfig(text, 'the new config'), registry, { strict: true });
    if (problems.length === 0) return text;
    if (!takeOut(draft, problems)) throw new Error(`the config that was made has a problem: ${problems[0]?.message ?? ''}`);
  }
}

/** Each round takes something out, so there is an end. False: the problems are not those of an entry. */
function takeOut(draft: Draft, problems: readonly Problem[]): boolean {
  if (dropKeys(draft, problems)) return true;
  const found = new Map<string, string>();
  for (const { path, code, message } of problems) {
    const key = keyOf(path[0], path[1]);
    if (!found.has(key)) found.set(key, code === 'UNKNOWN_TYPE' ? 'no loaded plugin has such a type' : message);
  }
  const leftOut = (section: string, items: readonly { readonly name: string; readonly place: Place }[]) =>
    items.flatMap(({ name, place }, index) => {
      const message = found.get(keyOf(section, index));
      return message === undefined ? [] : [{ name, place, message: `"${name}" is left out: ${message}` }];
    });
  const proxies = draft.proxies.map(({ entry, place }) => ({ name: entry.name, place }));
  const entries = [...leftOut('proxies', proxies), ...leftOut('proxy-groups', draft.groups)];
  draft.drop(entries);
  const lists = new Set(draft.providers.filter(({ name }) => found.has(keyOf('rule-providers', name))));
  for (const { name, place } of lists) draft.note(place, `the list is left out: ${found.get(keyOf('rule-providers', name)) ?? ''}`);
  draft.providers = draft.providers.filter((provider) => !lists.has(provider));
  const orphans = new Set([...lists].map(({ name }) => name));
  draft.rules = draft.rules.filter(({ kind, value }) => kind !== 'RULE-SET' || value === null || !orphans.has(value));
  if (entries.length > 0 || lists.size > 0) return true; // rules may be wrong only because of what they lead to
  const rules = draft.rules.map((rule, index) => ({ rule, message: found.get(keyOf('rules', index)) }));
  for (const { rule, message } of rules) if (message !== undefined) draft.note(rule.place, `the rule is left out: ${message}`);
  draft.rules = rules.filter(({ message }) => message === undefined).map(({ rule }) => rule);
  return draft.rules.length < rules.length;
}

/** Keys of proxies that have no effect here. Of a proxy that is written out as it was; links have none. */
function dropKeys(draft: Draft, problems: readonly Problem[]): boolean {
  const before = draft.proxies;
  for (const { path, code, message } of problems) {
    const [section, index, key] = path;
    if (section !== 'proxies' || typeof index !== 'number' || typeof key !== 'string' || !/^UN(?:SUPPORTED|KNOWN)_KEY$/.test(code)) continue;
    const proxy = draft.proxies[index];
    if (proxy === undefined || path.length !== 3) continue;
    draft.note(proxy.place, message);
    const entry = { ...Object.fromEntries(Object.entries(proxy.entry).filter(([name]) => name !== key)), name: proxy.entry.name };
    draft.proxies = draft.proxies.with(index, { ...proxy, entry });
  }
  return draft.proxies !== before;
}

function keyOf(section: string | number | undefined, index: string | number | undefined): string {
  return JSON.stringify([section, index]);
}

function render(draft: Draft, title: string): string {
  const lines = [`# ${clean(title)}`];
  const notes = notedLines(draft.notes);
  if (notes.length > 0) lines.push('# What is not, or not quite, as it was:');
  for (const { place, message } of notes) lines.push(`#   ${clean(place === '' ? message : `${place}: ${message}`)}`);
  const plugins = draft.plugins.filter((plugin) => isUsed(plugin, draft));
  if (plugins.length > 0) lines.push(`plugins: ${yamlValue(plugins)}`);
  for (const [key, port] of Object.entries(draft.ports)) lines.push(`${key}: ${port}`);
  section(
    lines,
    'proxies',
    draft.proxies.map(({ entry, comment }) => [comment, entry]),
  );
  section(
    lines,
    'proxy-groups',
    draft.groups.map((group) => [null, groupEntry(group)]),
  );
  if (draft.providers.length > 0) lines.push('rule-providers:');
  for (const { name, entry } of draft.providers) lines.push(`  ${yamlValue(name)}: ${yamlValue(entry)}`);
  section(
    lines,
    'rules',
    draft.rules.map((rule) => [rule.comment, ruleEntry(rule)]),
  );
  return `${lines.join('\n')}\n`;
}

/** Of the plugins that are found by themselves it is known what they are for. */
function isUsed(plugin: string, { proxies, rules }: Draft): boolean {
  if (plugin === 'ss') return proxies.some(({ entry }) => entry.type === 'ss');
  return plugin !== 'geoip' || rules.some(({ kind }) => kind === 'COUNTRY');
}

function section(lines: string[], key: string, items: readonly (readonly [comment: string | null, value: unknown])[]): void {
  if (items.length === 0) return;
  lines.push(`${key}:`);
  for (const [comment, value] of items) {
    if (comment !== null) lines.push(`  # ${clean(comment)}`);
    lines.push(...yamlItem(value));
  }
}

function groupEntry({ name, type, members }: DraftGroup): Record<string, unknown> {
  const delays = members.flatMap(({ delay }) => delay ?? []);
  return { name, type, proxies: members.map((member) => member.name), ...(delays.length === 0 ? {} : { delays }) };
}

/** As a text where that reads the same. */
function ruleEntry({ kind, value, to, options }: DraftRule): unknown {
  const simple = [value ?? '', to].every((part) => part === part.trim() && !/[,()]/.test(part));
  if (simple && value !== '' && Object.keys(options).length === 0) return [kind, ...(value === null ? [] : [value]), to].join(',');
  return { type: kind, ...(value === null ? {} : { value }), ...options, to };
}
