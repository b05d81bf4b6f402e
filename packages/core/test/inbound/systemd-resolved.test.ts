import t from 'tap';
import { type Resolved, takeNames } from '../../dist/inbound/tun/systemd-resolved.js';

const ADDRESSES = [
  { address: '198.18.0.1', prefix: 30 },
  { address: 'fdfe:dcba:9876::1', prefix: 126 },
];

class FakeResolved implements Resolved {
  readonly told: string[] = [];
  readonly #fails: boolean;

  constructor(fails = false) {
    this.#fails = fails;
  }

  isHere(): boolean {
    return true;
  }

  tell(args: readonly string[]): Promise<void> {
    this.told.push(args.join(' '));
    return this.#fails ? Promise.reject(new Error('Access denied')) : Promise.resolve();
  }
}

t.test('it is told of a server for all names, behind the device', async (t) => {
  const resolved = new FakeResolved();
  await takeNames('tun0', ADDRESSES, (message) => t.fail(message), resolved).told;
  t.same(resolved.told, ['dnssec tun0 no', 'dnsovertls tun0 no', 'dns tun0 198.18.0.2 fdfe:dcba:9876::2', 'default-route tun0 yes', 'domain tun0 ~.']);
});

t.test('the neighbour of the last host of a network is the one before: behind it is everybody', async (t) => {
  const neighbours: [string, number, string][] = [
    ['198.18.0.2', 30, '198.18.0.1'],
    ['192.168.5.254', 24, '192.168.5.253'],
    ['10.9.3.255', 16, '10.9.3.254'],
    ['10.9.3.9', 29, '10.9.3.10'],
    ['fd00::2', 126, 'fd00::1'],
  ];
  for (const [address, prefix, neighbour] of neighbours) {
    const resolved = new FakeResolved();
    await takeNames('tun0', [{ address, prefix }], (message) => t.fail(message), resolved).told;
    t.ok(resolved.told.includes(`dns tun0 ${neighbour}`), address);
  }
});

t.test('what does not work is told with what to do', async (t) => {
  const warned: string[] = [];
  await takeNames('tun0', ADDRESSES, (message) => warned.push(message), new FakeResolved(true)).told;
  t.same(warned, ['systemd-resolved asks past tun0 (Access denied): sudo resolvectl dns tun0 198.18.0.2 fdfe:dcba:9876::2; sudo resolvectl domain tun0 ~.']);
});

t.test('it is left alone where it is not, and where the device has no neighbours', async (t) => {
  const resolved = new FakeResolved();
  await takeNames('tun0', [{ address: '198.18.0.1', prefix: 32 }], (message) => t.fail(message), resolved).told;
  await takeNames('tun0', [], (message) => t.fail(message), resolved).told;
  t.same(resolved.told, []);
  const elsewhere: Resolved = { isHere: () => false, tell: () => Promise.reject(new Error('asked')) };
  await takeNames('tun0', ADDRESSES, (message) => t.fail(message), elsewhere).told;
});

t.test('it is taken back, between two calls at the earliest, and once', async (t) => {
  const resolved = new FakeResolved();
  const whole = takeNames('tun0', ADDRESSES, (message) => t.fail(message), resolved);
  await whole.told;
  await whole.close();
  await whole.close();
  t.same([resolved.told.length, resolved.told.at(-1)], [6, 'revert tun0']);

  const early = new FakeResolved();
  await takeNames('tun0', ADDRESSES, (message) => t.fail(message), early).close();
  t.same(early.told, ['dnssec tun0 no', 'revert tun0'], 'what was under way, and no more');

  await takeNames('tun0', ADDRESSES, (message) => t.fail(message), new FakeResolved(true)).close();

  const elsewhere: Resolved = { isHere: () => false, tell: () => Promise.reject(new Error('asked')) };
  await takeNames('tun0', ADDRESSES, (message) => t.fail(message), elsewhere).close();
});
