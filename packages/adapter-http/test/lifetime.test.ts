// Lives of responses, bodies and clients.
import { NetError } from '@nekit/core';
import { closedPort, eventually, FakeClock, startTarget } from '@nekit/core/testing';
import t from 'tap';
import type { Options } from './support/inbound-under-test.js';
import { always, ok } from './support/origins.js';
import { RawClient } from './support/raw-client.js';
import { get, scene, status } from './support/scene.js';

const VIA = '1.1 nekit-test-instance';

t.test('a response that breaks off looks like it', async (t) => {
  for (const [name, answer] of [
    ['short of its Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'],
    ['in the middle of a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\npart'],
    ['before the last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n'],
  ] as const) {
    for (const how of ['FIN', 'RST'] as const) {
      await t.test(`${name}, by ${how}`, async (t) => {
        const { inbound, origin, host } = await scene(t, always(answer));
        const client = await RawClient.say(inbound.port, get(host));
        await client.until('part');
        if (how === 'FIN') origin.sockets[0]?.end();
        else origin.sockets[0]?.resetAndDestroy();
        const text = await client.all();
        t.ok(client.wasReset, 'a reset, not an end');
        t.notMatch(text, /0\r\n\r\n$/);
        await eventually(() => inbound.ended.length === 1);
        t.ok(inbound.ended[0]?.error !== null);
      });
    }
  }
  await t.test('until close, by RST', async (t) => {
    const { inbound, origin, host } = await scene(t, always('HTTP/1.1 200 OK\r\n\r\npart'));
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('part');
    origin.sockets[0]?.resetAndDestroy();
    await client.all();
    t.ok(client.wasReset);
  });
  await t.test('a chunk that is none', async (t) => {
    const { inbound, host } = await scene(t, always('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n'));
    const client = await RawClient.say(inbound.port, get(host));
    await client.all();
    t.ok(client.wasReset);
  });
});

t.test('what the client hears when there is no response', async (t) => {
  const refuse: Options['refuse'] = (session) =>
    session.destination.host === 'forbidden.test' ? new NetError('denied', 'the rules say no', { code: 'REJECTED' }) : null;
  const { inbound, origin, host } = await scene(t, always(ok('hello')), { refuse });
  const port = await closedPort();
  const client = await RawClient.connect(inbound.port);
  const ask = async (url: string): Promise<string> => {
    client.clear();
    client.send(`GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`);
    return client.until(/\r\n\r\n\d{3} [^\n]+\n$/);
  };
  t.match(
    await ask('http://forbidden.test/'),
    /^HTTP\/1\.1 403 Forbidden\r\nContent-Type: text\/plain; charset=utf-8\r\n[\s\S]*403 Forbidden: the rules say no\n$/,
  );
  t.match(await ask(`http://127.0.0.1:${port}/`), /^HTTP\/1\.1 502 /);
  t.match(await ask('http://name.invalid/'), /^HTTP\/1\.1 502 /);
  client.clear();
  client.send(get(host));
  t.match(await client.until('hello'), /^HTTP\/1\.1 200 /, 'and the connection goes on');
  client.clear();
  client.send(get(host, `Via: 1.0 other, ${VIA} (comment)\r\nConnection: close\r\n`));
  t.equal(status(await client.all()), 508, 'a request that was here before');
  const tunnel = await RawClient.say(inbound.port, `CONNECT ${host} HTTP/1.1\r\nVia: ${VIA}\r\n\r\n`);
  t.equal(status(await tunnel.all()), 508);
  const forbidden = await RawClient.say(inbound.port, 'CONNECT forbidden.test:443 HTTP/1.1\r\n\r\n');
  t.equal(status(await forbidden.all()), 403);
  const head = await RawClient.say(inbound.port, `HEAD http://forbidden.test/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  t.match(await head.all(), /^HTTP\/1\.1 403 (?:[^\r]*\r\n)+\r\n$/, 'a HEAD gets no body');
  t.equal(origin.accepted(), 1);
  t.same(inbound.failed, ['LOOP', 'LOOP']);
});

t.test('time limits', async (t) => {
  await t.test('a client that does not get on with its head: 408', async (t) => {
    const clock = new FakeClock();
    const { inbound } = await scene(t, undefined, { clock });
    for (const text of ['', 'G', 'GET http://a.test/ HTTP/1.1\r\nHost: x\r\n']) {
      const client = await RawClient.say(inbound.port, text);
      await eventually(() => inbound.timers.size > 0);
      await eventually(() => clock.advance(1_000).then(() => client.text !== ''));
      t.match(client.text, /^HTTP\/1\.1 408 /);
      t.match(await client.all(), /Connection: close/);
      client.close();
      await eventually(() => clock.advance(1_000).then(() => inbound.connections() === 0));
    }
    t.same(inbound.failed, Array(3).fill('HTTP_HEAD_TIMEOUT'));
  });
  await t.test('a connection without a further request ends, without a word', async (t) => {
    const clock = new FakeClock();
    const { inbound, host } = await scene(t, undefined, { clock });
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('hello');
    await eventually(() => inbound.protocol.idleConnections === 1);
    await clock.advance(59_000);
    t.notOk(client.ended);
    await clock.advance(1_100);
    const text = await client.all();
    t.ok(text.endsWith('hello'));
    t.notOk(client.wasReset);
    t.same(inbound.failed, []);
  });
  await t.test('an origin without an answer: 504', async (t) => {
    const clock = new FakeClock();
    const { inbound, origin, host } = await scene(t, () => null, { clock });
    const client = await RawClient.say(inbound.port, get(host));
    await eventually(() => (origin.received[0] ?? '').includes('\r\n\r\n'));
    await clock.advance(119_000);
    t.equal(client.text, '');
    await clock.advance(1_100);
    t.equal(status(await client.until(/504 [\s\S]*\n$/)), 504);
    await eventually(() => origin.connections() === 0);
    t.match(inbound.ended[0]?.error, { failure: 'timeout', code: 'HTTP_RESPONSE_TIMEOUT' });
    client.close();
  });
  await t.test('a body that stops: 408', async (t) => {
    const clock = new FakeClock();
    const { inbound, origin, host } = await scene(t, () => null, { clock });
    const client = await RawClient.say(inbound.port, `POST http://${host}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc`);
    await eventually(() => (origin.received[0] ?? '').endsWith('abc'));
    await clock.advance(60_000);
    client.send('d');
    await eventually(() => (origin.received[0] ?? '').endsWith('abcd'));
    await clock.advance(119_000);
    t.equal(client.text, '', 'each byte gives it new time');
    await clock.advance(1_100);
    t.equal(status(await client.all()), 408);
    await eventually(() => origin.connections() === 0);
  });
  await t.test('a response that stops, where that is told sooner than a first byte', async (t) => {
    const clock = new FakeClock();
    const { inbound, origin, host } = await scene(t, always('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'), { clock, timeouts: { idle: 1_000 } });
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('part');
    await clock.advance(1_100);
    await eventually(() => inbound.ended.length === 1 && origin.connections() === 0);
    t.match(inbound.ended[0]?.error, { failure: 'timeout', code: 'HTTP_RESPONSE_TIMEOUT' });
    client.close();
  });
  await t.test('a response that stops', async (t) => {
    const clock = new FakeClock();
    const { inbound, origin, host } = await scene(t, always('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'), { clock, timeouts: { idle: 600_000 } });
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('part');
    await clock.advance(300_000);
    t.equal(origin.connections(), 1);
    await clock.advance(301_000);
    await client.all();
    t.ok(client.wasReset);
    await eventually(() => origin.connections() === 0);
  });
});

t.test('a client that leaves', async (t) => {
  for (const [name, leave] of [
    ['by FIN', (client: RawClient) => client.close()],
    ['by RST', (client: RawClient) => client.reset()],
  ] as const) {
    await t.test(`${name} while the origin thinks`, async (t) => {
      const { inbound, origin, host } = await scene(t, () => null);
      const client = await RawClient.say(inbound.port, get(host));
      await eventually(() => (origin.received[0] ?? '').includes('\r\n\r\n'));
      leave(client);
      await eventually(() => origin.connections() === 0 && inbound.connections() === 0 && inbound.ended.length === 1);
      t.equal(inbound.ended[0]?.error?.failure, 'aborted');
      t.same(inbound.failed, []);
    });
    await t.test(`${name} in the middle of its body`, async (t) => {
      const { inbound, origin, host } = await scene(t, () => null);
      const client = await RawClient.say(inbound.port, `POST http://${host}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc`);
      await eventually(() => (origin.received[0] ?? '').endsWith('abc'));
      leave(client);
      await eventually(() => origin.connections() === 0 && inbound.connections() === 0);
    });
    await t.test(`${name} in the middle of the response`, async (t) => {
      const { inbound, origin, host } = await scene(t, always('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'));
      const client = await RawClient.say(inbound.port, get(host));
      await client.until('part');
      leave(client);
      await eventually(() => origin.connections() === 0 && inbound.connections() === 0);
    });
    await t.test(`${name} in the middle of its head`, async (t) => {
      const { inbound } = await scene(t);
      const client = await RawClient.say(inbound.port, 'GET http://a');
      await eventually(() => inbound.connections() === 1);
      leave(client);
      await eventually(() => inbound.connections() === 0);
    });
  }
  await t.test('a last request that is ended at once gets its response', async (t) => {
    const { inbound, host } = await scene(t);
    const client = await RawClient.say(inbound.port, get(host, 'Connection: close\r\n'));
    client.end();
    t.match(await client.all(), /\r\nConnection: close\r\n[\s\S]*hello$/);
  });
});

t.test('bodies flow, and wait', async (t) => {
  const size = 20_000_000;
  await t.test('a download that the client does not take stops at the origin', async (t) => {
    const body = Buffer.alloc(size, 'x');
    const { inbound, origin, host } = await scene(t, (request, socket) => {
      if (!request.includes('\r\n\r\n')) return null;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      socket.write(body);
      return '';
    });
    const client = await RawClient.connect(inbound.port);
    client.socket.pause();
    client.send(get(host));
    await eventually(() => (inbound.connections() === 1 && (origin.sockets[0]?.writableLength ?? 0) > 0) || false);
    let before = -1;
    await eventually(() => {
      const written = (origin.sockets[0]?.bytesWritten ?? 0) - (origin.sockets[0]?.writableLength ?? 0);
      const still = written === before;
      before = written;
      return still;
    });
    t.ok((origin.sockets[0]?.writableLength ?? 0) > 0, 'not all of it fits into what may wait on the way');
    client.socket.resume();
    await eventually(() => client.text.length > size, 20_000);
    t.ok(client.text.endsWith('x'.repeat(1000)));
    client.close();
  });
  await t.test('an upload arrives intact', async (t) => {
    let received = 0;
    const target = await startTarget((socket) => {
      socket.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (chunk.includes('END')) socket.write(ok('taken'));
      });
    });
    t.teardown(() => target.close());
    const { inbound } = await scene(t);
    const client = await RawClient.say(inbound.port, `PUT http://127.0.0.1:${target.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${size + 3}\r\n\r\n`);
    client.socket.write(Buffer.alloc(size, 'y'));
    client.send('END');
    await client.until('taken', 20_000);
    t.ok(received > size + 3);
    client.close();
  });
  await t.test('an early answer does not wait for the body', async (t) => {
    const { inbound, origin, host } = await scene(t, (request) => (request.includes('PUT') ? 'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno' : null));
    const client = await RawClient.say(inbound.port, `PUT http://${host}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc`);
    t.match(await client.all(), /^HTTP\/1\.1 413 Too Large\r\n[\s\S]*\r\nConnection: close\r\n[\s\S]*no$/);
    t.notOk(client.wasReset);
    await eventually(() => origin.connections() === 0 && inbound.connections() === 0);
  });
  await t.test('events that come one by one are passed on one by one', async (t) => {
    const { inbound, origin, host } = await scene(t, always('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'));
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('\r\n\r\n');
    for (const word of ['one', 'two']) {
      origin.sockets[0]?.write(`3\r\n${word}\r\n`);
      await client.until(`3\r\n${word}\r\n`);
    }
    client.close();
  });
});

t.test('a client that is slow to take the end of a response gets it', async (t) => {
  const size = 1_000_000;
  for (const [name, request, ms] of [
    ['that closes', (host: string) => get(host, 'Connection: close\r\n'), 2_200],
    ['of HTTP/1.0', (host: string) => get(host).replace('HTTP/1.1', 'HTTP/1.0'), 2_200],
    ['that could have asked for more', (host: string) => get(host), 62_500],
  ] as const) {
    await t.test(name, async (t) => {
      const clock = new FakeClock();
      const { inbound, host } = await scene(t, always(ok('x'.repeat(size))), { clock });
      const client = await RawClient.connect(inbound.port);
      client.socket.pause();
      client.send(request(host));
      await eventually(() => inbound.ended.length === 1); // all of it is the system's
      await clock.advance(ms);
      client.socket.resume();
      t.ok((await client.all()).length > size);
      t.notOk(client.wasReset);
      client.close();
    });
  }
});

t.test('when the kernel stops, nothing is left', async (t) => {
  const { inbound, origin, host } = await scene(t, (request) => (request.includes('/wait') ? null : request.includes('\r\n\r\n') ? ok('hello') : null));
  const idle = await RawClient.say(inbound.port, get(host));
  await idle.until('hello');
  await eventually(() => inbound.protocol.idleConnections === 1);
  const waiting = await RawClient.say(inbound.port, get(host, '', '/wait'));
  const tunnel = await RawClient.say(inbound.port, `CONNECT ${host} HTTP/1.1\r\n\r\n`);
  const halfway = await RawClient.say(inbound.port, 'GET http://');
  await tunnel.until('\r\n\r\n');
  await eventually(() => inbound.connections() === 4 && origin.connections() === 2);
  inbound.stop();
  await eventually(() => inbound.connections() === 0 && origin.connections() === 0 && inbound.timers.size === 0);
  t.equal(inbound.protocol.idleConnections, 0);
  for (const client of [idle, waiting, tunnel, halfway]) client.close();
});

t.test('bytes of fields and reason phrases go through as they are (RFC 9110 section 5.5)', async (t) => {
  const seen: string[] = [];
  const { inbound, host } = await scene(t, (request) => {
    if (!request.endsWith('ab')) return null;
    seen.push(request);
    return 'HTTP/1.1 200 \xc3\xa9\r\nContent-Disposition: attachment; filename="\xc3\xa9.txt"\r\nX: \xe9\xff\r\nContent-Length: 1\r\n\r\na';
  });
  const client = await RawClient.say(inbound.port, `POST http://${host}/ HTTP/1.1\r\nHost: x\r\nX-N: \xe9\xc3\xa9\r\nContent-Length: 2\r\n\r\nab`);
  const text = await client.until('\r\n\r\na');
  t.match(text, 'HTTP/1.1 200 \xc3\xa9\r\n');
  t.match(text, 'filename="\xc3\xa9.txt"\r\nX: \xe9\xff\r\n');
  t.match(seen[0], 'X-N: \xe9\xc3\xa9\r\n');
  client.close();
});

t.test('a malformed body is refused at once, with an idle upstream connection at hand, too, and the origin sees nothing of it', async (t) => {
  const { inbound, origin, host } = await scene(t);
  for (const body of [
    'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
    'Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n',
    'Transfer-Encoding: chunked\r\n\r\n3;a="\nb"\r\nabc\r\n0\r\n\r\n',
  ]) {
    const warm = await RawClient.say(inbound.port, get(host));
    await warm.until('hello');
    warm.close();
    await eventually(() => inbound.protocol.idleConnections === 1);
    const client = await RawClient.say(inbound.port, `POST http://${host}/ HTTP/1.1\r\nHost: x\r\n${body}`);
    t.equal(status(await client.until('\r\n\r\n')), 400, JSON.stringify(body));
    client.close();
  }
  t.notMatch(origin.log(), 'POST');
});

t.test('what an origin may not send is refused: a coding behind a no-break space, another major version', async (t) => {
  for (const answer of ['HTTP/1.1 200 OK\r\nTransfer-Encoding: \xa0chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n', 'HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\na']) {
    await t.test(JSON.stringify(answer), async (t) => {
      const { inbound, host } = await scene(t, always(answer));
      const client = await RawClient.say(inbound.port, get(host));
      t.equal(status(await client.until('\r\n\r\n')), 502);
      t.equal(inbound.protocol.idleConnections, 0);
      client.close();
    });
  }
});

t.test('interim responses carry our Via and no length, a 204 no length', async (t) => {
  const { inbound, host } = await scene(
    t,
    always('HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nVia: 1.1 o\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: y\r\n\r\n'),
  );
  const client = await RawClient.say(inbound.port, get(host));
  const text = await client.until('X: y');
  t.match(text, `HTTP/1.1 103 Early Hints\r\nVia: 1.1 o\r\nLink: x\r\nVia: ${VIA}\r\n\r\n`);
  t.notMatch(text, /Content-Length/);
  client.close();
});

t.test('empty lines in front are overlooked, the preface of HTTP/2 is not', async (t) => {
  const { inbound, host } = await scene(t);
  t.equal(inbound.protocol.takes(Buffer.from('\r\n')), undefined);
  t.equal(inbound.protocol.takes(Buffer.from('\r\nGET')), true);
  t.equal(inbound.protocol.takes(Buffer.of(5)), false);
  const client = await RawClient.say(inbound.port, `\r\n${get(host)}`);
  t.equal(status(await client.until('hello')), 200);
  client.close();
  const other = await RawClient.say(inbound.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  t.equal(status(await other.until('\r\n\r\n')), 505);
  other.close();
});

t.test('a listener that stops lets go of who waits between two requests, and takes no further ones', async (t) => {
  let answer: (() => void) | null = null;
  const { inbound, origin, host } = await scene(t, (request, socket) => {
    if (!request.includes('\r\n\r\n')) return null;
    if (!request.includes('/slow')) return ok('quick');
    answer = () => socket.write(ok('slow'));
    return '';
  });
  const idle = await RawClient.say(inbound.port, get(host));
  await idle.until('quick');
  const busy = await RawClient.say(inbound.port, get(host, '', '/slow') + get(host, '', '/never'));
  await eventually(() => answer !== null);
  inbound.retire();
  await eventually(() => idle.ended);
  (answer as (() => void) | null)?.();
  await busy.until('slow');
  await eventually(() => busy.ended);
  t.notMatch(origin.log(), '/never');
  idle.close();
  busy.close();
});
