import type { Registry } from '@nekit/core';
import { UsageError } from '../failure.js';
import type { Draft } from '../import/draft.js';
import type { Content } from '../import/inspect.js';
import type { Source } from '../import/source.js';
import { PLUGINS, parse, splitNames } from '../options.js';

/** Plugins of ours, by their aliases. */
const OURS = ['http', 'socks5', 'socks', 'ss', 'shadowsocks', 'tcp', 'udp', 'dns', 'geoip'];

/** 0 if something could be taken over, 1 if nothing. */
export async function importConfig(args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(args, PLUGINS, 1);
  const [word] = positionals;
  if (word === undefined) throw new UsageError('name what to import: nekit-kernel import FILE, a link, an https:// address, or - for the standard input');
  const { readSource } = await import('../import/source.js'); // not before the command line is known to be right
  const { inspect } = await import('../import/inspect.js');
  const source = await readSource(word);
  const content = inspect(source.text, source.label);
  if (source.remote && (content.kind === 'clash' || content.kind === 'proxies')) return refuse(content.what, source.label);
  return content.kind === 'clash' ? passOn(content, source, splitNames(values.plugins)) : convert(content, source, splitNames(values.plugins));
}

/** It could name plugins, modules and programs: that is for local files, which somebody has looked at. */
function refuse(what: string, label: string): number {
  tell(`${label} is ${what}, which would run as it is: fetch it with another program, look it over, and start nekit-kernel -c FILE`);
  return 1;
}

/** Clash's YAML is ours. */
async function passOn({ source: config, what }: Extract<Content, { kind: 'clash' }>, { text, label }: Source, asked: readonly string[]): Promise<number> {
  const { checkConfig } = await import('@nekit/core');
  const { pluginsForClash, withPlugins } = await import('../import/clash.js');
  const { Draft, notedLines } = await import('../import/draft.js');
  const { needed, named } = pluginsForClash(config);
  const draft = new Draft();
  // What else it names is code, which an import does not run.
  const foreign = named.filter((name) => ![...OURS, ...asked].includes(name));
  const wanted = [...new Set([...needed, ...named.filter((name) => OURS.includes(name))])];
  const { registry, loaded } = await load(asked, wanted, draft);
  const missing = needed.filter((plugin) => !named.includes(plugin));
  const line = missing.length === 0 ? null : withPlugins(text, config, missing);
  const printed = line ?? text;
  process.stdout.write(printed.endsWith('\n') ? printed : `${printed}\n`);
  const errors = checkConfig(config, registry).problems.filter(({ severity }) => severity === 'error');
  const isWhole = loaded.length === wanted.length;
  if (foreign.length === 0) for (const problem of errors) draft.note(problem.line, problem.message);
  for (const { place, message } of notedLines(draft.notes)) tellNote(label, place, message);
  const plugins = missing.length === 0 ? '' : `, with --plugins ${missing.join(',')}${line === null ? '' : ' (or as printed)'}`;
  if (foreign.length > 0) tell(`${label} is ${what}, of which check tells whether it can be used, for it names plugins: nekit-kernel check -c FILE`);
  else if (errors.length > 0) tell(`${label} is ${what}, with ${count(errors.length, 'error')}: when mended it can be used${plugins}: nekit-kernel -c FILE`);
  else if (isWhole) tell(`${label} is ${what}, which can be used as it is${plugins}: nekit-kernel -c FILE`);
  else tell(`${label} is ${what}, which can be used when the plugins are installed${plugins}: nekit-kernel -c FILE`);
  return 0;
}

type Convertible = Exclude<Content, { kind: 'clash' }>;

async function convert(content: Convertible, source: Source, asked: readonly string[]): Promise<number> {
  const { Draft, notedLines } = await import('../import/draft.js');
  const { configText } = await import('../import/config-text.js');
  const draft = new Draft();
  const read = await readerOf(content, source, draft);
  const { registry, loaded } = await load(asked, read.plugins, draft);
  draft.plugins = [...new Set([...asked, ...loaded])];
  read.fill(registry);
  const text = configText(draft, registry, `From ${source.label} (${content.what}), by nekit-kernel import.`);
  const empty = draft.proxies.length + draft.groups.length === 0 && (content.kind !== 'nekit' || draft.rules.length <= 1);
  if (!empty) process.stdout.write(text);
  const { label } = source;
  for (const { place, message } of notedLines(draft.notes)) tellNote(label, place, message);
  const [proxies, groups, rules] = [draft.proxies.length, draft.groups.length, draft.rules.length];
  tell(
    empty
      ? `${label}: ${content.what}, of which nothing could be taken over`
      : `${label}: ${content.what}: ${count(proxies, 'proxy', 'proxies')}, ${count(groups, 'group')}, ${count(rules, 'rule')}`,
  );
  return empty ? 1 : 0;
}

interface Reader {
  /** Aliases of ours that it needs. */
  readonly plugins: readonly string[];
  fill(registry: Registry): void;
}

async function readerOf(content: Convertible, { folders }: Source, draft: Draft): Promise<Reader> {
  if (content.kind === 'proxies') {
    const { draftProxies } = await import('../import/proxies.js');
    const { pluginsForClash } = await import('../import/clash.js');
    return { plugins: pluginsForClash(content.source).needed, fill: () => draftProxies(content.source, draft) };
  }
  if (content.kind === 'nekit') {
    const { draftNekit, pluginsForNekit } = await import('../import/nekit.js');
    return { plugins: pluginsForNekit(content.source), fill: () => draftNekit(content.source, folders, draft) };
  }
  const { draftLinks, linksOf, linksOfServers, schemesIn } = await import('../import/links.js');
  if (content.kind === 'servers' && content.version !== undefined && content.version !== 1) draft.note(null, '"version" is not 1: it is read as if it were');
  const links = content.kind === 'links' ? linksOf(content.text, draft) : linksOfServers(content.servers, draft);
  return { plugins: schemesIn(links).includes('ss') ? ['ss'] : [], fill: (registry) => draftLinks(links, draft, registry) };
}

/** Plugins of ours that are needed and not installed are noted, with what to do. */
async function load(asked: readonly string[], needed: readonly string[], draft: Draft): Promise<{ registry: Registry; loaded: readonly string[] }> {
  const { prepare } = await import('../setup.js');
  let loaded = needed;
  for (;;) {
    try {
      const { registry } = await prepare({ plugins: [...asked, ...loaded] });
      return { registry, loaded };
    } catch (error) {
      const missing = loaded.find((alias) => isMissing(error, alias) && !asked.includes(alias));
      if (missing === undefined) throw error;
      draft.note(null, error instanceof Error ? error.message : String(error));
      loaded = loaded.filter((alias) => alias !== missing);
    }
  }
}

function isMissing(error: unknown, alias: string): boolean {
  return error instanceof Error && 'code' in error && error.code === 'PLUGIN_NOT_INSTALLED' && 'plugin' in error && error.plugin === alias;
}

function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}

function tellNote(label: string, place: string, message: string): void {
  const line = /^line ([0-9]+)$/.exec(place)?.[1];
  tell(line === undefined ? `${label}: ${place === '' ? '' : `${place}: `}${message}` : `${label}:${line}: ${message}`);
}

/** Secrets go to the standard output only. */
function tell(line: string): void {
  process.stderr.write(`${line.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, ' ')}\n`);
}
