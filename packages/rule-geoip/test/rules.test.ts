// The rules on files of every shape, and what they say when there is no file or a bad one.
import assert from 'node:assert/strict';
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Facts, Geodata, Rule, RuleDefinition, Session, Verdict } from '@nekit/core';
import { FakeFacts, ruleContext, testSession } from '@nekit/core/testing';
import t from 'tap';
import { country, geoip } from '../dist/country-rules.js';
import { DataFiles } from '../dist/data-files.js';
import { ipAsn } from '../dist/system-rules.js';
import { type Content, type WriterOptions, writeMmdb } from './mmdb-writer.js';

const folder = t.testdir();

function file(name: string, networks: Readonly<Record<string, Content>>, options: WriterOptions = {}): string {
  const path = join(folder, name);
  writeFileSync(path, writeMmdb(networks, options));
  return path;
}

const COUNTRIES = file('countries.mmdb', {
  '192.0.2.0/24': { country_code: 'CN' },
  '198.51.100.0/24': { country_code: 'us' },
  '2001:db8::/32': { country_code: 'DE' },
});
const SYSTEMS = file('systems.mmdb', {
  '192.0.2.0/24': { autonomous_system_number: 13_335, autonomous_system_organization: 'CLOUD' },
  '198.51.100.0/24': { autonomous_system_number: 4_294_967_295 },
  '203.0.113.0/24': { asn: 'AS64500' },
  '10.0.0.0/8': { autonomous_system_number: 'none' },
});
const GEODATA: Partial<Geodata> = { country: COUNTRIES, asn: SYSTEMS };

const files = new DataFiles();
const definitions = new Map<string, RuleDefinition>(
  [geoip('GEOIP', files), geoip('SRC-GEOIP', files), country(files), ipAsn('IP-ASN', files), ipAsn('SRC-IP-ASN', files)].map((each) => [each.kind, each]),
);

interface Written {
  readonly parameters?: readonly string[];
  readonly options?: Readonly<Record<string, unknown>>;
  readonly geodata?: Partial<Geodata>;
}

/** `GEOIP,CN`, as core would build it. */
function rule(text: string, { parameters = [], options = {}, geodata = GEODATA }: Written = {}): Rule {
  const [kind = '', payload = ''] = text.split(',');
  const definition = definitions.get(kind);
  if (definition === undefined) throw new Error(`no kind ${kind}`);
  return definition.create(payload, ruleContext({ parameters: new Set(parameters), options, config: { folder, geodata } }));
}

const to = (host: string): Session => testSession({ destination: { host, port: 443 } });
const from = (host: string): Session => testSession({ source: { host, port: 50_000 } });
/** An address, which is known; or a name with these. */
const known = (...addresses: readonly string[]): Facts => new FakeFacts(addresses);

function judge(built: Rule, addresses: readonly string[]): Verdict | Promise<Verdict> {
  return built.match(to(addresses[0] ?? 'a.test'), known(...addresses));
}

void t.test('GEOIP', async () => {
  for (const text of ['GEOIP,CN', 'GEOIP,cn']) {
    assert.equal(judge(rule(text), ['192.0.2.1']), true);
    assert.equal(judge(rule(text), ['198.51.100.1']), false);
    assert.equal(judge(rule(text), ['203.0.113.1']), false, 'not in the file');
    assert.equal(judge(rule(text), []), false, 'a name without addresses');
  }
  assert.equal(judge(rule('GEOIP,US'), ['198.51.100.1']), true, 'whatever the file writes');
  assert.equal(judge(rule('GEOIP,DE'), ['2001:db8::1']), true);
  assert.deepEqual(judge(rule('GEOIP,CN'), ['192.0.2.1', '198.51.100.1', '192.0.2.9']), ['192.0.2.1', '192.0.2.9'], 'each address by itself');
});

void t.test('a name is looked up, unless no-resolve is set', async () => {
  const name = (): FakeFacts => new FakeFacts(null, ['192.0.2.1']);
  assert.equal(await rule('GEOIP,CN').match(to('a.test'), name()), true);
  const unknown = name();
  assert.equal(rule('GEOIP,CN', { parameters: ['no-resolve'] }).match(to('a.test'), unknown), false);
  assert.equal(unknown.lookups, 0);
  assert.equal(await rule('IP-ASN,13335').match(to('a.test'), name()), true);
  assert.equal(rule('IP-ASN,13335', { parameters: ['no-resolve'] }).match(to('a.test'), name()), false);
});

void t.test('GEOIP,LAN asks no database', async () => {
  const inside = ['10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.0.1', '127.0.0.1', '169.254.1.1', '224.0.0.1', '239.255.255.255', '0.0.0.0'];
  const inside6 = ['::1', '::', 'fe80::1', 'fe80::1%eth0', 'febf::1', 'fc00::1', 'fdff::1', 'ff02::fb'];
  const outside = [
    '1.1.1.1',
    '100.64.0.1',
    '172.32.0.1',
    '172.15.255.255',
    '192.169.0.1',
    '128.0.0.1',
    '0.0.0.1',
    '240.0.0.1',
    '2001:db8::1',
    'fec0::1',
    '::2',
  ];
  for (const text of ['GEOIP,LAN', 'GEOIP,lan', 'GEOIP,private']) {
    const built = rule(text, { geodata: { country: '/nowhere/at/all.mmdb' } });
    for (const address of [...inside, ...inside6]) assert.equal(judge(built, [address]), true, address);
    for (const address of outside) assert.equal(judge(built, [address]), false, address);
  }
  assert.equal(rule('SRC-GEOIP,LAN').match(from('192.168.0.7'), known('1.1.1.1')), true);
  assert.equal(rule('GEOIP,LAN', { parameters: ['src'] }).match(from('1.1.1.1'), known('192.168.0.7')), false);
});

void t.test("SRC-GEOIP, SRC-IP-ASN and src look at the client's address", async () => {
  const cases: readonly [Rule, boolean][] = [
    [rule('SRC-GEOIP,CN'), true],
    [rule('SRC-GEOIP,US'), false],
    [rule('GEOIP,CN', { parameters: ['src'] }), true],
    [rule('COUNTRY,CN', { parameters: ['src'] }), true],
    [rule('COUNTRY,CN', { parameters: ['src'], options: { match: false, src: true } }), false],
    [rule('COUNTRY,US', { parameters: ['src'], options: { match: false } }), true],
    [rule('SRC-IP-ASN,13335'), true],
    [rule('IP-ASN,13335', { parameters: ['src'] }), true],
    [rule('IP-ASN,64500', { parameters: ['src'] }), false],
  ];
  for (const [built, verdict] of cases) assert.equal(built.match(from('192.0.2.1'), new FakeFacts(null, ['203.0.113.1'])), verdict);
});

void t.test('COUNTRY', async () => {
  assert.equal(judge(rule('COUNTRY,CN'), ['192.0.2.1']), true);
  assert.equal(judge(rule('COUNTRY,cn'), ['192.0.2.1']), true);
  assert.equal(judge(rule('COUNTRY,CN'), ['198.51.100.1']), false);
  assert.equal(judge(rule('COUNTRY,--'), ['203.0.113.1']), true, 'in no country');
  assert.equal(judge(rule('COUNTRY,--'), ['192.168.0.1']), true, 'so is the intranet');
  assert.equal(judge(rule('COUNTRY,--'), ['192.0.2.1']), false);
  assert.equal(judge(rule('COUNTRY,--'), []), false, 'no address is not an unknown one');
  assert.equal(judge(rule('COUNTRY,CN', { options: { match: true } }), ['192.0.2.1']), true);
  const not = rule('COUNTRY,CN', { options: { match: false } });
  assert.equal(judge(not, ['192.0.2.1']), false);
  assert.equal(judge(not, ['198.51.100.1']), true);
  assert.equal(judge(not, ['203.0.113.1']), true, 'unknown is not CN');
  assert.deepEqual(judge(not, ['192.0.2.1', '198.51.100.1']), ['198.51.100.1'], 'each address by itself');
  assert.equal(judge(rule('COUNTRY,--', { options: { match: 'false' } }), ['192.0.2.1']), true);
  assert.equal(judge(rule('COUNTRY,--', { options: { match: false } }), ['203.0.113.1']), false);
});

void t.test('COUNTRY with "match: false" holds for a name that has no address, as in NEKit', async () => {
  const not = rule('COUNTRY,CN', { options: { match: false } });
  assert.equal(judge(not, []), true);
  assert.equal(await not.match(to('a.test'), new FakeFacts(null, [])), true, 'found out by a look-up');
  assert.equal(await not.match(to('a.test'), new FakeFacts(null, ['192.0.2.1'])), false);
  assert.equal(await rule('COUNTRY,CN').match(to('a.test'), new FakeFacts(null, [])), false);
  const unasked = rule('COUNTRY,CN', { parameters: ['no-resolve'], options: { match: false } });
  assert.equal(unasked.match(to('a.test'), new FakeFacts(null, [])), false, 'nobody looked: nothing is known of it');
  assert.equal(judge(unasked, ['198.51.100.1']), true);
});

void t.test('IP-ASN', async () => {
  for (const text of ['IP-ASN,13335', 'IP-ASN,AS13335', 'IP-ASN,as13335']) {
    assert.equal(judge(rule(text), ['192.0.2.1']), true);
    assert.equal(judge(rule(text), ['198.51.100.1']), false);
  }
  assert.equal(judge(rule('IP-ASN,4294967295'), ['198.51.100.1']), true);
  assert.equal(judge(rule('IP-ASN,64500'), ['203.0.113.9']), true, 'written as a text');
  assert.equal(judge(rule('IP-ASN,64500'), ['10.0.0.1']), false, 'a record without a number');
});

void t.test('the shapes of other people’s files', async () => {
  const shapes: Record<string, { readonly record: Content; readonly options?: WriterOptions; readonly codes: readonly string[] }> = {
    maxmind: {
      record: { continent: { code: 'AS' }, country: { iso_code: 'CN', names: { en: 'China' } }, registered_country: { iso_code: 'US' } },
      codes: ['CN'],
    },
    registered: { record: { continent: { code: 'AS' }, registered_country: { iso_code: 'CN' } }, codes: ['CN'] },
    anycast: { record: { continent: { code: 'AS' } }, codes: [] },
    dbip: { record: { country_code: 'CN' }, codes: ['CN'] },
    ipinfo: { record: { country: 'CN', country_name: 'China' }, codes: ['CN'] },
    sing: { record: 'cn', options: { type: 'sing-geoip', recordBits: 28 }, codes: ['CN'] },
    meta: { record: ['cn', 'telegram'], options: { type: 'Meta-geoip0', recordBits: 32 }, codes: ['CN', 'TELEGRAM'] },
    number: { record: 5, codes: [] },
    empty: { record: { country_code: '' }, codes: [] },
    strange: { record: { country: ['x', 1], country_code: { a: 1 } }, codes: ['X'] },
  };
  for (const [name, { record, options = {}, codes }] of Object.entries(shapes)) {
    const geodata = { country: file(`${name}.mmdb`, { '192.0.2.0/24': record }, { family: 4, ...options }) };
    for (const code of ['CN', 'US', 'TELEGRAM', 'AS'])
      assert.equal(judge(rule(`GEOIP,${code}`, { geodata }), ['192.0.2.1']), codes.includes(code), `${name} ${code}`);
    assert.equal(judge(rule('COUNTRY,--', { geodata }), ['192.0.2.1']), codes.length === 0, name);
    assert.equal(judge(rule('GEOIP,CN', { geodata }), ['2001:db8::1']), false, `${name}: no IPv6 in a file of IPv4`);
  }
});

void t.test('an address is found once in a session, whichever rules ask', async () => {
  const facts = new FakeFacts(['192.0.2.1', '198.51.100.1']);
  for (const each of [rule('GEOIP,US'), rule('GEOIP,CN'), rule('COUNTRY,--'), rule('COUNTRY,CN', { options: { match: false } })])
    await each.match(to('a.test'), facts);
  assert.equal(facts.lookups, 2, 'one for each address');
  await rule('IP-ASN,1').match(to('a.test'), facts);
  assert.equal(facts.lookups, 4, 'another file, other facts');
});

void t.test('more addresses than are remembered', async () => {
  const built = rule('GEOIP,CN');
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 20_000; i++) {
      const address = `${i % 2 === 0 ? '192.0.2' : '198.51.100'}.${i % 256}`;
      const other = `${(i % 200) + 1}.${i >> 8}.${i & 255}.7`;
      assert.equal(judge(built, [address]), i % 2 === 0);
      assert.equal(judge(built, [other]), false);
    }
});

void t.test('a file is read once, and again when it has changed', async () => {
  const path = file('changing.mmdb', { '192.0.2.0/24': 'CN' });
  const before = rule('GEOIP,CN', { geodata: { country: path } });
  file('changing.mmdb', { '192.0.2.0/24': 'DE', '198.51.100.0/24': 'CN' });
  const after = rule('GEOIP,CN', { geodata: { country: path } });
  assert.deepEqual([judge(before, ['192.0.2.1']), judge(after, ['192.0.2.1']), judge(after, ['198.51.100.1'])], [true, false, true]);
  // The same size and time: taken for the same.
  const stamp = new Date(1_700_000_000_000);
  utimesSync(path, stamp, stamp);
  rule('GEOIP,CN', { geodata: { country: path } });
  const bytes = writeMmdb({ '192.0.2.0/24': 'FR', '198.51.100.0/24': 'CN' });
  writeFileSync(path, bytes);
  utimesSync(path, stamp, stamp);
  assert.equal(judge(rule('GEOIP,FR', { geodata: { country: path } }), ['192.0.2.1']), false, 'not read again');
});

void t.test('errors say what to do', async () => {
  const cases: readonly [text: string, written: Written, message: RegExp | string][] = [
    ['GEOIP,', {}, '"" is no country: write its two letters, as in GEOIP,CN, or LAN for private networks'],
    ['GEOIP,C', {}, /"C" is no country/],
    ['GEOIP,--', {}, /"--" is no country/],
    ['GEOIP,China!', {}, /no country/],
    ['COUNTRY,86', {}, '"86" is no country: write its two letters, as in COUNTRY,CN, or -- for addresses of no country'],
    ['COUNTRY,CN', { options: { match: 'no' } }, '"match" must be true or false'],
    ['COUNTRY,CN', { options: { macth: false } }, '"macth" is no key of a COUNTRY rule: there are no-resolve, src, match'],
    ['GEOIP,CN', { options: { match: false } }, '"match" is no key of a GEOIP rule: there are no-resolve, src'],
    ['IP-ASN,Cloudflare', {}, '"Cloudflare" is no number of an autonomous system: write IP-ASN,13335 or IP-ASN,AS13335'],
    ...['', '0', '01', '-1', '4294967296', '1.5', 'AS'].map((word): [string, Written, RegExp] => [`IP-ASN,${word}`, {}, /is no number of an autonomous/]),
    [
      'IP-ASN,1',
      { geodata: {} },
      'IP-ASN needs a database of autonomous systems: name a file under geodata: { asn: FILE }, or npm install @ip-location-db/asn-mmdb',
    ],
    ['SRC-IP-ASN,1', { geodata: {} }, /^SRC-IP-ASN needs a database/],
    ['GEOIP,CN', { geodata: { country: 'none.mmdb' } }, /^GEOIP cannot use \/.*none\.mmdb: ENOENT/],
    ['GEOIP,CN', { geodata: { country: '.' } }, /^GEOIP cannot use \/.*: it is no file$/],
    ['COUNTRY,CN', { geodata: { country: 'page.html' } }, /^COUNTRY cannot use \/.*page\.html: it is no MMDB file, or its end is missing$/],
  ];
  writeFileSync(join(folder, 'page.html'), '<html>404</html>');
  for (const [text, written, message] of cases) assert.throws(() => rule(text, written), { message }, text);
});

void t.test('a damaged file is told when an address leads into the damage', async () => {
  const bytes = writeMmdb({ '192.0.2.0/24': { country_code: 'CN' } }, { family: 4 });
  const at = bytes.indexOf('country_code');
  bytes[at - 1] = 0x06; // a key that is no text, by a type that does not exist
  writeFileSync(join(folder, 'damaged.mmdb'), bytes);
  const built = rule('GEOIP,CN', { geodata: { country: 'damaged.mmdb' } });
  assert.throws(() => judge(built, ['192.0.2.1']), { message: /damaged\.mmdb is damaged: / });
  assert.equal(judge(built, ['10.0.0.1']), false, 'the rest of it is of use');
});

void t.test('the database that comes with the plugin, and one that somebody installed beside the config', async () => {
  assert.equal(judge(rule('GEOIP,US', { geodata: {} }), ['8.8.8.8']), true);
  assert.equal(judge(rule('COUNTRY,--', { geodata: {} }), ['127.0.0.1']), true);
  const home = join(folder, 'node_modules/@ip-location-db/asn-mmdb');
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'package.json'), '{ "name": "@ip-location-db/asn-mmdb", "version": "1.0.0" }');
  writeFileSync(join(home, 'asn.mmdb'), writeMmdb({ '192.0.2.0/24': { autonomous_system_number: 7 } }));
  assert.equal(judge(rule('IP-ASN,7', { geodata: {} }), ['192.0.2.1']), true);
});
