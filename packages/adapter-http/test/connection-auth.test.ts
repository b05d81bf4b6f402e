// NTLM and Negotiate authenticate a connection (RFC 4559 section 6): it is then one client's alone.
import type { Socket } from 'node:net';
import { eventually, FakeClock } from '@nekit/core/testing';
import t from 'tap';
import { authenticatesConnection, challengesConnection } from '../dist/message/connection-auth.js';
import { ok, type Respond, startOrigin } from './support/origins.js';
import { RawClient } from './support/raw-client.js';
import { get, scene } from './support/scene.js';

/** As IIS does it: the third leg counts where the second one went, and from then on the connection knows its user. */
function ntlm(scheme = 'NTLM'): Respond {
  const users = new Map<Socket, string>();
  const challenged = new Set<Socket>();
  const deny = (challenge: string): string => `HTTP/1.1 401 No\r\nWWW-Authenticate: ${challenge}\r\nContent-Length: 4\r\n\r\ndeny`;
  return (request, socket) => {
    if (!/\r\n\r\n(?:ab)?$/.test(request)) return null;
    if (/^authorization:.* type1\r$/im.test(request)) {
      challenged.add(socket);
      return deny(`${scheme} type2`);
    }
    const user = /^authorization:.* type3-(\w+)\r$/im.exec(request)?.[1];
    if (user !== undefined && challenged.delete(socket)) users.set(socket, user);
    const known = users.get(socket);
    return known === undefined ? deny(`Basic realm="x", ${scheme}`) : ok(`hello ${known}`);
  };
}

async function ask(client: RawClient, request: string): Promise<string> {
  client.clear();
  client.send(request);
  return client.until(/\r\n\r\n(?:deny|hello \w+)$/);
}

const post = (host: string, fields: string): string => `POST http://${host}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n${fields}\r\nab`;

t.test('a connection that knows its client', async (t) => {
  for (const [name, scheme, spelling] of [
    ['NTLM', 'NTLM', 'NTLM '],
    ['Negotiate in another case', 'nEGOTIATE', 'neGotiate   '],
  ] as const) {
    await t.test(`serves nobody else: ${name}`, async (t) => {
      const { inbound, origin, host } = await scene(t, ntlm(scheme));
      const alice = await RawClient.connect(inbound.port);
      const mallory = await RawClient.connect(inbound.port);
      t.match(await ask(mallory, get(host)), /deny$/);
      t.match(await ask(alice, get(host, `Authorization:${spelling}type1\r\n`)), /deny$/);
      t.match(await ask(alice, get(host, `Authorization: ${spelling}type3-alice\r\n`)), /hello alice$/);
      t.match(await ask(mallory, get(host)), /deny$/, 'not her name');
      t.match(await ask(alice, get(host)), /hello alice$/, 'it stays hers');
      t.equal(inbound.protocol.idleConnections, 0);
      t.equal(origin.accepted(), 2);
      mallory.close();
      await eventually(() => origin.connections() === 1);
      alice.end();
      await eventually(() => origin.connections() === 0, 1_500, 'it goes with her, before she has closed');
      alice.close();
    });
  }

  await t.test('is kept for the next leg, which another one would be wasted on, however long that takes', async (t) => {
    const clock = new FakeClock();
    const { inbound, origin, host } = await scene(t, ntlm(), { clock });
    const other = await RawClient.connect(inbound.port);
    const client = await RawClient.connect(inbound.port);
    await ask(client, post(host, 'Authorization: NTLM type1\r\n'));
    await ask(other, get(host));
    await clock.advance(20_000);
    t.match(await ask(client, post(host, 'Authorization: NTLM type3-bob\r\n')), /hello bob$/);
    t.equal(origin.accepted(), 2);
    client.close();
    other.close();
    await eventually(() => origin.connections() === 0);
  });

  await t.test('is so from the challenge on, which says that a session is kept', async (t) => {
    const { inbound, origin, host } = await scene(t, ntlm());
    const first = await RawClient.connect(inbound.port);
    const second = await RawClient.connect(inbound.port);
    t.match(await ask(first, get(host)), /\r\nProxy-Support: Session-Based-Authentication\r\n/);
    await ask(second, get(host));
    t.equal(origin.accepted(), 2);
    first.close();
    second.close();
  });

  await t.test('ends when its client goes on to a tunnel', async (t) => {
    const { inbound, origin, host } = await scene(t, ntlm());
    const client = await RawClient.connect(inbound.port);
    await ask(client, get(host));
    client.send(`CONNECT ${host} HTTP/1.1\r\n\r\n`);
    await client.until('established');
    await eventually(() => origin.accepted() === 2 && origin.connections() === 1);
    client.close();
  });

  await t.test('has few beside it', async (t) => {
    const { inbound } = await scene(t);
    const origins = await Promise.all(Array.from({ length: 6 }, () => startOrigin(ntlm())));
    const client = await RawClient.connect(inbound.port);
    for (const { port } of origins) await ask(client, get(`127.0.0.1:${port}`));
    const open = (): number => origins.reduce((sum, origin) => sum + origin.connections(), 0);
    await eventually(() => open() === 4);
    client.close();
    await eventually(() => open() === 0);
    for (const origin of origins) await origin.close();
  });
});

t.test('schemes are found in any case, behind others, and not in the middle of a word', async (t) => {
  for (const [value, expected] of [
    ['NTLM', true],
    ['ntlm TlRMTVNT', true],
    ['Basic realm="a, b",\tNegotiate', true],
    ['Kerberos abc', true],
    ['Basic TlRMTQ==', false],
    ['NTLMv9', false],
    ['Bearer ntlm', false],
  ] as const) {
    t.equal(challengesConnection(['Server', 'x', 'WWW-Authenticate', 'Digest realm="x"', 'www-authenticate', value]), expected, value);
    t.equal(authenticatesConnection(['AUTHORIZATION', value]), expected, value);
  }
});
