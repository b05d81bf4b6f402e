// Which connections to origins are kept, and for whom.
import { eventually, FakeClock } from '@nekit/core/testing';
import t from 'tap';
import { always, ok, startOrigin } from './support/origins.js';
import { RawClient } from './support/raw-client.js';
import { get, scene, status } from './support/scene.js';

t.test('pipelined requests are answered in order, one after the other', async (t) => {
  let first: (() => void) | null = null;
  const { inbound, origin, host } = await scene(t, (request, socket) => {
    if (!request.includes('\r\n\r\n')) return null;
    const path = /^\w+ (\S+)/.exec(request)?.[1] ?? '';
    if (path !== '/slow') return ok(path);
    first = () => socket.write(ok('/slow'));
    return '';
  });
  const other = await startOrigin(always(ok('other')));
  t.teardown(() => other.close());
  const client = await RawClient.say(
    inbound.port,
    get(host, '', '/slow') +
      `POST http://${host}/post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n` +
      get(`127.0.0.1:${other.port}`) +
      get(host, '', '/last'),
  );
  await eventually(() => first !== null);
  t.equal(origin.accepted() + other.accepted(), 1, 'the next waits');
  t.equal(client.text, '');
  (first as (() => void) | null)?.();
  const text = await client.until('\r\n\r\n/last');
  t.same(
    [...text.matchAll(/\r\n\r\n(\/slow|\/post|other|\/last)/g)].map((match) => match[1]),
    ['/slow', '/post', 'other', '/last'],
  );
  t.equal(inbound.ended.length >= 3, true, 'each is a session of its own');
  client.close();
});

t.test('upstream connections', async (t) => {
  await t.test('are used again, by other clients too', async (t) => {
    const { inbound, origin, host } = await scene(t);
    for (let i = 0; i < 4; i++) {
      const client = await RawClient.say(inbound.port, get(host));
      await client.until('hello');
      client.close();
      await eventually(() => inbound.protocol.idleConnections === 1);
    }
    t.equal(origin.accepted(), 1);
    t.equal(inbound.dials(), 1);
  });
  await t.test('not by other users, nor after a reload', async (t) => {
    const { inbound, origin, host } = await scene(t, always(ok('hello')), { users: { ann: 'a', bob: 'b' } });
    for (const [credentials, connections] of [
      ['ann:a', 1],
      ['bob:b', 2],
      ['ann:a', 2],
    ] as const) {
      const client = await RawClient.say(
        inbound.port,
        get(host, `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\nConnection: close\r\n`),
      );
      await client.all();
      t.equal(origin.accepted(), connections, credentials);
    }
    inbound.reload();
    const client = await RawClient.say(
      inbound.port,
      get(host, `Proxy-Authorization: Basic ${Buffer.from('ann:a').toString('base64')}\r\nConnection: close\r\n`),
    );
    await client.all();
    t.equal(origin.accepted(), 3);
  });
  await t.test('are dropped when the origin speaks out of turn', async (t) => {
    const { inbound, origin, host } = await scene(t);
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 1);
    origin.sockets[0]?.write(ok('poison'));
    await eventually(() => inbound.protocol.idleConnections === 0);
    client.clear();
    client.send(get(host));
    t.notMatch(await client.until('hello'), /poison/);
    t.equal(origin.accepted(), 2);
    client.close();
  });
  await t.test('are dropped when the origin ends them', async (t) => {
    const { inbound, origin, host } = await scene(t);
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 1);
    origin.sockets[0]?.end();
    await eventually(() => inbound.protocol.idleConnections === 0 && origin.connections() === 0);
    client.close();
  });
  for (const [name, surplus] of [
    ['bytes beyond Content-Length', `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello${ok('poison')}`],
    ['bytes behind the last chunk', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n${ok('poison')}`],
    ['a body behind a 304', `HTTP/1.1 304 hello\r\nContent-Length: 6\r\n\r\npoison`],
  ] as const) {
    await t.test(`${name} answer no other request`, async (t) => {
      const { inbound, origin, host } = await scene(t, (request, _socket, connection) =>
        request.includes('\r\n\r\n') ? (connection === 0 ? surplus : ok('clean')) : null,
      );
      const client = await RawClient.say(inbound.port, get(host));
      await client.until('hello');
      await eventually(() => inbound.ended.length === 1);
      client.send(get(host));
      t.notMatch(await client.until('clean'), /poison/);
      t.equal(origin.accepted(), 2);
      client.close();
    });
  }
  for (const [name, fields] of [
    ['the origin says so', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello'],
    ['it speaks HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello'],
  ] as const) {
    await t.test(`are not kept when ${name}`, async (t) => {
      const { inbound, origin, host } = await scene(t, always(fields));
      const client = await RawClient.say(inbound.port, get(host));
      await client.until('hello');
      await eventually(() => inbound.ended.length === 1 && origin.connections() === 0);
      t.equal(inbound.protocol.idleConnections, 0);
      t.match(client.text, /\r\nConnection: keep-alive\r\n/, 'the client’s own connection is another matter');
      client.close();
    });
  }
  await t.test('a reused one that breaks without a byte: a GET is sent again', async (t) => {
    const { inbound, origin, host } = await scene(t, (request, socket, connection) => {
      if (connection === 0 && request.includes('/second')) socket.resetAndDestroy();
      return request.includes('\r\n\r\n') ? ok('hello') : null;
    });
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 1);
    client.clear();
    client.send(get(host, '', '/second'));
    t.equal(status(await client.until('hello')), 200);
    t.equal(origin.accepted(), 2);
    client.close();
  });
  await t.test('… a POST is not', async (t) => {
    const { inbound, origin, host } = await scene(t, (request, socket) => {
      if (request.startsWith('POST')) socket.resetAndDestroy();
      return request.startsWith('GET') ? ok('hello') : null;
    });
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 1);
    client.clear();
    client.send(`POST http://${host}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab`);
    t.equal(status(await client.until('502')), 502);
    t.equal(origin.accepted(), 1);
    client.close();
  });
  await t.test('… nor a GET that was answered in part, nor on a new connection', async (t) => {
    const { inbound, origin, host } = await scene(t, (request, socket) => {
      if (request.includes('/part')) socket.end('HTTP/1.1 200 OK\r\nX: ');
      if (request.includes('/none')) socket.resetAndDestroy();
      return request.includes('/first') ? ok('hello') : null;
    });
    const client = await RawClient.say(inbound.port, get(host, '', '/first'));
    await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 1);
    client.clear();
    client.send(get(host, '', '/part'));
    t.equal(status(await client.until(/502 [\s\S]*\n$/)), 502);
    client.clear();
    client.send(get(host, '', '/none'));
    t.equal(status(await client.until(/502 [\s\S]*\n$/)), 502);
    t.equal(origin.accepted(), 2);
    client.close();
  });
  await t.test('wait 15 s at most; a request that cannot be repeated gets none that waited 2 s', async (t) => {
    const clock = new FakeClock();
    const { inbound, origin, host } = await scene(t, (request) => (/\r\n\r\n(?:ab)?$/.test(request) ? ok('hello') : null), { clock });
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 1);
    await clock.advance(3_000);
    client.clear();
    client.send(`POST http://${host}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab`);
    await client.until('hello');
    t.equal(origin.accepted(), 2);
    await eventually(() => inbound.protocol.idleConnections === 2);
    await clock.advance(11_000);
    t.equal(inbound.protocol.idleConnections, 2);
    await clock.advance(1_100);
    await eventually(() => inbound.protocol.idleConnections === 1);
    await clock.advance(4_000);
    await eventually(() => inbound.protocol.idleConnections === 0 && origin.connections() === 0);
    client.close();
  });
  await t.test('no more than 8 to one endpoint wait', async (t) => {
    const waiting: (() => void)[] = [];
    const { inbound, origin, host } = await scene(t, (request, socket) => {
      if (request.includes('\r\n\r\n')) waiting.push(() => socket.write(ok('hello')));
      return request.includes('\r\n\r\n') ? '' : null;
    });
    const clients = await Promise.all(Array.from({ length: 12 }, () => RawClient.say(inbound.port, get(host))));
    await eventually(() => waiting.length === 12);
    for (const respond of waiting) respond();
    for (const client of clients) await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 8 && origin.connections() === 8);
    for (const client of clients) client.close();
  });
});
