// The plan of auto-route, and how it is set and taken back, on a netlink of our own. The real thing: test/netns/auto-route.test.ts.
import { endianness } from 'node:os';
import t from 'tap';
import { AutoRoute, setRoutesBy } from '../../dist/inbound/tun/auto-route/auto-route.js';
import { describeLeftoverRoute, findRoutes, listedRule } from '../../dist/inbound/tun/auto-route/found-routes.js';
import { exemptionRule, planRoutes } from '../../dist/inbound/tun/auto-route/plan.js';
import type { AutoRouteSettings } from '../../dist/inbound/tun/auto-route/settings.js';
import { listLinks } from '../../dist/native/link-config.js';
import { listRules, type RouteRule, ruleMessage } from '../../dist/native/route-rule.js';
import { describeFound, describeRule } from '../../dist/native/rule-text.js';
import { describeRoute, listRoutes, routeMessage } from '../../dist/native/table-route.js';
import { Exemptions } from '../../dist/net/exemptions.js';
import { FakeClock } from '../../dist/testing/fake-clock.js';
import { FakeNetlink } from '../support/fake-netlink.js';

const SETTINGS: AutoRouteSettings = {
  routes: [
    { address: '0.0.0.0', prefix: 0 },
    { address: '::', prefix: 0 },
  ],
  excluded: [],
  table: 2022,
  priority: 9000,
  strict: false,
  detectInterface: true,
  marks: [0x162],
};

const FOUR = { address: '198.18.0.1', prefix: 30 };
const SIX = { address: 'fdfe:dcba:9876::1', prefix: 126 };

/** Rules by their priority, as ip(8) writes them; IPv6 with 6 in front. */
function planned(settings: Partial<AutoRouteSettings>, addresses = [FOUR, SIX]): { rules: string[]; routes: string[] } {
  const { rules, routes } = planRoutes({ settings: { ...SETTINGS, ...settings }, device: 'tun7', addresses });
  const name = ({ family }: { family: 4 | 6 }): string => (family === 6 ? '6 ' : '');
  return {
    rules: [...rules].sort((one, other) => one.family - other.family || one.priority - other.priority).map((rule) => `${name(rule)}${describeRule(rule)}`),
    routes: routes.map((route) => `${name(route)}${describeRoute(route, 'tun7')}`),
  };
}

t.test('the plan', async (t) => {
  t.same(planned({}), {
    rules: [
      'priority 9000 iif tun7 goto 9009',
      'priority 9001 fwmark 0x162 goto 9009',
      'priority 9003 to 224.0.0.0/4 goto 9009',
      'priority 9003 to 255.255.255.255/32 goto 9009',
      'priority 9004 not dport 53 lookup main suppress_prefixlength 0',
      'priority 9005 from 198.18.0.1/32 iif lo goto 9007',
      'priority 9005 from 0.0.0.0/32 iif lo goto 9007',
      'priority 9006 iif lo goto 9009',
      'priority 9007 lookup 2022',
      'priority 9009 nop',
      '6 priority 9000 iif tun7 goto 9009',
      '6 priority 9001 fwmark 0x162 goto 9009',
      '6 priority 9004 not dport 53 lookup main suppress_prefixlength 0',
      '6 priority 9005 from fdfe:dcba:9876::1/128 iif lo goto 9007',
      '6 priority 9006 from ::/1 iif lo goto 9009',
      '6 priority 9006 from 8000::/1 iif lo goto 9009',
      '6 priority 9007 lookup 2022',
      '6 priority 9009 nop',
    ],
    routes: ['default dev tun7 table 2022', '6 default dev tun7 table 2022'],
  });
});

t.test('the plan with lists, strict, and without a family', async (t) => {
  const lists = planned({
    routes: [{ address: '10.0.0.0', prefix: 8 }],
    excluded: [{ address: '10.9.0.0', prefix: 16 }],
    strict: true,
    marks: [1, 2],
    table: 300,
    priority: 5,
  });
  t.same(lists.routes, ['10.0.0.0/8 dev tun7 table 300']);
  for (const rule of [
    'priority 6 fwmark 0x1 goto 14',
    'priority 6 fwmark 0x2 goto 14',
    'priority 8 to 10.9.0.0/16 goto 14',
    'priority 13 to 10.0.0.0/8 unreachable',
  ])
    t.ok(lists.rules.includes(rule), rule);
  t.notOk(
    lists.rules.some((rule) => rule.startsWith('6')),
    'of IPv6 nothing is named',
  );
  t.notOk(
    planned({}, [FOUR]).rules.some((rule) => rule.startsWith('6')),
    'IPv6 is not carried, and left alone',
  );
  const strict = planned({ strict: true }, [FOUR]);
  t.same(strict.routes, ['default dev tun7 table 2022']);
  t.ok(strict.rules.includes('priority 9005 iif lo dport 53 goto 9007'), 'names are asked through the TUN from whatever address');
  t.ok(strict.rules.includes('6 priority 9007 nop') && strict.rules.includes('6 priority 9008 unreachable'));
  t.notOk(
    strict.rules.some((rule) => rule.startsWith('6 priority 9006')),
    'of IPv6 an address is no way around',
  );
});

t.test('the plan names nothing twice', async (t) => {
  const { rules } = planned({ excluded: [{ address: '224.0.0.0', prefix: 4 }] }, [FOUR, { ...FOUR, prefix: 24 }]);
  t.equal(new Set(rules).size, rules.length);
});

t.test('nothing enters before our own sockets are kept out, and END is there first', async (t) => {
  for (const family of [4, 6]) {
    const order = planRoutes({ settings: { ...SETTINGS, strict: true }, device: 'tun7', addresses: [FOUR, SIX] }).rules.filter(
      (rule) => rule.family === family,
    );
    t.equal(order[0]?.action, 'nop');
    t.match(order.at(-1), { action: 'lookup', table: 2022 });
  }
});

t.test('messages, byte by byte', { skip: endianness() !== 'LE' && 'the messages below are those of a little-endian machine' }, async (t) => {
  const bytes = (rule: RouteRule): string => Buffer.from(ruleMessage(32, 0x604, rule, 78).bytes()).toString('hex');
  const plain = (text: string): string => text.replaceAll(' ', '');
  // length type flags sequence port | family dst src tos table - - action flags | priority protocol …
  t.equal(
    bytes({ family: 4, priority: 9009, action: 'nop' }),
    plain('2c000000 2000 0506 01000000 00000000 02 00 00 00 00 00 00 03 00000000 0800 0600 31230000 0500 1500 4e000000'),
  );
  t.equal(
    bytes({ family: 6, priority: 9004, not: true, destinationPort: 53, action: 'lookup', table: 254, suppress: 0 }),
    plain(
      '44000000 2000 0506 01000000 00000000 0a 00 00 00 00 00 00 01 02000000 0800 0600 2c230000 0500 1500 4e000000 0800 1800 35003500 0800 0f00 fe000000 0800 0e00 00000000',
    ),
  );
  t.equal(
    bytes({ family: 4, priority: 9001, mark: 0x162, action: 'goto', target: 9009 }),
    plain(
      '44000000 2000 0506 01000000 00000000 02 00 00 00 00 00 00 02 00000000 0800 0600 29230000 0500 1500 4e000000 0800 0a00 62010000 0800 1000 ffffffff 0800 0400 31230000',
    ),
  );
  t.equal(
    bytes(exemptionRule(SETTINGS, { host: '192.0.2.7', port: 8388 }, 'tcp')),
    plain(
      '4c000000 2000 0506 01000000 00000000 02 20 00 00 00 00 00 02 00000000 0800 0600 2a230000 0500 1500 4e000000 0800 0100 c0000207 0500 1600 06000000 0800 1800 c420c420 0800 0400 31230000',
    ),
  );
  t.equal(
    Buffer.from(routeMessage(24, 0x604, { family: 4, network: { address: '10.0.0.0', prefix: 8 }, table: 2022 }, 7, 78).bytes()).toString('hex'),
    plain('34000000 1800 0506 01000000 00000000 02 08 00 00 00 4e fd 01 00000000 0800 0f00 e6070000 0800 0400 07000000 0800 0100 0a000000'),
  );
});

interface Running {
  readonly fake: FakeNetlink;
  readonly exemptions: Exemptions;
  readonly warnings: string[];
  readonly clock: FakeClock;
  set(settings?: Partial<AutoRouteSettings>, device?: string): AutoRoute;
}

function running(): Running {
  const fake = new FakeNetlink();
  fake.links.set('tun7', { index: 7, running: true }).set('tun8', { index: 8, running: true });
  const exemptions = new Exemptions();
  const warnings: string[] = [];
  const clock = new FakeClock();
  return {
    clock,
    fake,
    exemptions,
    warnings,
    set: (settings = {}, device = 'tun7') =>
      new AutoRoute(
        fake.call,
        { settings: { ...SETTINGS, ...settings }, device, addresses: [FOUR, SIX], warn: (message) => warnings.push(message) },
        exemptions,
        clock,
      ),
  };
}

t.test('what is set is taken back', async (t) => {
  const { fake, set, warnings } = running();
  const routes = set();
  t.same([fake.rules.length, fake.routes.length], [18, 2]);
  routes.close();
  routes.close();
  t.same([fake.rules.length, fake.routes.length, warnings], [0, 0, []]);
});

t.test('whatever fails, nothing stays', async (t) => {
  for (let last = 1; last <= 20; last++) {
    const { fake, set } = running();
    let count = 0;
    fake.refuse = (type) => ((type === 24 || type === 32) && ++count === last ? 105 : 0);
    t.throws(() => set(), { code: 'AUTO_ROUTE_FAILED', message: /^its routes cannot be set: .*: ENOBUFS$/ });
    t.same([fake.rules.length, fake.routes.length], [0, 0], `at the ${last}th`);
  }
});

t.test('without the right to it, one line says what is missing', async (t) => {
  const { fake, set } = running();
  fake.refuse = (type) => (type === 24 ? 1 : 0);
  t.throws(() => set(), { code: 'AUTO_ROUTE_FAILED', message: /not permitted: run it with sudo, or .*: sudo setcap cap_net_admin\+ep/ });
  t.throws(() => setRoutesBy(null, new Exemptions(), new FakeClock())({ settings: SETTINGS, device: 'tun7', addresses: [FOUR], warn: () => undefined }), {
    code: 'AUTO_ROUTE_FAILED',
  });
});

t.test('IPv6 that is switched off is a warning; with strict-route it is shut, as far as it is there', async (t) => {
  for (const [strict, rules] of [
    [false, 10],
    [true, 12 + 6 + 1],
  ] as const) {
    const { fake, set, warnings } = running();
    fake.refuse = (type, body) => (type === 24 && body[0] === 10 ? 13 : 0);
    const routes = set({ strict });
    t.same([fake.rules.length, fake.routes.length], [rules, strict ? 2 : 1]);
    t.match(warnings.join(), /^IPv6 does not go through tun7/);
    routes.close();
    t.equal(fake.rules.length, 0);
    fake.refuse = (_type, body) => (body[0] === 10 ? 97 : 0);
    set({ strict });
    t.ok(fake.rules.every((rule) => rule[0] === 2));
  }
});

t.test('strict-route: interfaces are guarded as they come and go', async (t) => {
  const { fake, set, warnings, clock } = running();
  fake.links.set('lo', { index: 1, running: true, loopback: true }).set('port', { index: 5, running: true, master: 8 });
  const others = (): string[] =>
    listRules(fake.call, 4)
      .map(describeFound)
      .filter((rule) => rule.includes('oif'))
      .map((rule) => rule.replace('priority 9004 iif lo oif ', ''));
  const guards = (): number[] =>
    listRoutes(fake.call, 4, 2023)
      .filter(({ broadcast }) => broadcast)
      .map(({ index }) => index);
  const routes = set({ strict: true });
  t.same([others(), guards()], [['tun8 lookup 2023'], [8]], 'not the TUN, not loopback, no port of a bridge');
  fake.links.set('wlan0', { index: 9, running: true });
  fake.routes.splice(fake.routes.findIndex((route) => route[7] === 3, 1)); // as tun8 was down for a moment
  await clock.advance(1_000);
  t.same(
    [others(), guards()],
    [
      ['tun8 lookup 2023', 'wlan0 lookup 2023'],
      [8, 9],
    ],
  );
  fake.links.delete('tun8');
  await clock.advance(1_000);
  t.same([others(), guards()], [['wlan0 lookup 2023'], [9]]);
  fake.refuse = (type) => (type === 18 ? 24 : 0);
  await clock.advance(5_000);
  t.match(warnings, [/^interfaces are not followed.*EMFILE/]);
  t.equal(warnings.length, 1, 'told once');
  fake.refuse = () => 0;
  fake.links.set('wlan1', { index: 10, running: true });
  await clock.advance(1_000);
  t.same(guards(), [9, 10]);
  routes.close();
  t.same([fake.rules.length, fake.routes.length, clock.pending], [0, 0, 0]);
});

t.test('strict-route: whatever fails, nothing stays; and what a killed kernel has left goes', async (t) => {
  for (let last = 1; last <= 25; last++) {
    const { fake, set, clock } = running();
    let count = 0;
    fake.refuse = (type) => ((type === 24 || type === 32) && ++count === last ? 105 : 0);
    if (last <= 23) t.throws(() => set({ strict: true }), { code: 'AUTO_ROUTE_FAILED' }, `at the ${last}th`);
    else set({ strict: true }).close();
    t.same([fake.rules.length, fake.routes.length, clock.pending], [0, 0, 0], `at the ${last}th`);
  }
  const { fake, set } = running();
  set({ strict: true });
  // Killed: the routes of the device go with it, those that guard others stay.
  fake.routes.splice(0, fake.routes.length, ...fake.routes.filter((route) => route[7] === 3));
  fake.links.delete('tun7');
  t.match(
    findRoutes(fake.call, null).leftoverRoutes.map((route) => describeLeftoverRoute(route, listLinks(fake.call))),
    ['ip route broadcast default dev tun8 table 2023 metric 8'],
  );
  fake.links.set('tun7', { index: 77, running: true });
  set({ strict: true }).close();
  t.same([fake.rules.length, fake.routes.length], [0, 0]);
  // The rules may be gone as well: somebody has taken them.
  set({ strict: true });
  fake.rules.length = 0;
  fake.routes.splice(0, fake.routes.length, ...fake.routes.filter((route) => route[7] === 3));
  set().close();
  t.same([fake.rules.length, fake.routes.length], [0, 0]);
});

t.test('leftovers: of who is dead, not of who lives, nor of others', async (t) => {
  const { fake, set, warnings } = running();
  const others: Uint8Array[] = [];
  for (const priority of [8999, 9010]) {
    const rule = ruleMessage(32, 0, { family: 4, priority, iif: 'tun9', action: 'goto', target: 9999 }, 0).bytes().slice(16);
    others.push(rule);
    fake.rules.push(rule);
  }
  set({ priority: 7000, table: 3000 }, 'tun8');
  const living = fake.rules.length;
  set();
  t.equal(findRoutes(fake.call, null).leftovers.length, 0);
  // The kernel of tun7 is killed: its routes go with the device, and somebody else may have the name at once.
  fake.routes.splice(0, fake.routes.length, ...fake.routes.filter((route) => !Buffer.from(route).includes(Buffer.from([4, 0, 7, 0, 0, 0]))));
  fake.links.set('tun7', { index: 70, running: false });
  const { leftovers } = findRoutes(fake.call, null);
  t.equal(leftovers.length, 18);
  t.match(leftovers.map(listedRule), ['ip rule priority 9009 nop', 'ip rule priority 9000 iif tun7 goto 9009']);
  set().close();
  t.match(warnings.join(), '18 rules were removed that a kernel which was killed had left');
  t.equal(fake.rules.length, living);
  t.ok(others.every((rule) => fake.rules.includes(rule)));
});

t.test(
  'the end of a list says whether it is whole',
  { skip: endianness() !== 'LE' && 'the messages below are those of a little-endian machine' },
  async (t) => {
    const end = (flags: number, error: number): Uint8Array => {
      const message = Buffer.alloc(20);
      message.writeUInt32LE(20, 0);
      message.writeUInt16LE(3, 4);
      message.writeUInt16LE(flags, 6);
      message.writeInt32LE(error, 16);
      return message;
    };
    t.throws(() => listLinks(() => end(2, -12)), { code: 'ENOMEM' });
    let asked = 0;
    t.same(
      listLinks(() => end(++asked === 1 ? 0x12 : 2, 0)),
      [],
    );
    t.equal(asked, 2, 'it has changed meanwhile: once more');
  },
);

t.test('a device that outlives its kernel is taken over, by whatever name the next one has', async (t) => {
  for (const [device, running_] of [
    ['tun7', true],
    ['tun7', false],
    ['tun8', false],
  ] as const) {
    const { fake, set, warnings } = running();
    set({ strict: true });
    fake.links.set('tun7', { index: 7, running: running_ }); // killed; without a carrier, unless somebody keeps the descriptor open
    if (!running_) {
      const links = listLinks(fake.call);
      const left = findRoutes(fake.call, null).leftoverRoutes.map((route) => describeLeftoverRoute(route, links));
      for (const line of ['ip route default dev tun7 table 2022', 'ip -6 route default dev tun7 table 2022']) t.ok(left.includes(line), line);
    }
    set({ strict: true }, device).close();
    t.match(warnings.join(), 'rules were removed that a kernel which was killed had left');
    t.same([fake.rules.length, fake.routes.length], [0, 0], `${device}, and routes as well`);
  }
});

t.test('a kernel whose device was set down and up again, which takes its routes, lives', async (t) => {
  const { fake, set } = running();
  set({ strict: true });
  const before = fake.rules.length;
  fake.routes.length = 0;
  set({ priority: 7000, table: 3000 }, 'tun8').close();
  t.equal(fake.rules.length, before);
  t.throws(() => set({ priority: 9005, table: 3000 }, 'tun8'), { code: 'AUTO_ROUTE_CONFLICT', message: /taken by the kernel of tun7/ });
});

t.test('what somebody else has', async (t) => {
  const { fake, set } = running();
  set();
  const before = [fake.rules.length, fake.routes.length];
  t.throws(() => set({ priority: 9005, table: 3000 }, 'tun8'), { code: 'AUTO_ROUTE_CONFLICT', message: /9005 to 9014 some are taken by the kernel of tun7/ });
  t.throws(() => set({ priority: 8000 }, 'tun8'), {
    code: 'AUTO_ROUTE_CONFLICT',
    message: 'the routing table 2022 is in use (it has a route to 0.0.0.0/0): choose another with "iproute2-table-index"',
  });
  t.same([fake.rules.length, fake.routes.length], before);
  fake.rules.push(ruleMessage(32, 0, { family: 6, priority: 8003, action: 'lookup', table: 51820 }, 0).bytes().slice(16));
  t.throws(() => set({ priority: 8000, table: 3000 }, 'tun8'), {
    code: 'AUTO_ROUTE_CONFLICT',
    message: /some are taken by "ip -6 rule priority 8003 lookup 51820"/,
  });
});

t.test('exemptions: one rule for each server while the TUN runs', async (t) => {
  const { fake, exemptions, set, warnings } = running();
  const early = exemptions.add({ host: '192.0.2.7', port: 8388 }, 'tcp');
  t.notOk(exemptions.needed);
  const routes = set();
  t.ok(exemptions.needed);
  t.equal(fake.rules.length, 19);
  const twice = exemptions.add({ host: '192.0.2.7', port: 8388 }, 'tcp');
  const six = exemptions.add({ host: '2001:db8::7', port: 443 }, 'udp');
  t.equal(fake.rules.length, 20);
  early();
  early();
  t.equal(fake.rules.length, 20, 'somebody needs it yet');
  six();
  t.equal(fake.rules.length, 19);
  routes.close();
  t.equal(fake.rules.length, 0);
  twice();
  fake.refuse = (type, body) => (type === 32 && body[1] === 32 && body[7] === 2 && Buffer.from(body).includes(Buffer.from([192, 0, 2, 9])) ? 12 : 0);
  set();
  exemptions.add({ host: '192.0.2.9', port: 1 }, 'tcp');
  t.match(warnings.join(), /^the way beside the TUN to 192.0.2.9:1: rule 9002: ENOMEM$/);
});
