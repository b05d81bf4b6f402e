import t from 'tap';
import { bindsWithoutRights, DefaultInterface } from '../../dist/native/default-interface.js';
import { parseAddress } from '../../dist/net/address.js';
import { FakeNetlink, systemRoute } from '../support/fake-netlink.js';

const address = (text: string): Uint8Array => parseAddress(text) ?? new Uint8Array(4);

t.test('the interface of the default route, for what only that leads to', async (t) => {
  const fake = new FakeNetlink();
  fake.links.set('eth0', { index: 2, running: true }).set('wlan0', { index: 3, running: true });
  const main = (family: 4 | 6, network: string, prefix: number, index: number, metric = 0, table = 254): Uint8Array =>
    systemRoute(family, address(network), prefix, index, metric, table);
  fake.routes.push(
    main(4, '0.0.0.0', 0, 3, 600),
    main(4, '0.0.0.0', 0, 2, 100),
    main(4, '192.168.1.0', 24, 2),
    main(4, '127.0.0.0', 8, 1, 0, 255),
    main(6, '::', 0, 3, 1024),
    main(6, 'fd00::', 7, 2, 256),
    main(4, '0.0.0.0', 0, 9, 1, 51),
  );
  let now = 0;
  const outgoing = new DefaultInterface(fake.call, { now: () => now });
  t.equal(outgoing.deviceFor('203.0.113.1'), undefined, 'not asked for');
  t.same(fake.heard, []);
  outgoing.enabled = true;
  t.equal(outgoing.deviceFor('203.0.113.1'), 'eth0', 'the lowest metric, of the main table');
  t.equal(outgoing.deviceFor('2001:db8::1'), 'wlan0');
  for (const near of ['192.168.1.77', '127.0.0.1', 'fd07::1', 'fdff::', 'nowhere']) t.equal(outgoing.deviceFor(near), undefined, near);
  t.equal(outgoing.deviceFor('192.168.2.1'), 'eth0');
  t.equal(fake.heard.length, 3, 'read once');
  fake.links.set('eth0', { index: 2, running: false });
  t.equal(outgoing.deviceFor('203.0.113.1'), 'eth0');
  now = 60_000;
  t.equal(outgoing.deviceFor('203.0.113.1'), 'wlan0', 'a pulled cable is no way');
  fake.links.set('wlan0', { index: 3, running: false });
  now = 120_000;
  t.equal(outgoing.deviceFor('203.0.113.1'), 'eth0', 'but if all are, the system has its say');
  fake.routes.length = 0;
  now = 180_000;
  t.equal(outgoing.deviceFor('203.0.113.1'), undefined, 'no way at all');
  for (let i = 0; i < 5_000; i++) outgoing.deviceFor(`10.${i >> 8}.${i & 255}.1`);
  fake.refuse = () => 105;
  now = 240_000;
  t.equal(outgoing.deviceFor('203.0.113.1'), undefined, 'too many routes to be read');
  t.equal(new DefaultInterface(null, { now: () => now }).deviceFor('203.0.113.1'), undefined);
});

t.test('older systems let only root bind', async (t) => {
  for (const [version, may] of [
    ['4.18.0-553.el8', false],
    ['5.4.0-150-generic', false],
    ['5.7.0', true],
    ['5.10.0-30-amd64', true],
    ['6.18.44', true],
    ['nonsense', false],
  ] as const)
    t.equal(bindsWithoutRights(version), may, version);
});
