// What a reload forgets of the adapters' health: of those that lead elsewhere, and of no others.
import t from 'tap';
import { directType, selectType } from '../../dist/adapter/builtin.js';
import { HEALTH_BOOK } from '../../dist/adapter/health-book.js';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import { AdapterSet } from '../../dist/kernel/adapter-set.js';
import { Farewell } from '../../dist/kernel/farewell.js';
import { TIMEOUTS } from '../../dist/net/tokens.js';
import { Registry } from '../../dist/plugin/registry.js';
import { testContext } from '../../dist/testing.js';

const forgotten: string[] = [];
const { context, timers, events } = testContext({ values: new Map([[HEALTH_BOOK, { forget: (tags: Iterable<string>) => forgotten.push(...tags) }]]) });
const farewell = new Farewell({ timers, timeouts: context.get(TIMEOUTS), events });

function setOf(text: string): AdapterSet {
  const registry = new Registry();
  registry.adapters.add('direct', 'core', directType);
  // A proxy: it is given what it dials through.
  registry.adapters.add('hop', 'test', { ...directType, type: 'hop', create: (_options, { tag, base }) => ({ ...base, tag, type: 'hop' }) });
  registry.groups.add('select', 'core', selectType);
  const { config } = checkConfig(parseConfig(text, 'c.yaml'), registry);
  if (config === null) throw new Error('no config');
  return new AdapterSet(config, registry, (token) => context.get(token), farewell);
}

const BEFORE = `
proxies:
  - { name: near, type: direct, ip-version: ipv4 }
  - { name: far, type: hop, dialer-proxy: near }
  - { name: other, type: direct }
proxy-groups:
  - { name: inner, type: select, proxies: [far, other] }
  - { name: outer, type: select, proxies: [inner, DIRECT] }
  - { name: apart, type: select, proxies: [other] }
`;
const BUILT_IN = ['COMPATIBLE', 'DIRECT', 'GLOBAL', 'PASS', 'REJECT', 'REJECT-DROP'];

const CASES: readonly [name: string, after: string, tags: readonly string[]][] = [
  ['the same', BEFORE, []],
  ['the same elsewhere in the file', `# a line more\n${BEFORE}`, []],
  ['another server, and who goes by it', BEFORE.replace('ipv4', 'ipv6'), ['GLOBAL', 'far', 'inner', 'near', 'outer']],
  ['another way to the server', BEFORE.replace('dialer-proxy: near', 'dialer-proxy: other'), ['GLOBAL', 'far', 'inner', 'outer']],
  ['another type', BEFORE.replace('other, type: direct', 'other, type: hop'), ['GLOBAL', 'apart', 'inner', 'other', 'outer']],
  ['other members', BEFORE.replace('[other]', '[far]'), ['GLOBAL', 'apart']],
  ['one more, one less', BEFORE.replace('name: apart', 'name: new'), ['GLOBAL', 'apart', 'new']],
  ['all go out by another interface', `interface-name: lo\n${BEFORE}`, [...BUILT_IN, 'apart', 'far', 'inner', 'near', 'other', 'outer']],
];

for (const [name, after, tags] of CASES) {
  t.test(name, async (t) => {
    forgotten.length = 0;
    setOf(after).forgetHealth(setOf(BEFORE));
    t.strictSame([...forgotten].sort(), tags);
  });
}
