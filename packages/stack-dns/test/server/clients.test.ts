import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@nekit/core/testing';
import t from 'tap';
import { Clients } from '../../dist/server/clients.js';
import { RateLimit } from '../../dist/server/rate-limit.js';
import { addressOfReverseName } from '../../dist/server/reverse-name.js';
import { parseHosts, SystemHosts } from '../../dist/server/system-hosts.js';

void t.test('who may ask', async (t) => {
  const clients = new Clients(10);
  for (const address of ['192.168.1.7', '10.1.1.1', 'fe80::1%eth0', 'fd00::1', '172.31.0.1', '100.64.0.1']) t.equal(clients.refuses(address, 0), null, address);
  for (const address of ['8.8.8.8', '2001:db8::1', '172.32.0.1']) t.equal(clients.refuses(address, 0), 'far', address);
  for (let i = 0; i < 1_000; i++) t.equal(clients.refuses('127.0.0.1', 0), null, 'this machine as often as it likes');
  let taken = 0;
  for (let i = 0; i < 100; i++) if (clients.refuses('10.0.0.9', 0) === null) taken++;
  t.equal(taken, 20, 'two seconds of it at once');
  t.equal(clients.refuses('10.0.0.9', 0), 'often');
  t.equal(clients.refuses('10.0.0.9', 200), null);
  t.equal(clients.refuses('10.0.0.8', 200), null, 'and nobody else suffers');
});

void t.test('as many clients as there are do not fill the memory', async (t) => {
  const limit = new RateLimit(1);
  for (let i = 0; i < 20_000; i++) t.equal(limit.take(`${i}`, i), true);
  t.equal(limit.take('19999', 19_999), true);
  t.equal(limit.take('19999', 19_999), false, 'the last are remembered');
});

void t.test('names of addresses', async (t) => {
  t.equal(addressOfReverseName('4.3.2.1.in-addr.arpa'), '1.2.3.4');
  const nibbles = Array.from({ length: 32 }, (_, i) => (i === 0 ? '1' : i === 31 ? 'f' : '0'));
  t.equal(addressOfReverseName(`${nibbles.join('.')}.ip6.arpa`), 'f000::1');
  for (const name of ['3.2.1.in-addr.arpa', '256.3.2.1.in-addr.arpa', '04.3.2.1.in-addr.arpa', 'x.3.2.1.in-addr.arpa', '1.ip6.arpa', 'example'])
    t.equal(addressOfReverseName(name), null, name);
});

void t.test('/etc/hosts, read again when it changes; the config goes before it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'nekit-dns-hosts-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'hosts');
  const clock = new FakeClock();
  writeFileSync(path, '# comment\n127.0.0.1 localhost\n192.0.2.1\tA.example b.example # more\n::1 localhost\nnonsense x\n');
  const hosts = new SystemHosts(new Map([['b.example', ['192.0.2.9']]]), clock, path);
  t.same(hosts.current().get('a.example'), ['192.0.2.1']);
  t.same(hosts.current().get('b.example'), ['192.0.2.9']);
  t.same(hosts.current().get('localhost'), ['127.0.0.1', '::1']);
  writeFileSync(path, '192.0.2.22 a.example\n');
  t.same(hosts.current().get('a.example'), ['192.0.2.1']);
  await clock.advance(5_000);
  t.same(hosts.current().get('a.example'), ['192.0.2.22']);
  rmSync(path);
  await clock.advance(5_000);
  t.notOk(hosts.current().has('a.example'));
  t.equal(parseHosts('').size, 0);
});
