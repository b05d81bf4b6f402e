// Addresses of a link: with the name of an interface, or its index.
import type { NetworkInterfaceInfo } from 'node:os';
import t from 'tap';
import { isSameAddress } from '../../dist/net/zone.js';

const common = { netmask: '', mac: '', internal: false, cidr: null };

t.test('a zone is the same by its name and by its index', (t) => {
  const six = (address: string, scopeid: number): NetworkInterfaceInfo => ({ ...common, family: 'IPv6', address, scopeid });
  const four: NetworkInterfaceInfo = { ...common, family: 'IPv4', address: '192.0.2.1' };
  const interfaces = (): NodeJS.Dict<NetworkInterfaceInfo[]> => ({
    eth0: [four, six('2001:db8::2', 0), six('fe80::2', 2)],
    eth1: [six('fe80::3', 3)],
    bare: [four, six('2001:db8::3', 0)],
  });
  const same = (one: string, other: string): boolean => isSameAddress(one, other, interfaces);
  t.ok(same('192.0.2.1', '192.0.2.1'));
  t.ok(same('fe80::1%eth0', 'fe80::1%eth0'));
  t.ok(same('fe80::1%eth0', 'fe80::1%2'));
  t.ok(same('fe80::1%2', 'fe80::1%eth0'));
  t.notOk(same('fe80::1%eth0', 'fe80::1%3'), 'of another interface');
  t.notOk(same('fe80::1%eth0', 'fe80::1%eth1'));
  t.notOk(same('fe80::1%eth0', 'fe80::4%2'), 'another address');
  t.notOk(same('fe80::1%eth0', 'fe80::1'), 'of no interface');
  for (const zone of ['bare', 'gone']) t.notOk(same(`fe80::1%${zone}`, 'fe80::1%0'), 'what has no index');
  t.notOk(same('fe80::1%gone', 'fe80::1%lost'), 'two that are not there');
  t.end();
});
