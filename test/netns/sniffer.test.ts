// client -> TUN -> stacks -> sniffer -> rules: programs that connect to addresses are routed by the names that they say.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@nekit/core/testing';
import t from 'tap';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { cryptoFrame, helloFor, initialPacket } from '../../packages/core/dist-test/sniff/client-hellos.js';
import { unlessNamespaces } from '../helpers/namespace.js';
import { makeFolder } from '../helpers/programs.js';
import { makeTunHome, SERVER, SERVER_6, serve, TUN } from '../helpers/tun-home.js';

const NAME = 'www.sniff.test';

const CONFIG = `
plugins: [tcp, udp]
log-level: debug
interface-name: cable
tun: { enable: true, device: ${TUN}, mtu: 1500 }
sniffer:
  enable: true
  sniff:
    TLS: { ports: [443, 990-992] }
    HTTP: { ports: [80] }
    QUIC: {}
  skip-dst-address: ["${SERVER_6}/128"]
rules:
  - DOMAIN,${NAME},DIRECT
  - DST-PORT,990-992,DIRECT
  - MATCH,REJECT
`;

t.test('a TUN with a sniffer', { skip: unlessNamespaces('curl', 'openssl'), timeout: 120_000 }, async (t) => {
  const { home, outside, start, log, close } = await makeTunHome();
  t.teardown(close);
  const folder = makeFolder();
  t.teardown(() => folder.remove());
  const certificate = makeCertificate(NAME);
  const ca = join(folder.path, 'ca.pem');
  writeFileSync(ca, certificate.cert);
  await serve(
    outside,
    `const body = Buffer.alloc(8_000_000, 'body');
     const answer = (request, response) => response.end(request.url === '/big' ? body : 'hello from ' + request.headers.host);
     const greeter = require('node:net').createServer((socket) => { socket.write('220 ready\\r\\n'); socket.pipe(socket); });
     const udp = require('node:dgram').createSocket('udp4').on('message', (bytes, from) => udp.send(bytes, from.port, from.address));
     require('node:https').createServer(${JSON.stringify({ key: certificate.key, cert: certificate.cert })}, answer).listen(443, '::', () =>
       require('node:http').createServer(answer).listen(80, '::', () => greeter.listen(991, '::', () => udp.bind(443, '${SERVER}', () => console.log('ready')))));`,
  );
  await start(CONFIG);
  const curl = (host: string, ...args: string[]) =>
    home.run('curl', ['-sS', '--max-time', '20', '--cacert', ca, ...[80, 443].flatMap((port) => ['--resolve', `${host}:${port}:${SERVER}`]), ...args]);

  await t.test('TLS and HTTP go by the name', async (t) => {
    for (const scheme of ['https', 'http']) {
      const { stdout, stderr } = await curl(NAME, `${scheme}://${NAME}/hello`);
      t.equal(stdout.toString(), `hello from ${NAME}`, stderr);
      const big = await curl(NAME, `${scheme}://${NAME}/big`);
      t.equal(Buffer.compare(big.stdout, Buffer.alloc(8_000_000, 'body')), 0);
    }
    await eventually(() => log().includes(`${SERVER}:443 (${NAME}) DOMAIN,${NAME},DIRECT -> DIRECT`), 5_000, 'the log line');
  });

  await t.test('another name is refused: it was told yes, and is reset then', async (t) => {
    for (const scheme of ['https', 'http']) {
      const { code, stderr } = await curl('other.test', `${scheme}://other.test/hello`);
      t.ok(code === 35 || code === 56, `${code}: ${stderr}`); // a handshake, or an answer, that was cut
    }
  });

  await t.test('what is not looked at is dialled before it is answered: refused at once', async (t) => {
    for (const url of [`http://${SERVER}:81/`, `http://[${SERVER_6}]/`]) {
      const { code, stderr } = await home.run('curl', ['-sS', '--max-time', '10', url]);
      t.equal(code, 7, stderr); // couldn't connect
    }
  });

  await t.test('a server that speaks first, on a port that is looked at', async (t) => {
    const text = `
      const begin = performance.now();
      const socket = require('node:net').connect(991, '${SERVER}');
      socket.once('data', (part) => { console.log(part.toString().trim(), performance.now() - begin < 3000); socket.write('said'); socket.once('data', (part) => { console.log(part.toString()); socket.end(); }); });`;
    const { stdout } = await home.run(process.execPath, ['-e', text]);
    t.equal(stdout.toString(), '220 ready true\nsaid\n');
  });

  await t.test('a refusal of the target is a reset where it was looked at', async (t) => {
    const begin = performance.now();
    const { code, stderr } = await home.run('curl', ['-sS', '--max-time', '10', `https://${SERVER}:992/`]);
    t.ok(code === 35, `${code}: ${stderr}`);
    t.ok(performance.now() - begin < 5_000);
  });

  await t.test('QUIC goes by the name in its hello, which may be in two datagrams', async (t) => {
    for (const [name, answers] of [
      [NAME, 2],
      ['other.test', 0],
    ] as const) {
      const hello = helloFor(name, 1_500);
      const packets = [
        initialPacket(cryptoFrame(hello, 900, 2_000), { packetNumber: 1, paddedTo: 1_162 }),
        initialPacket(cryptoFrame(hello, 0, 900), { paddedTo: 1_162 }),
      ].map((packet) => packet.toString('base64'));
      const text = `
        const socket = require('node:dgram').createSocket('udp4');
        let heard = 0;
        socket.on('error', (error) => { console.log(error.code); socket.close(); });
        socket.on('message', (bytes, from) => { if (from.address === '${SERVER}' && ++heard === 2) { console.log('heard 2'); socket.close(); } });
        socket.connect(443, '${SERVER}', () => { for (const packet of ${JSON.stringify(packets)}) socket.send(Buffer.from(packet, 'base64')); });
        setTimeout(() => { console.log('silence'); process.exit(); }, 10000).unref();`;
      const { stdout } = await home.run(process.execPath, ['-e', text]);
      t.equal(stdout.toString(), answers === 2 ? 'heard 2\n' : 'ECONNREFUSED\n');
    }
  });
});
