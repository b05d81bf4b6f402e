// client -> TUN -> IP stacks -> rules -> direct -> server, all of it real, in namespaces
import { createHash } from 'node:crypto';
import { release } from 'node:os';
import { eventually } from '@nekit/core/testing';
import t from 'tap';
import { ended, unlessNamespaces } from '../helpers/namespace.js';
import { CLI, makeTunHome, SERVER, SERVER_6, serve, TUN } from '../helpers/tun-home.js';

const CONFIG = `
plugins: [tcp, udp]
log-level: debug
interface-name: cable
tun: { enable: true, device: ${TUN}, mtu: 1500 }
rules:
  - DST-PORT,81,REJECT
  - MATCH,DIRECT
`;

const MIB = 1024 * 1024;

/** Linux 6.6 and later take super-packets of IPv4 that are longer than their length field can say. */
const [MAJOR = 0, MINOR = 0] = release().split('.').map(Number);
const TAKES_LARGE = MAJOR > 6 || (MAJOR === 6 && MINOR >= 6);
const LONGEST_PACKET = 65_535;

/** An HTTP server: GET gives so many bytes as the path says, POST the SHA-256 of what came. 90 resets in the middle of an answer. */
const HTTP_SERVER = `
const http = require('node:http'), net = require('node:net'), { createHash } = require('node:crypto');
const server = http.createServer((request, response) => {
  if (request.method === 'POST') {
    const hash = createHash('sha256');
    request.on('data', (part) => hash.update(part)).on('end', () => response.end(hash.digest('hex')));
    return;
  }
  let left = Number(request.url.slice(1)), at = 0;
  const more = () => {
    while (left > 0) {
      const part = Buffer.alloc(Math.min(left, 65536));
      for (let i = 0; i < part.length; i++) part[i] = (at + i) * 31 >> 3;
      at += part.length; left -= part.length;
      if (!response.write(part)) return response.once('drain', more);
    }
    response.end();
  };
  more();
});
const cut = net.createServer((socket) => socket.once('data', () => socket.write('HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nhalf', () => setTimeout(() => socket.resetAndDestroy(), 50))));
const half = net.createServer({ allowHalfOpen: true }, (socket) => { let n = 0; socket.on('data', (part) => n += part.length).on('end', () => socket.end('got ' + n)); });
const greeter = net.createServer((socket) => socket.end('220 ready\\r\\n'));
server.listen(80, '::', () => cut.listen(90, '::', () => half.listen(91, '::', () => greeter.listen(92, '::', () => console.log('ready')))));
`;

const UDP_SERVER = `
const dgram = require('node:dgram');
for (const [type, host] of [['udp4', '${SERVER}'], ['udp6', '${SERVER_6}']]) {
  const socket = dgram.createSocket(type);
  socket.on('message', (message, remote) => socket.send(message, remote.port, remote.address)).bind(9, host, () => console.log(type === 'udp6' ? 'ready' : ''));
}
`;

/** What was written to the device, as the kernel has counted it. */
interface Written {
  readonly bytes: number;
  readonly packets: number;
  readonly errors: number;
}

function sha256(length: number): string {
  const hash = createHash('sha256');
  for (let at = 0; at < length; ) {
    const part = Buffer.alloc(Math.min(length - at, MIB));
    for (let i = 0; i < part.length; i++) part[i] = ((at + i) * 31) >> 3;
    hash.update(part);
    at += part.length;
  }
  return hash.digest('hex');
}

t.test('a TUN carries what real programs say', { skip: unlessNamespaces('curl', 'ping', 'iperf3'), timeout: 180_000 }, async (t) => {
  const { home, outside, start, configFile, log, close } = await makeTunHome();
  t.teardown(close);
  await serve(outside, HTTP_SERVER);
  await serve(outside, UDP_SERVER);
  const kernel = await start(CONFIG);
  const curl = (...args: string[]) => home.run('curl', ['-sS', '--max-time', '30', ...args]);
  const urls = (path: string, port = ''): [string, string] => [`http://${SERVER}${port}${path}`, `http://[${SERVER_6}]${port}${path}`];

  /** A second of iperf3, with a server of its own: one that lasts refuses the next client while it ends with the last one, and hangs at times. */
  const iperf3 = async (...args: string[]) => {
    // Bound, or its datagrams would come from the address of the cable.
    const server = outside.spawn('iperf3', ['-s', '-1', '-B', SERVER]);
    try {
      await eventually(async () => (await outside.run('ss', ['-lnt'])).stdout.includes(':5201'), 10_000, 'iperf3');
      return await home.run('iperf3', ['-c', SERVER, '-t', '1', ...args], { ms: 30_000 });
    } finally {
      await ended(server);
    }
  };

  await t.test('downloads are intact, IPv4 and IPv6', async (t) => {
    for (const url of urls(`/${32 * MIB + 17}`)) {
      const { code, stdout, stderr } = await curl(url);
      t.equal(code, 0, stderr);
      t.equal(createHash('sha256').update(stdout).digest('hex'), sha256(32 * MIB + 17));
    }
  });

  await t.test('uploads are intact', async (t) => {
    const body = Buffer.alloc(20 * MIB + 3, 'upload');
    for (const url of urls('/')) {
      const { stdout } = await home.run('curl', ['-sS', '--max-time', '30', '--data-binary', '@-', url], { stdin: body });
      t.equal(stdout.toString(), createHash('sha256').update(body).digest('hex'));
    }
  });

  await t.test('many at once', async (t) => {
    const all = await Promise.all(Array.from({ length: 30 }, (_, i) => curl(urls(`/${(i + 1) * 10_001}`)[i % 2] ?? '')));
    t.same(
      all.map(({ stdout }) => stdout.length),
      all.map((_, i) => (i + 1) * 10_001),
    );
  });

  await t.test('refused by the target, and by a rule: a reset at once', async (t) => {
    for (const port of [':9999', ':81'])
      for (const url of urls('/', port)) {
        const begin = performance.now();
        const { code, stderr } = await curl(url);
        t.equal(code, 7, stderr); // couldn't connect
        t.ok(performance.now() - begin < 5_000);
      }
  });

  await t.test('a reset in the middle of an answer is a reset', async (t) => {
    for (const url of urls('/', ':90')) t.equal((await curl(url)).code, 56);
  });

  await t.test('half-close, and a server that speaks first', async (t) => {
    for (const host of [SERVER, SERVER_6]) {
      const text = `
        const socket = require('node:net').connect({ host: '${host}', port: 91, allowHalfOpen: true });
        socket.on('data', (part) => process.stdout.write(part));
        socket.end(Buffer.alloc(3_000_000));`;
      t.equal((await home.run(process.execPath, ['-e', text])).stdout.toString(), 'got 3000000');
      const greeting = `require('node:net').connect(92, '${host}').on('data', (part) => process.stdout.write(part))`;
      t.equal((await home.run(process.execPath, ['-e', greeting])).stdout.toString(), '220 ready\r\n');
    }
  });

  await t.test('UDP: small, large and in fragments', async (t) => {
    for (const [type, host] of [
      ['udp4', SERVER],
      ['udp6', SERVER_6],
    ]) {
      const text = `
        const socket = require('node:dgram').createSocket('${type}');
        const sizes = [0, 1, 1400, 9000, 60000];
        let got = 0;
        socket.on('message', (message) => { process.stdout.write(message.length + ' '); if (++got === sizes.length) socket.close(); else next(); });
        const next = () => socket.send(Buffer.alloc(sizes[got], 7), 9, '${host}');
        next();`;
      t.equal((await home.run(process.execPath, ['-e', text], { ms: 15_000 })).stdout.toString(), '0 1 1400 9000 60000 ');
    }
  });

  await t.test('ping', async (t) => {
    for (const host of [SERVER, SERVER_6]) {
      t.match((await home.run('ping', ['-c', '3', '-i', '0.2', '-w', '15', host])).stdout.toString(), '3 received');
      t.match((await home.run('ping', ['-c', '1', '-W', '5', '-s', '20000', host])).stdout.toString(), '1 received');
    }
  });

  await t.test('iperf3 both ways', async (t) => {
    for (const args of [[], ['-R'], ['-P', '8'], ['-P', '8', '-R'], ['-u', '-b', '200M']]) {
      const { code, stdout } = await iperf3('-J', ...args);
      const report = JSON.parse(stdout.toString()) as { error?: string; end: { sum_received?: { bytes: number }; sum?: { bytes: number } } };
      t.same([code, report.error], [0, undefined], args.join(' '));
      t.ok((report.end.sum_received?.bytes ?? report.end.sum?.bytes ?? 0) > MIB, args.join(' '));
    }
  });

  await t.test('a program of this host gets super-packets of more than 64 KiB, whole', { skip: !TAKES_LARGE && `Linux ${release()} has none` }, async (t) => {
    const written = async (): Promise<Written> => {
      const [{ stats64 }] = JSON.parse((await home.run('ip', ['-s', '-j', 'link', 'show', TUN])).stdout.toString()) as [{ stats64: { rx: Written } }];
      return stats64.rx;
    };
    let mean = 0;
    // A connection that has lost something, as on a machine that has stood still, gets no more of them.
    for (let tries = 0; tries < 3 && mean <= LONGEST_PACKET; tries++) {
      const before = await written();
      t.equal((await iperf3('-R')).code, 0);
      const after = await written();
      t.equal(after.errors, 0);
      mean = (after.bytes - before.bytes) / (after.packets - before.packets);
    }
    t.ok(mean > LONGEST_PACKET, `${Math.round(mean)} bytes on average`);
  });

  await t.test('SIGTERM takes the device away', async (t) => {
    const gone = new Promise((resolve) => kernel.once('exit', (code) => resolve(code)));
    kernel.kill('SIGTERM');
    t.equal(await gone, 0, log());
    t.notMatch((await home.run('ip', ['link'])).stdout.toString(), TUN);
  });

  await t.test('SIGKILL, and it starts again', async (t) => {
    const killed = await start(CONFIG);
    const gone = new Promise((resolve) => killed.once('exit', resolve));
    killed.kill('SIGKILL');
    await gone;
    await start(CONFIG);
    t.equal((await curl(urls('/1000')[0])).stdout.length, 1000);
  });

  await t.test('a second one with the same device says what is wrong', async (t) => {
    const { code, stdout, stderr } = await home.run(process.execPath, [CLI, 'run', '-c', configFile], { ms: 20_000 });
    t.equal(code, 1);
    t.match(stdout.toString() + stderr, /the TUN device tun7 cannot be opened: somebody else has it open/);
  });
});

t.test('without the right to it, one line says what is missing', { skip: unlessNamespaces('setpriv') }, async (t) => {
  const { home, close } = await makeTunHome();
  t.teardown(close);
  const text = `
    const { createKernel } = await import('@nekit/core');
    const { tcpPlugin: tcp } = await import('@nekit/stack-tcp');
    await createKernel({ tun: { enable: true } }, { plugins: [tcp] }).start().catch((error) => console.log(error.code, error.message));`;
  const { stdout, stderr } = await home.run('setpriv', ['--bounding-set', '-all', '--inh-caps', '-all', process.execPath, '--input-type=module', '-e', text], {
    ms: 20_000,
  });
  t.match(stdout.toString(), /^LISTEN_FAILED listener tun: a TUN device cannot be opened: not permitted: run it with sudo, or .*setcap cap_net_admin/, stderr);
});
