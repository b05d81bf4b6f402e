// Whatever `import` is given: a config without a problem or an error in words, and no secret in either's notes. Nothing is started for it.
import { isDeepStrictEqual } from 'node:util';
import { checkConfig, parseConfig, type Registry } from '@nekit/core';
import fc from 'fast-check';
import tap from 'tap';
import { pluginsForClash, withPlugins } from '../dist/import/clash.js';
import { configText } from '../dist/import/config-text.js';
import { Draft, notedLines } from '../dist/import/draft.js';
import { inspect } from '../dist/import/inspect.js';
import { draftLinks, linksOf, linksOfServers } from '../dist/import/links.js';
import { draftNekit } from '../dist/import/nekit.js';
import { draftProxies } from '../dist/import/proxies.js';
import { yamlItem } from '../dist/import/yaml-text.js';
import { prepare } from '../dist/setup.js';

const RUNS = process.env.NEKIT_FULL === '1' ? 20_000 : 300;
const SECRET = 'Zq7hunter2Kx';
const SHOWN = /hunter2|aHVudGVyM|h1bnRlcj|odW50ZXIy/;

/** As the command does it. null: it is Clash's config, or nothing that is known. */
function convert(text: string, registry: Registry): { readonly config: string; readonly draft: Draft } | null {
  const content = inspect(text, 'the text');
  const draft = new Draft();
  if (content.kind === 'clash') {
    withPlugins(text, content.source, pluginsForClash(content.source).needed);
    return null;
  }
  if (content.kind === 'nekit') draftNekit(content.source, ['/tmp'], draft);
  else if (content.kind === 'proxies') draftProxies(content.source, draft);
  else draftLinks(content.kind === 'links' ? linksOf(content.text, draft) : linksOfServers(content.servers, draft), draft, registry);
  draft.plugins = ['ss', 'geoip'];
  return { config: configText(draft, registry, 'From a test.'), draft };
}

/** null: all is well. */
function complaint(text: string, registry: Registry): string | null {
  try {
    const made = convert(text, registry);
    if (made === null) return null;
    const { problems } = checkConfig(parseConfig(made.config, 'made'), registry, { strict: true });
    if (problems.length > 0) return `${problems[0]?.message}\n${made.config}`;
    const notes = notedLines(made.draft.notes).map(({ place, message }) => `${place} ${message}`);
    const comments = made.config.split('\n').filter((line) => /^\s*#/.test(line));
    return [...notes, ...comments].find((line) => SHOWN.test(line)) ?? null;
  } catch (error) {
    if (!(error instanceof Error) || error.constructor !== Error) return String(error);
    return SHOWN.test(error.message) || error.message.startsWith('the config that was made') ? error.message : null;
  }
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const LINKS = [
  `ss://${base64(`aes-256-gcm:${SECRET}`)}@192.0.2.1:8388#HK`,
  `ss://aes-256-cfb:${SECRET}@[2001:db8::1]:8388/?plugin=obfs-local%3Bobfs%3Dhttp&group=x#HK`,
  `ss://${base64(`rc4-md5:${SECRET}@192.0.2.3:8388`)}#DIRECT`,
  `socks5://me:${SECRET}@192.0.2.5:1080#五,[a]: "b" # c`,
  `http://me:${SECRET}@proxy.example:3128`,
  'vmess://x',
  'STATUS=1',
];
const SERVERS = JSON.stringify({
  version: 1,
  servers: [
    { remarks: 'a', server: 'example.com', server_port: 8388, password: SECRET, method: 'aes-256-gcm', plugin: 'obfs-local', plugin_opts: 'obfs=tls' },
    { remarks: 'a', server: '::1', server_port: '1', password: SECRET, method: 'aes-256-cfb' },
  ],
});
const NEKIT = `port: 8118
adapter:
  - {id: a, type: http, host: h, port: 3128, auth: true, username: ann, password: ${SECRET}}
  - {id: b, type: ss, host: h, port: 1, method: rc4-md5, password: ${SECRET}}
  - {id: c, type: speed, adapters: [{id: direct, delay: 0}, {id: a, delay: 5}, {id: b, delay: 9}]}
  - {id: d, type: reject, delay: 300}
  - {id: e, type: speed, adapters: [{id: c, delay: 0}]}
rule:
  - {type: country, country: DE, match: true, adapter: direct}
  - {type: dnsfail, adapter: e}
  - {type: list, file: none.txt, adapter: d}
  - {type: all, adapter: c}
`;

const letter = fc.oneof(fc.constantFrom(...Array.from(':@/?#%+=;\\[]{},-\'"&*!|> é\u0000\n\t')), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }));
const edits = fc.array(fc.tuple(fc.nat(2_000), fc.constantFrom('put', 'cut', 'change', 'double'), letter), { maxLength: 8 });

function mutated(text: string, changes: readonly (readonly [number, string, string])[]): string {
  return changes.reduce((old, [at, what, sign]) => {
    const index = at % (old.length + 1);
    if (what === 'double') return old.slice(0, index) + old.slice(Math.max(0, index - 20));
    return old.slice(0, index) + (what === 'cut' ? '' : sign) + old.slice(what === 'put' ? index : index + 1);
  }, text);
}

const lists = fc.array(fc.constantFrom(...LINKS), { maxLength: 8 }).map((links) => links.join('\n'));
const texts = fc.oneof(
  fc.tuple(lists, edits).map(([list, changes]) => mutated(list, changes)),
  fc.tuple(lists, edits).map(([list, changes]) => base64(mutated(list, changes))),
  edits.map((changes) => mutated(SERVERS, changes)),
  edits.map((changes) => mutated(NEKIT, changes)),
  fc.string({ unit: 'binary' }),
);

tap.test('a name that has swallowed the next link ends before it', async (t) => {
  const { registry } = await prepare({ plugins: ['ss', 'geoip'] });
  const two = `ss://${base64('aes-256-gcm:x')}@192.0.2.1:8388/?plugin=obfs-local#HK ${LINKS[0] ?? ''}`;
  t.equal(complaint(two, registry), null);
  t.equal(new Draft().claim(`HK ${LINKS[0] ?? ''}`), 'HK');
  t.equal(new Draft().claim('HK: fast, 1:1'), 'HK: fast, 1:1');
});

tap.test('any text', { timeout: 600_000 }, async (t) => {
  const { registry } = await prepare({ plugins: ['ss', 'geoip'] });
  for (const text of [LINKS.join('\n'), base64(LINKS.join('\n')), SERVERS, NEKIT]) {
    t.equal(complaint(text, registry), null);
    t.match(convert(text, registry)?.draft.proxies, [{}, {}], 'what it is mutated from is understood');
  }
  fc.assert(
    fc.property(texts, (text) => {
      const found = complaint(text, registry);
      if (found !== null) throw new Error(found);
    }),
    { numRuns: RUNS },
  );
});

tap.test('many entries take no more than their time', { timeout: 120_000 }, async (t) => {
  const { registry } = await prepare({ plugins: ['ss'] });
  const draft = new Draft();
  const uri = `ss://${base64('aes-256-gcm:x')}@192.0.2.1:8388#same`;
  const bad = 'ss://2022-blake3-aes-256-gcm:AAAA@192.0.2.1:8388#same';
  draftLinks(linksOf(`${uri}\n${bad}\nx\n`.repeat(5_000), draft), draft, registry);
  configText(draft, registry, '');
  t.equal(draft.proxies.length, 5_000);
  t.equal(notedLines(draft.notes).length, 5_001, 'one for each bad entry, which is named; one for all lines that are no link');
  t.equal(linksOf('x\n'.repeat(1_000_000), draft).length, 50_000);
  for (const filling of [' ', '|', 'a', ' a', '%20', '://']) {
    const [link, ...more] = linksOf(`socks5://h.example:1080#a${filling.repeat(300_000)}b`, draft);
    t.same(more, []);
    draftLinks(link === undefined ? [] : [link], draft, registry);
  }
  t.equal(linksOf('ss://a@h:1 '.repeat(1_500), draft).length, 1_000);
  t.match(draft.notes.at(-1), { message: /^only the first 1000 links of the line/ });
});

tap.test('plain data as YAML', async () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('yes', 'NO', '~', 'null', '0123', '1e5', '1.2.3.4', 'a: b', '- a', 'MATCH,a b', 'DOMAIN,a #b,c', ' x '),
  );
  // The reader of configs leaves `__proto__` out.
  const key = word.filter((text) => text !== '<<' && text !== '__proto__');
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      word,
      fc.integer(),
      fc.boolean(),
      fc.array(tie('value'), { maxLength: 8 }),
      fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: true }),
    ),
  })).value;
  fc.assert(
    fc.property(fc.oneof(value, fc.dictionary(key, value, { minKeys: 1, maxKeys: 8, noNullPrototype: true })), (item) => {
      const { value: read, problems } = parseConfig(`list:\n${yamlItem(item).join('\n')}\n`, 'x');
      return problems.length === 0 && isDeepStrictEqual(JSON.parse(JSON.stringify(read)), JSON.parse(JSON.stringify({ list: [item] })));
    }),
    { numRuns: RUNS * 5 },
  );
});
