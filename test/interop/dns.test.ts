// dig -> our name server -> dnsmasq (UDP, TCP) or unbound (UDP, TCP, TLS, HTTPS).
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKernel } from '@nekit/core';
import { closedPort } from '@nekit/core/testing';
import { createDnsPlugin } from '@nekit/stack-dns';
import t, { type Test } from 'tap';
import { makeFolder, type Program, run, startProgram, unlessInstalled } from '../helpers/programs.js';

const folder = makeFolder();
t.teardown(() => folder.remove());

const LONG = 'x'.repeat(250);

async function started<P extends Program>(t: Test, starting: Promise<P>): Promise<P> {
  const program = await starting;
  t.teardown(() => program.stop());
  return program;
}

function dnsmasq(): Promise<Program> {
  return startProgram('dnsmasq', (port) => [
    ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--bind-interfaces', '--listen-address=127.0.0.1'],
    ...[`--port=${port}`, `--user=${process.getuid?.() === 0 ? 'root' : ''}`, '--local=/example/', '--local-ttl=60'],
    ...['--address=/www.example/192.0.2.7', '--address=/www.example/2001:db8::7', '--cname=alias.example,www.example', '--host-record=www.example,192.0.2.7'],
    ...Array.from({ length: 8 }, () => `--txt-record=long.example,${LONG}`),
  ]);
}

interface Unbound extends Program {
  readonly tls: number;
  readonly https: number;
}

async function unbound(): Promise<Unbound> {
  const [tls, https] = [await closedPort(), await closedPort()];
  const key = join(folder.path, 'key.pem');
  const pem = join(folder.path, 'cert.pem');
  const names = ['-subj', '/CN=nekit test', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2', '-keyout', key, '-out', pem];
  await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', ...names]);
  const file = join(folder.path, 'unbound.conf');
  const program = await startProgram('unbound', (port) => {
    writeFileSync(
      file,
      [
        'server:',
        ...[port, tls, https].map((number) => ` interface: 127.0.0.1@${number}`),
        ` tls-port: ${tls}\n https-port: ${https}\n tls-service-key: ${key}\n tls-service-pem: ${pem}`,
        ' do-daemonize: no\n username: ""\n chroot: ""\n pidfile: ""\n use-syslog: no\n num-threads: 1\n module-config: "iterator"',
        ' local-zone: "example." static\n local-data: "www.example. 60 IN A 192.0.2.8"\n local-data: "example. 60 IN SOA ns.example. root.example. 1 2 3 4 50"',
        ...Array.from({ length: 8 }, (_, i) => ` local-data: 'long.example. 60 IN TXT "${i}${LONG}"'`),
        'remote-control:\n control-enable: no\n',
      ].join('\n'),
    );
    return ['-d', '-c', file];
  });
  return { ...program, tls, https };
}

async function digger(t: Test, dns: Record<string, unknown>): Promise<(...words: string[]) => Promise<string>> {
  const kernel = createKernel(
    { dns: { enable: true, listen: '127.0.0.1:0', ipv6: true, 'use-system-hosts': false, ...dns } },
    { plugins: [createDnsPlugin()], strict: true },
  );
  t.teardown(() => kernel.stop());
  await kernel.start();
  const port = kernel.listeners()[0]?.endpoint?.port ?? 0;
  return async (...words) => {
    const { stdout } = await run('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', '+time=6', ...words], { ms: 15_000 });
    const text = stdout.toString();
    t.notMatch(text, /malformed|extra bytes|WARNING|mismatch/i);
    return text;
  };
}

t.test('dnsmasq', { skip: unlessInstalled('dnsmasq', 'dig') }, async (t) => {
  const { port } = await started(t, dnsmasq());
  for (const server of [`127.0.0.1:${port}`, `tcp://127.0.0.1:${port}`]) {
    const dig = await digger(t, { nameserver: server });
    t.equal(await dig('+short', 'www.example'), '192.0.2.7\n', server);
    t.equal(await dig('+short', 'AAAA', 'www.example'), '2001:db8::7\n');
    t.match(await dig('alias.example'), /CNAME\s+www\.example\.[^;]*192\.0\.2\.7/);
    t.match(await dig('nowhere.example'), /status: NXDOMAIN/);
    // Larger than UDP has room for: cut, and asked again by TCP, here and there.
    t.equal((await dig('+short', 'TXT', 'long.example')).length, 8 * (LONG.length + 3));
    t.match(await dig('+ignore', '+bufsize=512', 'TXT', 'long.example'), /flags: qr tc rd ra/);
  }
});

t.test('unbound', { skip: unlessInstalled('unbound', 'dig', 'openssl') }, async (t) => {
  const { port, tls, https } = await started(t, unbound());
  const ca = encodeURIComponent(join(folder.path, 'cert.pem'));
  const servers = [`127.0.0.1:${port}`, `tcp://127.0.0.1:${port}`, `tls://127.0.0.1:${tls}#ca=${ca}`, `https://127.0.0.1:${https}/dns-query#ca=${ca}`];
  for (const server of servers) {
    const dig = await digger(t, { nameserver: server });
    t.equal(await dig('+short', 'www.example'), '192.0.2.8\n', server);
    const none = await dig('MX', 'www.example');
    t.match(none, /status: NOERROR.*ANSWER: 0/s, 'NODATA');
    t.match(await dig('nowhere.example'), /status: NXDOMAIN/);
    t.equal((await dig('+short', 'TXT', 'long.example')).split('\n').length, 9);
    t.match(await dig('+dnssec', 'www.example'), /flags: do/);
  }
});
