// strict-route in namespaces: what has no way through the TUN has none, and who chooses an interface or an address does not get by
import { eventually } from '@nekit/core/testing';
import t from 'tap';
import { SERVER, SERVER_6, TUN } from '../helpers/auto-route-home.js';
import { ask, carried, config, fetch, HOSTS, prepare } from '../helpers/auto-route-probes.js';
import { type Namespace, unlessNamespaces } from '../helpers/namespace.js';

const skip = unlessNamespaces('curl');

t.test('strict-route: what has no way through the TUN has none', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, guest, rules } = around;
  const only4 = ', inet6-address: []';
  const lax = await around.start(config(only4));
  t.equal(await fetch(home, `[${SERVER_6}]`), 'fd01::1', 'without it IPv6 takes the other way');
  t.equal(await fetch(home, `[${SERVER_6}]`, 81), 'fd01::1');
  await lax.end('SIGTERM');
  const strict = await around.start(config(`${only4}, strict-route: true`));
  t.equal(await fetch(home, SERVER), '10.1.0.1');
  t.equal(await fetch(home, `[${SERVER_6}]`), '', 'IPv6 does not leak');
  t.equal(await fetch(guest, `[${SERVER_6}]`), '', 'nor what is forwarded');
  t.equal(await ask(home, 'fd01::2', 9), 'fd01::1', 'a connected network is no leak');
  t.equal(await ask(home, 'fd01::2', 53), '', 'its resolver is');
  t.equal(await fetch(home, `[${SERVER_6}]`, 80, '-x', 'http://127.0.0.1:7890'), 'fd01::1', 'our own connections have IPv6');
  await home.sh(`ip link set ${TUN} down`);
  t.equal(await fetch(home, SERVER), '', 'its routes went with the device: nothing leaks');
  await strict.end('SIGTERM');
  t.same(await rules(), []);
  const killed = await around.start(config(', strict-route: true'));
  await killed.end('SIGKILL');
  for (const host of HOSTS) t.equal(await fetch(home, host), '', 'nor after a crash');
  const next = await around.start(config(', strict-route: true'));
  for (const host of HOSTS) t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1', 'until the next start');
  await next.end('SIGTERM');
  for (const host of HOSTS) t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1');
});

/** What a program gets that binds to `device`, or to `address`: what the server says, or an error. */
async function askFrom(home: Namespace, host: string, port: number, bound: { readonly device?: string; readonly address?: string }): Promise<string> {
  const text = `
import socket, sys
host, port, device, address = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_STREAM if port == 80 else socket.SOCK_DGRAM)
s.settimeout(3)
try:
    if device: s.setsockopt(socket.SOL_SOCKET, 25, device.encode())
    if address: s.bind((address, 0))
    if port == 80: s.connect((host, port)); s.send(b'?')
    else: s.sendto(b'?', (host, port))
    print(s.recv(200).decode().split('\\n')[-1].strip())
except OSError as error: print(error.strerror or 'nothing')
`;
  return (await home.run('python3', ['-c', text, host, String(port), bound.device ?? '', bound.address ?? ''], { ms: 10_000 })).stdout.toString().trim();
}

t.test(
  'strict-route: who chooses an interface, or an address to ask names from, does not get by',
  { skip: unlessNamespaces('python3', 'curl'), timeout: 90_000 },
  async (t) => {
    const around = await prepare(t);
    const { home, outside, rules } = around;
    const everything = (): Promise<string> => home.sh('ip rule; ip -6 rule; ip route; ip route show table 2023 2>/dev/null || true');
    // One that takes all without asking whose address it is, as a modem does: where the worst would leave.
    await home.sh('ip link add modem type veth peer name far; ip link set far up; ip link set modem arp off up; ip addr add 10.9.0.1/24 dev modem');
    const before = await everything();
    const lax = await around.start(config());
    t.equal(await askFrom(home, SERVER, 80, { device: 'cable' }), '10.1.0.1', 'without it they do');
    await lax.end('SIGTERM');
    const kernel = await around.start(config(', strict-route: true', 'log-level: debug'));
    const UNREACHABLE = 'Network is unreachable';
    for (const device of ['cable', 'modem']) {
      t.equal(await askFrom(home, SERVER, 80, { device }), UNREACHABLE, `TCP by ${device}`);
      t.equal(await askFrom(home, SERVER, 9, { device }), 'Permission denied', `UDP by ${device}`);
      t.equal(await askFrom(home, SERVER_6, 80, { device }), UNREACHABLE);
      t.equal(await askFrom(home, SERVER_6, 9, { device }), UNREACHABLE);
    }
    t.equal(await askFrom(home, '10.1.0.2', 53, { device: 'cable' }), 'Permission denied', 'nor to a resolver on the cable');
    t.equal(await askFrom(home, 'fd01::2', 53, { device: 'cable' }), UNREACHABLE);
    await askFrom(home, '10.1.0.2', 53, { address: '10.1.0.1' });
    t.ok(await carried(kernel, '10.1.0.2:53'), 'from an address: it goes through the TUN');
    t.equal(await askFrom(home, '10.1.0.2', 9, { device: 'cable' }), '10.1.0.1', 'a connected network is no leak');
    t.equal(await askFrom(home, 'fd01::2', 9, { device: 'cable' }), 'fd01::1');
    for (const host of HOSTS) {
      const own = host === SERVER ? '10.1.0.1' : 'fd01::1';
      t.equal(await fetch(home, host), own, 'our own sockets are bound, and get out');
      t.equal(await fetch(home, host, 80, '-x', 'http://127.0.0.1:7890'), own);
    }
    t.equal(await ask(home, SERVER, 9), '10.1.0.1');
    const set = (await around.cli('check', '-c', around.configFile, '--tun')).stdout.toString();
    t.match(set, /^set {6}ip route add broadcast default dev cable table 2023 metric \d+ protocol 78$/m);
    t.match(set, /^set {6}ip rule add priority 9004 iif lo oif modem lookup 2023 protocol 78$/m);
    t.notMatch(set, 'not set');
    // A cable that is pulled loses its routes, and a new one comes.
    await home.connect('radio', outside, 'radio');
    await home.sh('ip addr add 10.2.0.1/24 dev radio; ip link set modem down; ip link set modem up');
    const guarded = async (): Promise<boolean> => {
      const table = await home.sh('ip route show table 2023');
      return ['radio', 'modem'].every((name) => table.includes(`dev ${name} `));
    };
    await eventually(guarded, 10_000, 'guards of what has come');
    for (const device of ['radio', 'modem']) t.equal(await askFrom(home, SERVER, 80, { device }), UNREACHABLE, device);
    await home.sh('ip link del radio');
    await eventually(async () => !(await home.sh('ip rule')).includes('radio'), 10_000, 'the end of a guard');
    t.equal(await kernel.end('SIGTERM'), 0);
    t.equal(await everything(), before);
    t.notMatch(kernel.log(), /"level":"warn".*(?:followed|taken back)/);

    const killed = await around.start(config(', strict-route: true'));
    await killed.end('SIGKILL');
    t.equal(await askFrom(home, SERVER, 80, { device: 'cable' }), UNREACHABLE, 'nor after a crash');
    t.match(
      (await around.cli('check', '-c', around.configFile, '--tun')).stdout.toString(),
      /^left {5}ip route broadcast default dev cable table 2023 metric \d+$/m,
    );
    await (await around.start(config())).end('SIGTERM');
    t.equal(await everything(), before, 'the next start takes all of it away');
    t.same(await rules(), []);
  },
);
