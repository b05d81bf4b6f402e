// The whole plugin in a kernel, and the rule and the inbound by themselves.
import net from 'node:net';
import { text } from 'node:stream/consumers';
import {
  CancelSource,
  createKernel,
  type Endpoint,
  EVENTS,
  type EventSource,
  type Kernel,
  NetError,
  OWN_ENDPOINTS,
  type Rule,
  type Session,
  type StreamRequest,
} from '@nekit/core';
import { eventually, FakeFacts, ruleContext, startEcho, testContext, testInboundContext, testSession, within } from '@nekit/core/testing';
import t from 'tap';
import { ForwardInbound, forwardConfig } from '../dist/forward-inbound.js';
import { hoursRule } from '../dist/hours-rule.js';
import plugin from '../dist/plugin.js';
import { startH2cProxy } from './h2c-proxy.js';

/** Says `message`, then FIN; settles with all that comes back. */
async function ask(port: number, message: string): Promise<string> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(message);
  return within(text(socket));
}

function firstListener(kernel: EventSource): Promise<Endpoint> {
  return within(new Promise((resolve) => void kernel.on('listener.started', ({ endpoint }) => resolve(endpoint))));
}

t.test('in a kernel: forward -> HOURS -> h2c -> echo', async (t) => {
  const [proxy, echo] = [await startH2cProxy(), await startEcho()];
  t.teardown(() => Promise.all([proxy.close(), echo.close()]));
  const config = (rule: string): Parameters<typeof createKernel>[0] => ({
    listeners: [{ name: 'door', type: 'forward', port: 0, target: `127.0.0.1:${echo.port}` }],
    proxies: [{ name: 'tunnel', type: 'h2c', server: '127.0.0.1', port: proxy.port }],
    rules: [rule, 'MATCH,REJECT'],
  });
  const kernel = createKernel(config('HOURS,00:00-24:00,tunnel'), { plugins: [plugin], strict: true });
  t.strictSame(kernel.warnings, []);
  const adapters: (string | null)[] = [];
  const inbounds: string[] = [];
  kernel.on('session.closed', ({ adapter, inboundType }) => {
    adapters.push(adapter);
    inbounds.push(inboundType);
  });
  const listening = firstListener(kernel);
  await kernel.start();
  t.teardown(() => kernel.stop());
  const { port } = await listening;
  t.equal(await ask(port, 'through the tunnel'), 'through the tunnel');
  await eventually(() => adapters.length === 1);
  t.strictSame([adapters, inbounds], [['tunnel'], ['FORWARD']]);
  t.match(await kernel.explain({ destination: { host: '127.0.0.1', port: echo.port }, network: 'tcp' }), {
    adapter: 'tunnel',
    rule: 'HOURS,00:00-24:00,tunnel',
  });
  await kernel.reload(config('HOURS,00:00-24:00,DIRECT'));
  t.equal(await ask(port, 'after a reload'), 'after a reload');
  await eventually(() => adapters.length === 2);
  t.equal(adapters[1], 'DIRECT');
  await kernel.stop();
  t.equal(await refused(port), 'ECONNREFUSED');
});

t.test('two kernels with one plugin object share nothing', async (t) => {
  const echo = await startEcho();
  t.teardown(() => echo.close());
  const make = async (): Promise<{ kernel: Kernel; port: number }> => {
    const kernel = createKernel({ listeners: [{ name: 'door', type: 'forward', port: 0, target: `127.0.0.1:${echo.port}` }] }, { plugins: [plugin] });
    const listening = firstListener(kernel);
    await kernel.start();
    t.teardown(() => kernel.stop());
    return { kernel, port: (await listening).port };
  };
  const [a, b] = [await make(), await make()];
  await a.kernel.stop();
  t.equal(await ask(b.port, 'still there'), 'still there');
  t.equal(await refused(a.port), 'ECONNREFUSED');
});

t.test('a config that is wrong', async (t) => {
  const bad: [object, RegExp][] = [
    [{ rules: ['HOURS,9-17,DIRECT'] }, /"9-17" should be a span of time/],
    [{ proxies: [{ name: 'x', type: 'h2c', server: 'proxy.example', port: 70000 }] }, /port/],
    [{ listeners: [{ name: 'x', type: 'forward', port: 1, target: 'nowhere' }] }, /must be host:port/],
  ];
  for (const [config, message] of bad) t.throws(() => createKernel(config, { plugins: [plugin] }), { code: 'CONFIG', message }, JSON.stringify(config));
});

t.test('HOURS', async (t) => {
  const at = (payload: string, hours: number, minutes = 0): ReturnType<Rule['match']> => {
    const definition = hoursRule(() => new Date(2026, 0, 1, hours, minutes));
    return definition.create(payload, ruleContext()).match(testSession(), new FakeFacts());
  };
  t.strictSame([at('09:00-17:30', 8, 59), at('09:00-17:30', 9), at('09:00-17:30', 17, 29), at('09:00-17:30', 17, 30)], [false, true, true, false]);
  t.strictSame([at('22:00-06:00', 21, 59), at('22:00-06:00', 22), at('22:00-06:00', 0), at('22:00-06:00', 6)], [false, true, true, false], 'over midnight');
  t.strictSame([at('00:00-24:00', 0), at('00:00-24:00', 23, 59)], [true, true]);
  for (const payload of ['', '9:00-17:00', '09:00', '09:00-24:01', '09:60-10:00', '25:00-26:00', '10:00-10:00', '24:00-08:00']) {
    t.throws(() => at(payload, 0), Error, payload);
  }
});

t.test('forward by itself', async (t) => {
  const { context, own } = testContext();
  const requests: StreamRequest[] = [];
  const inboundContext = testInboundContext({
    name: 'door',
    type: 'forward',
    handleStream: async (request) => void requests.push(request),
    get: (token) => context.get(token),
  });
  const signal = new CancelSource();
  const start = async (entry: object): Promise<{ inbound: ForwardInbound; port: number }> => {
    const inbound = new ForwardInbound(forwardConfig.parse({ port: 0, target: 'Example.COM:80', ...entry }), inboundContext);
    let port = 0;
    const forget = context.get(EVENTS).on('listener.started', ({ endpoint }) => {
      port = endpoint.port;
    });
    await inbound.start(signal);
    forget();
    t.teardown(() => inbound.stop());
    return { inbound, port };
  };
  const request = async (count: number): Promise<StreamRequest> => {
    await eventually(() => requests.length === count);
    const last = requests.at(-1);
    if (last === undefined) throw new Error('there is no request');
    return last;
  };
  const { inbound, port } = await start({ 'max-connections': 2 });

  t.test('makes a session of a connection', async (t) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    const { session, reject } = await request(1);
    const expected: Partial<Session> = {
      id: 1,
      network: 'tcp',
      inbound: 'door',
      inboundType: 'FORWARD',
      inboundPort: port,
      destination: { host: 'example.com', port: 80 },
    };
    t.match(session, expected);
    t.match(session.source, { host: '127.0.0.1', port: socket.localPort });
    t.ok(own.includes('tcp', '127.0.0.1', port), 'nothing may dial it');
    const reset = within(new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve)));
    reject(new NetError('refused', 'no'));
    t.equal((await reset).code, 'ECONNRESET');
  });
  t.test('a client that resets fires the signal', async (t) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    const { session } = await request(2);
    socket.resetAndDestroy();
    await eventually(() => session.signal.reason !== null);
    t.match(session.signal.reason, { code: 'ECONNRESET' });
  });
  t.test('the kernel that stops fires it, too', async (t) => {
    const socket = net.connect({ port, host: '127.0.0.1' }).on('error', () => socket.destroy());
    const { session, reject } = await request(3);
    const reason = new NetError('aborted', 'the kernel stops');
    signal.cancel(reason);
    t.equal(session.signal.reason, reason);
    reject(reason);
  });
  t.test('connections over the limit are closed', async (t) => {
    const two = [net.connect({ port, host: '127.0.0.1' }), net.connect({ port, host: '127.0.0.1' })];
    await request(5);
    const third = net.connect({ port, host: '127.0.0.1' });
    t.equal(await within(text(third).catch(() => '')), '');
    t.equal(requests.length, 5);
    for (const socket of two) socket.destroy();
  });
  t.test('a port in use', async (t) => {
    const other = new ForwardInbound(forwardConfig.parse({ port, target: 'x:1' }), inboundContext);
    t.match(await other.start(signal).catch((error: unknown) => error), {
      code: 'LISTEN_FAILED',
      message: /listener door cannot listen on 127\.0\.0\.1 port \d+: .*EADDRINUSE/,
    });
    await other.stop();
  });
  t.test('stop', async (t) => {
    await inbound.stop();
    await inbound.stop();
    t.equal(await refused(port), 'ECONNREFUSED');
    t.notOk(context.get(OWN_ENDPOINTS).includes('tcp', '127.0.0.1', port));
  });
});

/** The code with which connecting to a port fails. */
function refused(port: number): Promise<string | undefined> {
  return within(new Promise((resolve) => net.connect({ port, host: '127.0.0.1' }).once('error', (error: NodeJS.ErrnoException) => resolve(error.code))));
}
