import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { AddressRange, MAX_NAMES } from '../../dist/fake-ip/address-range.js';
import { fakeFilter } from '../../dist/fake-ip/fake-filter.js';
import { FakeIpPool } from '../../dist/fake-ip/fake-ip-pool.js';
import { type FakeIpStore, MemoryStore, type StoreUser } from '../../dist/fake-ip/store.js';

const noRule = (kind: string): never => {
  throw new Error(`there is no rule ${kind}`);
};

void t.test('a range: which addresses there are', async (t) => {
  const range = new AddressRange('198.18.0.1/16', 4);
  t.equal(range.key, '198.18.0.0/16');
  t.equal(range.text(0), '198.18.0.4', 'neither the network, nor the gateway, nor the rest of the /30 of the TUN');
  t.equal(range.capacity, 65_531);
  t.equal(range.text(range.capacity - 1), '198.18.255.254', 'nor the broadcast');
  for (const address of ['198.18.0.0', '198.18.0.1', '198.18.0.3', '198.18.255.255', '198.19.0.4', '10.0.0.1', '::1', 'a.example'])
    t.equal(range.indexOf(address), -1, address);
  t.ok(range.contains('198.18.0.1') && range.contains('198.18.255.255') && !range.contains('198.19.0.0'));
  const six = new AddressRange('fdfe:dcba:9876::1/64', 6);
  t.equal(six.capacity, MAX_NAMES);
  t.equal(six.text(0), 'fdfe:dcba:9876::4');
  t.equal(six.indexOf('fdfe:dcba:9876::ffff'), 0xffff - 4);
  t.equal(six.indexOf('fdfe:dcba:9876::1:0:0:4'), -1, 'in the network, beyond what is counted');
  t.ok(six.contains('fdfe:dcba:9876::1:0:0:4') && !six.contains('fdfe:dcba:9876:1::4'));
  for (const [text, family] of [
    ['198.18.0.0', 4],
    ['198.18.0.0/30', 4],
    ['198.18.0.0/7', 4],
    ['fd00::/64', 4],
    ['198.18.0.0/16', 6],
    ['nonsense', 4],
    ['198.18.0.0/x', 4],
  ] as const)
    t.throws(() => new AddressRange(text, family), /write|prefix/, text);
});

void t.test('any range: numbers and addresses, one to one', async () => {
  const four = fc
    .tuple(fc.integer({ min: 8, max: 29 }), fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }))
    .map(([prefix, bytes]) => new AddressRange(`${bytes.join('.')}/${prefix}`, 4));
  const six = fc
    .tuple(fc.integer({ min: 16, max: 125 }), fc.array(fc.nat(0xfffe), { minLength: 8, maxLength: 8 }))
    .map(([prefix, words]) => new AddressRange(`${['fd00', ...words.slice(1).map((word) => (word + 1).toString(16))].join(':')}/${prefix}`, 6));
  fc.assert(
    fc.property(fc.oneof(four, six), fc.nat(), (range, number) => {
      const index = number % range.capacity;
      const address = range.text(index);
      assert.equal(range.indexOf(address), index, `${range.key} ${address}`);
      assert.ok(range.contains(address));
    }),
  );
});

void t.test('names and addresses, both ways', async (t) => {
  const pool = new FakeIpPool({ range4: new AddressRange('198.18.0.1/28', 4), range6: new AddressRange('fd00::1/64', 6), seed: 1 });
  t.equal(pool.capacity, 11, 'a name has one number for both families');
  const address = pool.assign('a.example', 4);
  t.equal(pool.assign('a.example', 4), address, 'stable');
  const other = pool.assign('a.example', 6);
  t.equal(pool.domainOf(address), 'a.example');
  t.equal(pool.domainOf(other), 'a.example');
  t.equal(pool.size, 1);
  t.equal(pool.domainOf('198.18.0.1'), null);
  t.ok(pool.contains('198.18.0.1'), 'in the range, and nobody: refuse it');
  const recycled: string[] = [];
  const hold = (held: string): (() => void) => pool.hold(held, () => recycled.push(held));
  const names = Array.from({ length: 10 }, (_, i) => `${i}.example`);
  for (const name of names) pool.assign(name, 4);
  const release = hold(address); // a flow uses it
  hold(pool.assign('0.example', 6));
  const next = pool.assign('1.example', 4);
  for (const name of ['0.example', ...names.slice(2)]) pool.assign(name, 4);
  t.equal(pool.assign('new.example', 4), next, 'the least recently used makes room, but for the one that is held');
  t.same([pool.domainOf(address), recycled], ['a.example', []]);
  for (let i = 0; i < 100; i++) pool.assign(`more-${i}.example`, 4);
  t.same([pool.domainOf(address), recycled], ['a.example', []]);
  release();
  release();
  const rest = names.concat('b.example', 'c.example').map((name) => pool.assign(name, 6));
  t.same(recycled, [], 'one is held all the time');
  for (const each of new Set(rest.concat(pool.assign('d.example', 6)))) hold(each);
  pool.assign('z.example', 4);
  t.ok(recycled.length >= 1 && recycled.length <= 2, 'all are held: the one that was used least recently is taken away, and who holds it is told');
  const alone = new FakeIpPool({ range4: new AddressRange('198.18.0.1/28', 4), range6: null, seed: 1 });
  t.throws(() => alone.assign('a.example', 6), { code: 'NO_FAKE_RANGE' });
});

void t.test('a /15 that is full: at most 40 MiB', async (t) => {
  const pool = new FakeIpPool({ range4: new AddressRange('198.18.0.0/15', 4), range6: null, seed: 7 });
  for (let i = 0; i < pool.capacity; i++) pool.assign(`host-${i}.a-rather-long-name.example.com`, 4);
  t.equal(pool.size, pool.capacity);
  t.ok(pool.memory < 40 * 1024 * 1024, `${pool.memory}`);
});

void t.test('kernels that share a store give a name the same address', async (t) => {
  const memory = new MemoryStore();
  const range4 = new AddressRange('198.18.0.1/24', 4);
  const [one, other] = [1, 2].map((seed) => new FakeIpPool({ range4, range6: null, seed, store: memory.share() }));
  assert.ok(one !== undefined && other !== undefined);
  await Promise.all([one.open(), other.open()]);
  for (let i = 0; i < 300; i++) {
    const [first, second] = i % 2 === 0 ? [one, other] : [other, one];
    t.equal(first.assign(`${i}.example`, 4), second.assign(`${i}.example`, 4));
  }
  const late = new FakeIpPool({ range4, range6: null, seed: 3, store: memory.share() });
  await late.open();
  t.equal(late.domainOf(one.assign('299.example', 4)), '299.example');
  const elsewhere = new FakeIpPool({ range4: new AddressRange('10.0.0.0/24', 4), range6: null, seed: 3, store: memory.share() });
  await elsewhere.open();
  t.equal(elsewhere.size, 0, 'of another range nothing is taken');
});

/** As a file is: what is put before it is open is lost. */
class SlowStore implements FakeIpStore {
  readonly names = new Map<number, string>();
  user: StoreUser | null = null;
  #isOpen = false;

  async open(_key: string, user: StoreUser): Promise<void> {
    this.user = user;
    for (const [index, name] of [...this.names]) {
      await Promise.resolve();
      user.restore(index, Buffer.from(name));
    }
    this.#isOpen = true;
  }

  put(index: number, name: Uint8Array): void {
    if (this.#isOpen) this.names.set(index, Buffer.from(name).toString());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

void t.test('what was assigned before the store is open keeps its number, and is kept', async (t) => {
  const range4 = new AddressRange('198.18.0.1/24', 4);
  const poolOf = (seed: number, store: FakeIpStore | null): FakeIpPool => new FakeIpPool({ range4, range6: null, seed, store });
  const store = new SlowStore();
  const pool = poolOf(1, store);
  const a = pool.assign('a.example', 4);
  const index = range4.indexOf(a);
  const kept = [index + 20, index + 21, index + 22] as const;
  store.names.set(index, 'x.example').set(kept[0], 'b.example').set(kept[1], 'a.example').set(kept[2], 'meanwhile.example');
  const opening = pool.open();
  const meanwhile = pool.assign('meanwhile.example', 4);
  await opening;
  t.same([pool.domainOf(a), pool.domainOf(meanwhile), pool.domainOf(range4.text(kept[0])), pool.size], ['a.example', 'meanwhile.example', 'b.example', 3]);
  t.same([store.names.get(index), store.names.get(range4.indexOf(meanwhile))], ['a.example', 'meanwhile.example'], 'kept when the store was open');
  store.user?.restore(index, Buffer.from('y.example'));
  t.equal(pool.domainOf(a), 'y.example', 'afterwards others that share it count');
});

void t.test('fake-ip-filter', async (t) => {
  const black = fakeFilter('blacklist', ['*.lan', 'Mijia Cloud', '+.local', 'exact.example', '.below.example'], noRule);
  for (const name of ['printer.lan', 'local', 'a.b.local', 'exact.example', 'x.below.example']) t.ok(black(name), name);
  for (const name of ['lan', 'a.b.lan', 'www.exact.example', 'below.example', 'example']) t.notOk(black(name), name);
  const white = fakeFilter('whitelist', ['+.example'], noRule);
  t.notOk(white('a.example'));
  t.ok(white('a.test'));
  t.ok(fakeFilter('whitelist', ['Mijia Cloud'], noRule)('a.example'), 'what is no name stands for none');
  const ruled = fakeFilter('rule', ['DOMAIN,a.example,fake-ip', 'DOMAIN-SUFFIX,example,real-ip'], (_kind, payload) => ({
    match: (session) => session.destination.host.endsWith(payload),
  }));
  t.notOk(ruled('a.example'));
  t.ok(ruled('b.example'));
  t.notOk(ruled('test'), 'without a rule it is fake');
  t.throws(() => fakeFilter('rule', ['DOMAIN,a.example'], noRule), /real-ip/);
  t.throws(() => fakeFilter('blacklist', ['geosite:nope'], noRule), /GEOSITE/);
});
