// The schema for editors: valid itself, takes what the check takes, refuses what it refuses.
import { Ajv2020 } from 'ajv/dist/2020.js';
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { jsonSchema } from '../../dist/config/json-schema.js';
import { parseConfig } from '../../dist/config/load.js';
import { knownTypes } from './known-types.js';

const registry = knownTypes();
const schema = jsonSchema(registry);
const ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
const validate = ajv.compile(schema);

const GOOD: readonly string[] = [
  '{}',
  'rules:\nproxies:\nproxy-groups:\nlisteners:\n',
  '$schema: x\nmixed-port: 7890\nallow-lan: true\nmode: rule\nlog-level: info\nx-parked: { a: 1 }\nhosts: { a: 192.0.2.1, b: ["::1"] }\ntimeouts: { first-byte: 5 }\n',
  'dns: { enable: true }\ntun: { enable: false }\n',
  'proxies:\n  - { name: a, type: socks5, server: a.example, port: 1, dialer-proxy: b }\n  - { name: b, type: direct }\n  - { name: c, type: handmade, level: 1, child: { level: 2 }, kind: a }\n',
  'proxy-groups: [{ name: g, type: race, proxies: [DIRECT], delays: [0] }]\nrules: ["MATCH,g", { type: DOMAIN, value: a, to: g, no-resolve: true }]\n',
  'rule-providers:\nrules: []\n',
  'rule-providers: { a: { type: inline, behavior: domain, payload: [a.example] }, b: { type: http, behavior: ipcidr, format: text, url: "https://a.example/x", path: b.txt, interval: 60, proxy: DIRECT, size-limit: 0, header: { a: b, c: [d] } } }\nrules: ["RULE-SET,a,DIRECT", "RULE-SET,b,DIRECT,no-resolve,src"]\n',
  'listeners: [{ name: a, type: mixed, port: 1, users: [{ username: u, password: p }] }, { name: b, type: pipe, path: /x }]\n',
];

/** With the place of the complaint. The check complains as well (with a warning at least). */
const BAD: readonly [text: string, at: string][] = [
  ['foo: 1', ''],
  ['port: 70000', '/port'],
  ['mode: x', '/mode'],
  ['timeouts: { x: 1 }', '/timeouts'],
  ['proxies: [{ name: a, type: vmess }]', '/proxies/0/type'],
  ['proxies: [{ name: a }]', '/proxies/0'],
  ['proxies: [{ name: a, type: socks5, server: x }]', '/proxies/0'],
  ['proxies: [{ name: a, type: socks5, server: x, port: 1, prot: 1 }]', '/proxies/0'],
  ['proxies: [{ name: a, type: handmade, child: { level: x } }]', '/proxies/0/child/level'],
  ['proxies: [{ name: a, type: handmade, kind: c }]', '/proxies/0/kind'],
  ['proxy-groups: [{ name: a, type: select, proxies: [] }]', '/proxy-groups/0/proxies'],
  ['listeners: [{ name: a, type: mixed }]', '/listeners/0'],
  ['listeners: [{ name: a, type: mixed, port: 1, x: 1 }]', '/listeners/0'],
  ['listeners: [{ name: a, type: pipe }]', '/listeners/0'],
  ['rules: [5]', '/rules/0'],
  ['rule-providers: { a: { type: inline, behavior: domain } }', '/rule-providers/a'],
  ['rule-providers: { a: { type: http, behavior: domain, url: x, x: 1 } }', '/rule-providers/a'],
  ['rule-providers: { a: { type: http, behavior: domain, url: "https://a.example", format: mrs } }', '/rule-providers/a/format'],
  ['rules: [{ type: DOMIAN, value: a, to: DIRECT }]', '/rules/0/type'],
];

t.test('the schema is one, and files pass it as they pass the check', (t) => {
  t.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
  t.ok(ajv.validateSchema(schema));
  for (const text of GOOD) {
    const source = parseConfig(text, 'c.yaml');
    t.ok(validate(source.value), `${text}: ${ajv.errorsText(validate.errors)}`);
    t.not(checkConfig(source, registry).config, null, text);
  }
  for (const [text, at] of BAD) {
    const source = parseConfig(text, 'c.yaml');
    t.notOk(validate(source.value), text);
    t.ok(
      validate.errors?.some(({ instancePath }) => instancePath === at),
      `${text}: ${ajv.errorsText(validate.errors)}`,
    );
    // That plugin's own parse takes anything: it leaves the judging to the schema.
    if (!text.includes('handmade')) t.ok(checkConfig(source, registry).problems.length > 0, text);
  }
  t.end();
});

t.test('what an editor completes', (t) => {
  t.match(schema, {
    properties: {
      'mixed-port': { description: /HTTP and SOCKS/ },
      proxies: {
        items: { properties: { type: { enum: ['direct', 'reject', 'reject-drop', 'socks5', 'handmade', 'speechless'] }, 'dialer-proxy': { type: 'string' } } },
      },
      listeners: { items: { properties: { type: { enum: ['mixed', 'http', 'socks', 'pipe'] } } } },
    },
    $defs: { 'proxies.socks5': { required: ['server', 'port'], properties: { name: {}, server: {}, 'dialer-proxy': {} }, additionalProperties: false } },
  });
  t.end();
});
