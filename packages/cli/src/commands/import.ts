import type { Registry } from '@nekit/core';
import { UsageError } from '../failure.js';
import type { Draft } from '../import/draft.js';
import type { Content } from '../import/inspect.js';
import type { Source } from '../import/source.js';
import { PLUGINS, parse, splitNames } from '../options.js';

/** 0 if something could be taken over, 1 if nothing. */
export async function importConfig(args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(args, PLUGINS, 1);
  const [word] = positionals;
  if (word === undefined) throw new UsageError('name what to import: nekit-kernel import FILE, a link, an https:// address, or - for the standard input');
  const { readSource } = await import('../import/source.js'); // not before the command line is known to be right
  const { inspect } = await import('../import/inspect.js');
  const source = await readSource(word);
  const content = inspect(source.text, source.label);
  return content.kind === 'clash' ? passOn(content, source) : convert(content, source, splitNames(values.plugins));
}

/** Clash's YAML is ours. */
async function passOn({ source: config, what }: Extract<Content, { kind: 'clash' }>, { text, label, remote }: Source): Promise<number> {
  if (remote) {
    // It could name plugins, modules and programs: that is for local files, which somebody has looked at.
    tell(`${label} is ${what}, which would run as it is: fetch it with another program, look it over, and start nekit-kernel -c FILE`);
    return 1;
  }
  const { withPlugins } = await import('../import/clash.js');
  const { config: printed, plugins } = withPlugins(text, config);
  process.stdout.write(printed.endsWith('\n') ? printed : `${printed}\n`);
  tell(
    `${label} is ${what}, which can be used as it is${plugins.length === 0 ? '' : `, with --plugins ${plugins.join(',')} (or as printed)`}: nekit-kernel -c FILE`,
  );
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
  for (const { place, message } of notedLines(draft.notes)) {
    const line = /^line ([0-9]+)$/.exec(place)?.[1];
    tell(line === undefined ? `${label}: ${place === '' ? '' : `${place}: `}${message}` : `${label}:${line}: ${message}`);
  }
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

/** Secrets go to the standard output only. */
function tell(line: string): void {
  process.stderr.write(`${line.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, ' ')}\n`);
}
