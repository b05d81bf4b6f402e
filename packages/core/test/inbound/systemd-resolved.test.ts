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
  await takeNames('tun0', ADDRESSES, (message) => t.fail(message), resolved);
  t.same(resolved.told, ['dnssec tun0 no', 'dnsovertls tun0 no', 'dns tun0 198.18.0.2 fdfe:dcba:9876::2', 'default-route tun0 yes', 'domain tun0 ~.']);
});

t.test('what does not work is told with what to do', async (t) => {
  const warned: string[] = [];
  await takeNames('tun0', ADDRESSES, (message) => warned.push(message), new FakeResolved(true));
  t.same(warned, ['systemd-resolved asks past tun0 (Access denied): sudo resolvectl dns tun0 198.18.0.2 fdfe:dcba:9876::2; sudo resolvectl domain tun0 ~.']);
});

t.test('it is left alone where it is not, and where the device has no neighbours', async (t) => {
  const resolved = new FakeResolved();
  await takeNames('tun0', [{ address: '198.18.0.1', prefix: 32 }], (message) => t.fail(message), resolved);
  await takeNames('tun0', [], (message) => t.fail(message), resolved);
  t.same(resolved.told, []);
  const elsewhere: Resolved = { isHere: () => false, tell: () => Promise.reject(new Error('asked')) };
  await takeNames('tun0', ADDRESSES, (message) => t.fail(message), elsewhere);
});
