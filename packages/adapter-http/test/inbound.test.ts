import { closedPort, eventually, startEcho, startTarget } from '@nekit/core/testing';
import t from 'tap';
import { always, ok } from './support/origins.js';
import { RawClient } from './support/raw-client.js';
import { get, scene, status } from './support/scene.js';

const VIA = '1.1 nekit-test-instance';

t.test('a plain request, byte for byte', async (t) => {
  const { inbound, origin, host } = await scene(
    t,
    always('HTTP/1.1 200 Very Fine\r\nX-Odd-CASE: a\r\nSet-Cookie: b=1\r\nset-cookie: c=2\r\nContent-Length: 5\r\n\r\nhello'),
  );
  const client = await RawClient.say(
    inbound.port,
    `GET http://${host}/p/a?q=1 HTTP/1.1\r\naccept: */*\r\nHOST: elsewhere.test\r\nX-Odd-CASE: a\r\nCookie: b=1\r\nCookie: c=2\r\n\r\n`,
  );
  t.equal(
    await client.until('hello'),
    `HTTP/1.1 200 Very Fine\r\nX-Odd-CASE: a\r\nSet-Cookie: b=1\r\nset-cookie: c=2\r\nContent-Length: 5\r\nVia: ${VIA}\r\nConnection: keep-alive\r\n\r\nhello`,
  );
  t.equal(
    origin.received[0],
    `GET /p/a?q=1 HTTP/1.1\r\nHost: ${host}\r\naccept: */*\r\nX-Odd-CASE: a\r\nCookie: b=1\r\nCookie: c=2\r\nVia: ${VIA}\r\nConnection: keep-alive\r\n\r\n`,
    'the target decides the Host; nothing tells who the client is',
  );
  await eventually(() => inbound.ended.length === 1);
  const ended = inbound.ended[0];
  t.match(ended?.session, {
    network: 'tcp',
    inbound: 'under-test',
    inboundType: 'HTTP',
    inboundPort: inbound.port,
    requested: { host: '127.0.0.1', port: origin.port },
    source: { host: '127.0.0.1' },
  });
  t.equal(ended?.error, null);
  t.equal(ended?.up, origin.received[0]?.length, 'heads count, too');
  t.equal(ended?.down, 'HTTP/1.1 200 Very Fine\r\nX-Odd-CASE: a\r\nSet-Cookie: b=1\r\nset-cookie: c=2\r\nContent-Length: 5\r\n\r\nhello'.length);
  client.close();
});

t.test('fields of one hop stay there, both ways', async (t) => {
  const hop =
    'Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Authenticate: Basic\r\nProxy-Odd: 1\r\nTE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nX-Named: 1\r\n';
  const named = 'Connection: keep-alive, x-named, Host, Content-Length, content-type, Authorization, Cookie, Set-Cookie, Cache-Control, Upgrade\r\n';
  const safe = 'Content-Type: a/b\r\nAuthorization: Basic dTpw\r\nCookie: a=b\r\nSet-Cookie: c=d\r\nCache-Control: no-store\r\n';
  const { inbound, origin, host } = await scene(t, always(ok('x', hop + named + safe)));
  const client = await RawClient.say(inbound.port, get(host, hop + named + safe));
  const response = await client.until('\r\n\r\nx');
  const request = origin.received[0] ?? '';
  t.equal(request, `GET / HTTP/1.1\r\nHost: ${host}\r\n${safe}Via: ${VIA}\r\nConnection: keep-alive\r\n\r\n`);
  t.equal(response, `HTTP/1.1 200 OK\r\nContent-Length: 1\r\n${safe}Via: ${VIA}\r\nConnection: keep-alive\r\n\r\nx`);
  client.close();
});

t.test('request targets', async (t) => {
  const { inbound, origin, host } = await scene(t);
  const port = String(origin.port);
  const good: [target: string, path: string, hostField?: string][] = [
    [`http://${host}`, '/'],
    [`http://${host}/`, '/'],
    [`http://${host}?a=b`, '/?a=b'],
    [`HTTP://${host}/A%20b//c/../d`, '/A%20b//c/../d'],
    [`http://LOCALHOST:${port}/`, '/', `localhost:${port}`],
    [`http://0x7f.1:${port}/`, '/', `127.0.0.1:${port}`],
    [`http://2130706433:${port}/`, '/', `127.0.0.1:${port}`],
  ];
  for (const [target, path, hostField] of good) {
    const before = origin.log().length;
    const client = await RawClient.say(inbound.port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    t.match(await client.all(), /hello$/, target);
    t.ok(
      origin
        .log()
        .slice(before)
        .startsWith(`GET ${path} HTTP/1.1\r\nHost: ${hostField ?? host}\r\n`),
      target,
    );
  }
  const options = await RawClient.say(inbound.port, `OPTIONS http://${host} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  await options.all();
  t.match(origin.log(), /OPTIONS \* HTTP\/1\.1\r\n/, 'RFC 9112 section 3.2.4');
  const accepted = origin.log().length;
  const bad = [
    '/',
    '/path',
    '*',
    `https://${host}/`,
    `ftp://${host}/`,
    `//${host}/`,
    'http:///',
    'http://:80/',
    `http://user:pw@${host}/`,
    `http://user@${host}/`,
    'http://[::1/',
    'http://a.test:0/',
    'http://a.test:65536/',
    'http://a.test:8x/',
    'http://a..test/',
    `http://${host}/a#b`,
    `http://${host}/\xe9`,
  ];
  for (const target of bad) {
    const client = await RawClient.say(inbound.port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    const text = await client.all();
    t.equal(status(text), 400, target);
    t.match(text, /\r\nConnection: close\r\n[\s\S]*\r\n400 Bad Request: [^\n]+\n$/);
  }
  t.equal(origin.log().length, accepted, 'nothing of it reached the origin');
  t.equal(inbound.failed.length, bad.length);
});

t.test('requests that are for the proxy itself', async (t) => {
  const { inbound, origin, host } = await scene(t);
  const ask = async (text: string): Promise<string> => (await RawClient.say(inbound.port, text)).all();
  const close = 'Connection: close\r\n\r\n';
  t.match(await ask(`OPTIONS * HTTP/1.1\r\nHost: x\r\n${close}`), /^HTTP\/1\.1 200 OK\r\nAllow: OPTIONS\r\nContent-Length: 0\r\n/);
  t.match(await ask(`OPTIONS http://${host}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n${close}`), /^HTTP\/1\.1 200 /);
  t.equal(status(await ask(`TRACE http://${host}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n${close}`)), 405);
  t.equal(origin.accepted(), 0);
  await ask(`TRACE http://${host}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 3\r\n${close}`);
  t.match(origin.received[0], /\r\nMax-Forwards: 2\r\n/);
});

t.test('bodies of requests', async (t) => {
  const { inbound, origin, host } = await scene(t, (request) => (/(?:0\r\n(?:[^\r\n]+\r\n)*\r\n|12345|\r\n\r\n)$/.test(request) ? ok('done') : null));
  const client = await RawClient.connect(inbound.port);
  const exchange = async (text: string): Promise<string> => {
    const before = origin.log().length;
    client.send(text);
    await client.until('done');
    client.clear();
    return origin
      .log()
      .slice(before)
      .replace(/^[\s\S]*?\r\n\r\n/, '');
  };
  const post = `POST http://${host}/ HTTP/1.1\r\nHost: x\r\n`;
  t.equal(await exchange(`${post}Content-Length: 5\r\n\r\n12345`), '12345');
  t.equal(
    await exchange(`${post}Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n`),
    '3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n',
    'chunk extensions are of one hop',
  );
  t.equal(
    await exchange(`${post}TRANSFER-ENCODING: Chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nAuthorization: x\r\nIf-Match: x\r\nProxy-X: y\r\n\r\n`),
    '1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n',
    'the trailer goes on, but for what a head must have said',
  );
  t.equal(await exchange(`${post}\r\n`), '', 'no body at all');
  t.match(origin.log(), /POST \/ HTTP\/1\.1\r\n(?:(?!\r\n\r\n)[\s\S])*Content-Length: 0\r\n(?:(?!\r\n\r\n)[\s\S])*\r\n\r\n$/);
  t.equal(origin.accepted(), 1, 'all on one connection');
  client.close();
});

t.test('bodies of responses', async (t) => {
  let answer = '';
  const { inbound, origin, host } = await scene(t, (request, socket) => {
    if (!request.includes('\r\n\r\n')) return null;
    if (/until-close/.test(answer)) setImmediate(() => socket.end());
    return answer;
  });
  const exchange = async (response: string, wanted: RegExp, method = 'GET'): Promise<string> => {
    answer = response;
    const client = await RawClient.say(inbound.port, `${method} http://${host}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    const text = await client.until(wanted);
    client.send(`GET http://${host}/second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    answer = ok('the second');
    t.ok((await client.all()).endsWith('\r\n\r\nthe second'), 'and the connection goes on');
    return text;
  };
  const head = `Via: ${VIA}\r\nConnection: keep-alive\r\n`;
  t.equal(
    await exchange('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n', /0\r\nX-T: 1\r\n\r\n$/),
    `HTTP/1.1 200 OK\r\n${head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`,
  );
  t.equal(
    await exchange('HTTP/1.1 200 OK\r\nX: until-close\r\n\r\nabc', /\r\n0\r\n\r\n$/),
    `HTTP/1.1 200 OK\r\nX: until-close\r\n${head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  );
  t.equal(
    await exchange('HTTP/1.0 200 OK\r\nX: until-close\r\n\r\nabc', /\r\n0\r\n\r\n$/),
    `HTTP/1.1 200 OK\r\nX: until-close\r\nVia: 1.0 nekit-test-instance\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  );
  t.equal(await exchange('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n', /\r\n\r\n$/, 'HEAD'), `HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n${head}\r\n`);
  t.equal(await exchange('HTTP/1.1 204 No Content\r\n\r\n', /\r\n\r\n$/), `HTTP/1.1 204 No Content\r\n${head}\r\n`);
  t.equal(
    await exchange('HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: "a"\r\n\r\n', /\r\n\r\n$/),
    `HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: "a"\r\n${head}\r\n`,
  );
  t.equal(await exchange('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', /\r\n\r\n$/), `HTTP/1.1 200 OK\r\nContent-Length: 0\r\n${head}\r\n`);
  t.equal(
    await exchange('HTTP/1.1 299 \r\nContent-Length: 1\r\n\r\nx', /x$/),
    `HTTP/1.1 299 \r\nContent-Length: 1\r\n${head}\r\nx`,
    'an empty reason stays empty',
  );
  t.equal(
    await exchange(
      'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx',
      /x$/,
    ),
    `HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nVia: ${VIA}\r\n\r\nHTTP/1.1 102 Processing\r\nVia: ${VIA}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n${head}\r\nx`,
  );
  t.ok(origin.accepted() > 1);
});

t.test('HTTP/1.0 clients', async (t) => {
  const { inbound, origin, host } = await scene(
    t,
    always('HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'),
  );
  const client = await RawClient.say(inbound.port, `GET http://${host}/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n`);
  t.equal(await client.all(), `HTTP/1.1 200 OK\r\nVia: ${VIA}\r\nConnection: close\r\n\r\nabc`, 'no interim response, no chunks, the end is the end');
  t.match(origin.received[0], /^GET \/ HTTP\/1\.1\r\n/);
  t.match(origin.received[0], /\r\nVia: 1\.0 nekit-test-instance\r\n/);
  t.notMatch(origin.received[0], /Expect/);
});

t.test('Expect: 100-continue', async (t) => {
  const head = (host: string): string => `PUT http://${host}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`;
  await t.test('the origin says go on', async (t) => {
    const { inbound, origin, host } = await scene(t, (request) =>
      request === '12345' ? ok('done') : request.endsWith('\r\n\r\n') ? 'HTTP/1.1 100 Continue\r\n\r\n' : null,
    );
    const client = await RawClient.say(inbound.port, head(host));
    t.equal(await client.until('\r\n\r\n'), 'HTTP/1.1 100 Continue\r\n\r\n');
    t.match(origin.received[0], /\r\nExpect: 100-continue\r\n/);
    client.send('12345');
    t.match(await client.until('done'), /\r\nConnection: keep-alive\r\n/);
    client.close();
  });
  await t.test('the origin says no: the answer arrives, and the connection ends because a body may follow or not', async (t) => {
    const { inbound, host } = await scene(t, always('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n'));
    const client = await RawClient.say(inbound.port, head(host));
    t.match(await client.all(), /^HTTP\/1\.1 413 Too Large\r\n[\s\S]*Connection: close\r\n/);
  });
  await t.test('the client does not wait', async (t) => {
    const { inbound, host } = await scene(t, (request) => (request.endsWith('12345') ? ok('done') : null));
    const client = await RawClient.say(inbound.port, `${head(host)}12345`);
    t.match(await client.until('done'), /^HTTP\/1\.1 200 /);
    client.close();
  });
  await t.test('another expectation', async (t) => {
    const { inbound, origin, host } = await scene(t);
    const client = await RawClient.say(inbound.port, get(host, 'Expect: a-miracle\r\n'));
    t.equal(status(await client.until('\n\r\n')), 417);
    t.equal(origin.accepted(), 0);
    client.close();
  });
});

t.test('Upgrade', async (t) => {
  const wish = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n';
  const switching = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n';
  await t.test('both ends go on, half-close included', async (t) => {
    const { inbound, origin, host } = await scene(t, (request) =>
      request.startsWith('GET') ? (request.includes('\r\n\r\n') ? `${switching}welcome ` : null) : `<${request}>`,
    );
    const client = await RawClient.say(inbound.port, `${get(host, wish)}early `);
    await client.until('welcome');
    const text = await client.until('<early >');
    t.ok(
      text.startsWith(`HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\nVia: ${VIA}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nwelcome`),
      text,
    );
    t.match(origin.received[0], /\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly $/);
    client.send('late');
    await client.until('<late>');
    client.end();
    await client.all();
    t.ok(client.ended && !client.wasReset);
    await eventually(() => inbound.ended.length === 1 && origin.connections() === 0);
    t.equal(inbound.ended[0]?.error, null);
    t.equal(inbound.ended[0]?.up, origin.received[0]?.length);
  });
  await t.test('a reset goes through', async (t) => {
    const { inbound, origin, host } = await scene(t, (request) => (request.startsWith('GET') ? switching : null));
    const client = await RawClient.say(inbound.port, get(host, wish));
    await client.until('\r\n\r\n');
    origin.sockets[0]?.resetAndDestroy();
    await client.all();
    t.ok(client.wasReset);
  });
  await t.test('the origin would rather not', async (t) => {
    const { inbound, host } = await scene(t);
    const client = await RawClient.say(inbound.port, get(host, wish));
    t.equal(status(await client.until('hello')), 200);
    client.clear();
    client.send(get(host));
    await client.until('hello');
    client.close();
  });
  await t.test('a switch that nobody asked for', async (t) => {
    const { inbound, host } = await scene(t, always(switching));
    const client = await RawClient.say(inbound.port, get(host));
    t.equal(status(await client.until(/502 [\s\S]*\n$/)), 502);
    client.close();
  });
  await t.test('h2c is not passed on', async (t) => {
    const { inbound, origin, host } = await scene(t);
    const client = await RawClient.say(inbound.port, get(host, 'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n'));
    await client.until('hello');
    t.notMatch(origin.received[0], /h2c|HTTP2/i);
    client.close();
  });
});

t.test('CONNECT', async (t) => {
  const { inbound, origin, host } = await scene(t);
  const echo = await startEcho();
  t.teardown(() => echo.close());
  const v6 = await startEcho('::1').catch(() => null); // a machine without IPv6 has no ::1
  if (v6 !== null) t.teardown(() => v6.close());
  const authorities = [`127.0.0.1:${echo.port}`, `localhost:${echo.port}`, `LOCALHOST.:${echo.port}`, ...(v6 === null ? [] : [`[::1]:${v6.port}`])];
  for (const authority of authorities) {
    const client = await RawClient.say(inbound.port, `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\npayload at once, `);
    t.equal(await client.until('at once, '), 'HTTP/1.1 200 Connection established\r\n\r\npayload at once, ', authority);
    client.send('and later');
    client.end();
    t.ok((await client.all()).endsWith('and later'));
    t.notOk(client.wasReset);
  }
  t.match(inbound.ended[0]?.session, { inboundType: 'HTTPS', requested: { host: '127.0.0.1', port: echo.port } });
  t.match(inbound.ended[1]?.session, { requested: { host: 'localhost' } });
  t.test('later on a connection that was used before', async (t) => {
    const client = await RawClient.say(inbound.port, get(host));
    await client.until('hello');
    client.clear();
    client.send(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n`);
    t.equal(
      await client.until('GET / HTTP/1.1\r\n\r\n'),
      'HTTP/1.1 200 Connection established\r\n\r\nGET / HTTP/1.1\r\n\r\n',
      'what follows is the tunnel’s, whatever it looks like',
    );
    client.close();
  });
  t.test('bad ones', async (t) => {
    const before = echo.accepted() + origin.accepted();
    const dials = inbound.dials();
    for (const authority of [
      '127.0.0.1',
      '127.0.0.1:',
      '127.0.0.1:0',
      '127.0.0.1:65536',
      '127.0.0.1:8x',
      `127.0.0.1:-1`,
      '::1:443',
      '[::1]',
      '[::1',
      ':443',
      'a b:443',
      'user@host:443',
      `http://127.0.0.1:${echo.port}/`,
      '/',
      '*',
    ]) {
      const client = await RawClient.say(inbound.port, `CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\nGET http://${host}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
      t.equal(status(await client.all()), 400, authority);
    }
    for (const field of ['Content-Length: 0', 'Content-Length: 5', 'Transfer-Encoding: chunked', 'Host: a\r\nHost: b']) {
      const client = await RawClient.say(inbound.port, `CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n${field}\r\n\r\n`);
      t.equal(status(await client.all()), 400, field);
    }
    t.equal(echo.accepted() + origin.accepted(), before);
    t.equal(inbound.dials(), dials);
  });
  t.test('refused ones end the connection: what follows was meant for the tunnel', async (t) => {
    const port = await closedPort();
    const accepted = origin.accepted();
    const client = await RawClient.say(inbound.port, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n${get(host)}`);
    const text = await client.all();
    t.equal(status(text), 502);
    t.match(text, /\r\nConnection: close\r\n[\s\S]*502 Bad Gateway: [^\n]*ECONNREFUSED[^\n]*\n$/);
    t.equal(origin.accepted(), accepted);
    t.notOk(client.wasReset, 'the word arrives');
  });
  t.test('a reset of the target is a reset for the client', async (t) => {
    const target = await startTarget((socket) => socket.once('data', () => socket.resetAndDestroy()));
    t.teardown(() => target.close());
    const client = await RawClient.say(inbound.port, `CONNECT 127.0.0.1:${target.port} HTTP/1.1\r\n\r\nx`);
    await client.all();
    t.ok(client.wasReset);
  });
});

t.test('authentication', async (t) => {
  const users = { ann: 'pa:ss', bob: 'ünïcode' };
  const { inbound, origin, host } = await scene(t, always(ok('hello')), { users });
  const basic = (text: string): string => `Proxy-Authorization: Basic ${Buffer.from(text).toString('base64')}\r\n`;
  const client = await RawClient.say(inbound.port, get(host));
  const refused = await client.until('password\n');
  t.match(refused, /^HTTP\/1\.1 407 Proxy Authentication Required\r\n[\s\S]*Proxy-Authenticate: Basic realm="nekit-kernel"/);
  client.clear();
  client.send(get(host, basic('ann:pa:ss')));
  await client.until('hello');
  client.clear();
  client.send(get(host));
  t.equal(status(await client.until('password\n')), 407, 'every request says who it is of');
  client.clear();
  client.send(get(host, basic('bob:ünïcode')));
  await client.until('hello');
  t.notMatch(origin.log(), /Proxy-/i);
  t.same(
    inbound.ended.map(({ session }) => session.user),
    ['ann', 'bob'],
  );
  client.close();
  const accepted = origin.accepted();
  const wrong = [
    'Proxy-Authorization: Basic !!!\r\n',
    basic('ann'),
    basic('ann:pa:ss\0'),
    basic('ann:pa'),
    basic('eve:x'),
    basic(':'),
    basic('__proto__:x'),
    'Proxy-Authorization: Bearer abc\r\n',
    basic('ann:pa:ss') + basic('bob:ünïcode'),
    'Authorization: Basic YW5uOnBhOnNz\r\n',
  ];
  for (const field of wrong) {
    const plain = await RawClient.say(inbound.port, get(host, `${field}Connection: close\r\n`));
    t.equal(status(await plain.all()), 407, field);
    const connect = await RawClient.say(inbound.port, `CONNECT ${host} HTTP/1.1\r\n${field}\r\n${get(host, basic('ann:pa:ss'))}`);
    const text = await connect.all();
    t.equal(status(text), 407, field);
    t.notMatch(text, /hello/, 'nothing behind a refused CONNECT is executed');
  }
  t.equal(origin.accepted(), accepted);
  const upload = await RawClient.say(inbound.port, `POST http://${host}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n${get(host, basic('ann:pa:ss'))}`);
  const text = await upload.all();
  t.equal(status(text), 407);
  t.notMatch(text, /hello/, 'a body is not taken for a request');
  const through = await RawClient.say(inbound.port, `CONNECT ${host} HTTP/1.1\r\n${basic('ann:pa:ss')}\r\nGET / HTTP/1.1\r\n\r\n`);
  await through.until('hello');
  through.close();
  t.ok(inbound.failed.includes('HTTP_AUTH_REQUIRED') && inbound.failed.includes('HTTP_AUTH_FAILED'));
});

t.test('responses that two readers could read differently are refused', async (t) => {
  for (const [name, answer] of [
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
    ['length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a disguised coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a 204 with a body', 'HTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\nhello'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
    ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
    ['a space in a name', 'HTTP/1.1 200 OK\r\nX y: a\r\nContent-Length: 0\r\n\r\n'],
    ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['RTSP', 'RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['a head of 65 KiB', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(66_000)}\r\n\r\n`],
    ['interim responses for ever', 'HTTP/1.1 102 P\r\n\r\n'.repeat(80)],
  ] as const) {
    const { inbound, origin, host } = await scene(t, always(answer));
    const client = await RawClient.say(inbound.port, get(host));
    const text = await client.until(/502 Bad Gateway: [^\n]+\n$/);
    t.match(text, /502 Bad Gateway/, name);
    await eventually(() => origin.connections() === 0);
    t.equal(inbound.ended[0]?.error?.failure, 'protocol', name);
    client.close();
  }
});
