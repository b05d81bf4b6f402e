// The plugin in a kernel: what `explain` shows, and what a config without the plugin or the files is told.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkConfig, createKernel, type Explanation, formatProblem, type Kernel, type KernelInput, parseConfig } from '@nekit/core';
import t from 'tap';
import { geoipPlugin } from '../dist/index.js';
import { writeMmdb } from './mmdb-writer.js';

const folder = t.testdir();
const CONFIG = join(folder, 'config.yaml');
writeFileSync(join(folder, 'own.mmdb'), writeMmdb({ '8.8.8.0/24': 'XK', '192.0.2.0/24': { country_code: 'CN' }, '127.0.0.0/8': 'ZZ' }));

const HOSTS = { 'us.test': '8.8.8.8', 'mixed.test': ['8.8.8.8', '10.0.0.1'], 'home.test': '192.168.1.1' };

/** The adapters are groups with one member, to tell the ways apart. */
const GROUPS = ['us', 'lan', 'rest'].map((name) => ({ name, type: 'select', proxies: ['DIRECT'] }));

function explain(kernel: Kernel, host: string): Promise<Explanation> {
  return kernel.explain({ destination: { host, port: 443 } });
}

function kernelOf(config: KernelInput): Kernel {
  return createKernel({ hosts: HOSTS, 'proxy-groups': GROUPS, ...config }, { plugins: [geoipPlugin], strict: true });
}

void t.test('the way of a name, and why', async () => {
  const kernel = kernelOf({ rules: ['GEOIP,LAN,lan', 'GEOIP,us,us', { type: 'COUNTRY', value: 'CN', match: false, to: 'rest' }] });
  const us = await explain(kernel, 'us.test');
  assert.deepEqual([us.rule, us.chain, us.addresses], ['GEOIP,us,us', ['us'], ['8.8.8.8']]);
  assert.deepEqual(
    us.lookups.map(({ name, from, addresses, value }) => [name, from, addresses, value]),
    [
      ['us.test', 'hosts', ['8.8.8.8'], undefined],
      ['country of 8.8.8.8', 'rule', [], 'US'],
    ],
  );
  const mixed = await explain(kernel, 'mixed.test');
  assert.deepEqual([mixed.rule, mixed.addresses], ['GEOIP,LAN,lan', ['10.0.0.1']], 'the address in the LAN decides, and only it is dialled');
  assert.equal((await explain(kernel, 'home.test')).rule, 'GEOIP,LAN,lan');
  const bare = await explain(kernel, '127.0.0.1');
  assert.deepEqual([bare.rule, bare.lookups], ['GEOIP,LAN,lan', []], 'an address needs no look-up, and the LAN no database');
  const rest = await explain(kernel, '1.0.0.1');
  assert.deepEqual(
    [rest.rule, rest.lookups.map(({ name }) => name)],
    ['COUNTRY,CN,rest,match=false', ['country of 1.0.0.1']],
    'found once, by the first rule that asked',
  );
});

void t.test('rules in rules, UDP, and the client’s country', async () => {
  const kernel = kernelOf({ rules: ['AND,((NETWORK,UDP),(GEOIP,US)),us', 'NOT,((GEOIP,US,no-resolve)),rest', 'SRC-GEOIP,LAN,lan'] });
  assert.equal((await kernel.explain({ destination: { host: 'us.test', port: 53 }, network: 'udp' })).rule, 'AND,((NETWORK,UDP),(GEOIP,US)),us');
  assert.equal((await explain(kernel, 'us.test')).rule, 'SRC-GEOIP,LAN,lan');
  assert.equal((await explain(kernel, '192.0.2.1')).rule, 'NOT,((GEOIP,US,no-resolve)),rest');
});

void t.test('two kernels share nothing', async () => {
  const config = { rules: ['GEOIP,US,us'] };
  const [one, other] = [kernelOf(config), kernelOf(config)];
  await one.stop();
  assert.equal((await explain(other, 'us.test')).rule, 'GEOIP,US,us');
  await other.stop();
});

void t.test('the file of the config', async () => {
  const text =
    'geodata: { country: own.mmdb }\nhosts: { us.test: 8.8.8.8 }\nrules: ["GEOIP,LAN,REJECT", "GEOIP,XK,DIRECT", "GEOIP,ZZ,REJECT", "MATCH,REJECT"]\n';
  const kernel = createKernel(parseConfig(text, CONFIG), { plugins: [geoipPlugin], strict: true });
  assert.equal((await explain(kernel, 'us.test')).rule, 'GEOIP,XK,DIRECT');
  assert.equal((await explain(kernel, '127.0.0.1')).rule, 'GEOIP,LAN,REJECT');
  await kernel.stop();
});

/** What a check of this file says, with the plugin's kinds. */
function problemsOf(text: string): string[] {
  const { registry } = kernelOf({});
  return checkConfig(parseConfig(text, CONFIG), registry).problems.map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''));
}

void t.test('geodata: the file of the config, and mistakes with their place', async () => {
  assert.deepEqual(problemsOf('geodata: { country: own.mmdb }\nrules: ["GEOIP,XK,DIRECT", "COUNTRY,--,DIRECT"]\n'), []);
  assert.deepEqual(problemsOf('geodata:\n  country: none.mmdb\n  ans: own.mmdb\n'), [
    'config.yaml:2:12 error: there is no such file: none.mmdb\n    country: none.mmdb',
    'config.yaml:3:3 warning: "ans" is no key of geodata. Did you mean "asn"?',
  ]);
  assert.deepEqual(problemsOf('geodata: { asn: config.yaml }\nrules:\n  - IP-ASN,13335,DIRECT\n').length, 2, 'no such file, for the key and for the rule');
  writeFileSync(join(folder, 'page.mmdb'), '<html>');
  assert.deepEqual(problemsOf('geodata: { country: page.mmdb }\nrules:\n  - GEOIP,CN,DIRECT\n  - GEOIP,LAN,DIRECT\n'), [
    'config.yaml:3:5 error: GEOIP cannot use page.mmdb: it is no MMDB file, or its end is missing\n    GEOIP,CN,DIRECT',
  ]);
  assert.deepEqual(problemsOf('rules:\n  - IP-ASN,13335,DIRECT\n'), [
    'config.yaml:2:5 error: IP-ASN needs a database of autonomous systems: name a file under geodata: { asn: FILE }, or npm install @ip-location-db/asn-mmdb\n    IP-ASN,13335,DIRECT',
  ]);
  assert.deepEqual(problemsOf('rules:\n  - { type: COUNTRY, value: CN, mach: false, to: DIRECT }\n'), [
    'config.yaml:2:5 error: "mach" is no key of a COUNTRY rule: there are no-resolve, src, match',
  ]);
});
