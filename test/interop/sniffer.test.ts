// curl and openssl, which connect to an address, are routed by the name that they say in their first bytes; UDP by that of a QUIC Initial.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KernelInput } from '@nekit/core';
import { eventually } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { cryptoFrame, helloFor, initialPacket } from '../../packages/core/dist-test/sniff/client-hellos.js';
import { throughSocks5 } from '../helpers/apps.js';
import { startKernel, type TestKernel } from '../helpers/kernel.js';
import { bigHash, type Origin, startOrigin } from '../helpers/origin.js';
import { makeFolder, run, unlessInstalled } from '../helpers/programs.js';
import { sha256, startBanner } from '../helpers/targets.js';
import { UdpApp, UdpPeer } from '../helpers/udp.js';

const NAME = 'www.sniff.test';
const certificate = makeCertificate(NAME);

/** Only the name may pass. */
const RULES = [`DOMAIN,${NAME},DIRECT`, 'MATCH,REJECT'];

/** A kernel that looks for names on the ports of the given targets. */
async function startSniffing(
  t: Test,
  ports: { readonly tls?: number; readonly http?: number; readonly quic?: number },
  more: KernelInput = {},
): Promise<TestKernel> {
  const sniff = Object.fromEntries(Object.entries(ports).map(([protocol, port]) => [protocol, { ports: [port] }]));
  const kernel = await startKernel({ rules: RULES, sniffer: { enable: true, sniff }, ...more });
  t.teardown(() => kernel.stop());
  return kernel;
}

const CURL = ['-q', '-sS', '--max-time', '30'];

interface CurlOptions {
  readonly address?: string;
  readonly more?: readonly string[];
  readonly stdin?: Buffer;
}

async function startWeb(t: Test, tls: boolean): Promise<Origin> {
  const origin = await startOrigin(tls ? { tls: certificate } : {});
  t.teardown(() => origin.close());
  return origin;
}

void t.test('curl', { skip: unlessInstalled('curl') }, async (t) => {
  const folder = makeFolder();
  t.teardown(() => folder.remove());
  const ca = join(folder.path, 'ca.pem');
  writeFileSync(ca, certificate.cert);
  /** `socks5` (and not `socks5h`): curl looks the name up itself, and the proxy gets an address. `address`: where the name is, for curl. */
  const curl = (kernel: TestKernel, port: number, url: string, { address = '127.0.0.1', more = [], stdin }: CurlOptions = {}) =>
    run('curl', [...CURL, '--cacert', ca, '--resolve', `${NAME}:${port}:${address}`, '--proxy', `socks5://127.0.0.1:${kernel.port}`, ...more, url], {
      ...(stdin === undefined ? {} : { stdin }),
    });

  await t.test('TLS: the name decides, the address is dialled, and the bytes are the same', async (t) => {
    const origin = await startWeb(t, true);
    const kernel = await startSniffing(t, { tls: origin.port });
    const hello = await curl(kernel, origin.port, `https://${NAME}:${origin.port}/hello`);
    t.equal(hello.stdout.toString(), `hello from ${NAME}:${origin.port}`, hello.stderr);
    t.match(await kernel.last(), { destination: { host: '127.0.0.1', port: origin.port }, sniffed: NAME, rule: RULES[0], adapter: 'DIRECT', error: null });
    const big = await curl(kernel, origin.port, `https://${NAME}:${origin.port}/big/20`);
    t.equal(sha256(big.stdout), bigHash(20));
    const other = await curl(kernel, origin.port, `https://127.0.0.1:${origin.port}/hello`);
    t.not(other.code, 0, 'without a name it is refused');
    t.match(await kernel.last(), { sniffed: null, rule: RULES[1] });
  });

  await t.test('HTTP: Host decides', async (t) => {
    const origin = await startWeb(t, false);
    const kernel = await startSniffing(t, { http: origin.port });
    const hello = await curl(kernel, origin.port, `http://${NAME}:${origin.port}/hello`);
    t.equal(hello.stdout.toString(), `hello from ${NAME}:${origin.port}`, hello.stderr);
    t.match(await kernel.last(), { sniffed: NAME, destination: { host: '127.0.0.1' } });
    const upload = Buffer.alloc(3_000_000, 'upload');
    const sent = await curl(kernel, origin.port, `http://${NAME}:${origin.port}/upload`, { more: ['--data-binary', '@-'], stdin: upload });
    t.match(sent.stdout.toString(), sha256(upload));
  });

  await t.test('by HTTP CONNECT too', async (t) => {
    const origin = await startWeb(t, true);
    const kernel = await startSniffing(t, { tls: origin.port });
    const way = ['--connect-to', `${NAME}:${origin.port}:127.0.0.1:${origin.port}`, '--proxy', `http://127.0.0.1:${kernel.port}`];
    const hello = await run('curl', [...CURL, '--cacert', ca, ...way, `https://${NAME}:${origin.port}/hello`]);
    t.equal(hello.stdout.toString(), `hello from ${NAME}:${origin.port}`, hello.stderr);
    t.match(await kernel.last(), { sniffed: NAME, inboundType: 'HTTPS' });
  });

  await t.test('override-destination: the name is looked up and dialled', async (t) => {
    const origin = await startWeb(t, true);
    const sniffer = { enable: true, sniff: { TLS: { ports: [origin.port], 'override-destination': true } } };
    const kernel = await startSniffing(t, {}, { sniffer, hosts: { [NAME]: '127.0.0.1' } });
    // Where the client means to go there is nobody.
    const hello = await curl(kernel, origin.port, `https://${NAME}:${origin.port}/hello`, { address: '127.9.9.9' });
    t.equal(hello.stdout.toString(), `hello from ${NAME}:${origin.port}`, hello.stderr);
    t.match(await kernel.last(), { destination: { host: NAME, port: origin.port }, sniffed: NAME });
  });
});

void t.test('openssl s_client, with TLS 1.2 and 1.3, and a hello in many records', { skip: unlessInstalled('openssl') }, async (t) => {
  const origin = await startWeb(t, true);
  const kernel = await startSniffing(t, { tls: origin.port });
  const request = Buffer.from(`GET /hello HTTP/1.0\r\nHost: ${NAME}\r\n\r\n`);
  for (const options of [
    ['-tls1_2'],
    ['-tls1_3'],
    ['-tls1_3', '-max_send_frag', '512', '-alpn', Array.from({ length: 60 }, (_, i) => `protocol-${i}`).join(',')],
  ]) {
    const args = ['s_client', '-quiet', '-connect', `127.0.0.1:${origin.port}`, '-proxy', `127.0.0.1:${kernel.port}`, '-servername', NAME, ...options];
    const { stdout, stderr } = await run('openssl', args, { stdin: request, ms: 30_000 });
    // The server knows none of the protocols of the last, and ends with an alert: it was reached.
    t.ok(stdout.includes(`hello from ${NAME}`) || /alert no application protocol/.test(stderr), `${options.join(' ')}: ${stderr}`);
    t.match(await kernel.last(), { sniffed: NAME, adapter: 'DIRECT' });
  }
});

void t.test('a server that speaks first is not kept from it for long, and only on ports that are looked at', async (t) => {
  const server = await startBanner(Buffer.from('220 ready\r\n'));
  t.teardown(() => server.close());
  for (const [listed, least] of [
    [true, 250],
    [false, 0],
  ] as const) {
    const kernel = await startSniffing(t, { tls: listed ? server.port : 1 }, { rules: ['MATCH,DIRECT'] });
    const begin = performance.now();
    const stream = await throughSocks5(kernel.port, { host: '127.0.0.1', port: server.port });
    t.equal(Buffer.concat((await stream.read()) ?? []).toString(), '220 ready\r\n');
    const took = performance.now() - begin;
    t.ok(took >= least && took < 3_000, `${took} ms`);
    await stream.write([Buffer.from('EHLO')]);
    t.equal(Buffer.concat((await stream.read()) ?? []).toString(), 'EHLO');
    stream.abort(new Error('done'));
  }
});

void t.test('QUIC: the name in the Initial decides', async (t) => {
  const echo = await UdpPeer.echo();
  t.teardown(() => echo.close());
  const kernel = await startSniffing(t, { quic: echo.port });
  const target = { host: '127.0.0.1', port: echo.port };
  for (const [name, isCarried] of [
    [NAME, true],
    ['other.test', false],
  ] as const) {
    const app = await UdpApp.open(kernel.port);
    const hello = helloFor(name, 1_500);
    app.send(target, initialPacket(cryptoFrame(hello, 900, 2_000), { packetNumber: 1, paddedTo: 1_162 }));
    app.send(target, initialPacket(cryptoFrame(hello, 0, 900), { paddedTo: 1_162 }));
    if (isCarried) for (let i = 0; i < 2; i++) t.equal((await app.next()).bytes.length, 1_200 + 8);
    else await eventually(() => kernel.closed.length === 2, 5_000, 'the refusal');
    await app.close();
    t.match(await kernel.last(), { network: 'udp', sniffed: name, rule: isCarried ? RULES[0] : RULES[1] });
  }
});
