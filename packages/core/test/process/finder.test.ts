// Which process owns a client's socket: on a made-up /proc whose look-ups are counted, then on the real one with processes of our own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { basename } from 'node:path';
import t from 'tap';
import type { Session } from '../../dist/net/session.js';
import { DEFAULT_TIMEOUTS } from '../../dist/net/timeouts.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { LinuxProcessFinder } from '../../dist/process/linux-finder.js';
import { type Proc, systemProc } from '../../dist/process/proc.js';
import { describeProcess, noProcesses, type ProcessInfo } from '../../dist/process/process-finder.js';
import { systemProcessFinder } from '../../dist/process/system-finder.js';
import { type Lookup, SessionFacts } from '../../dist/routing/facts.js';
import { eventually, FakeClock, settle, testSession, within } from '../../dist/testing.js';

const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

interface FakeProcess {
  readonly uid: number;
  readonly exe?: string;
  readonly comm?: string;
  /** null: another user's. */
  readonly links: readonly string[] | null;
}

/** A /proc in memory that counts what it is asked. */
class FakeProc implements Proc {
  readonly tables = new Map<string, string>();
  readonly processes = new Map<string, FakeProcess>();
  readonly asked: string[] = [];
  /** Bytes that a read gives at most. */
  piece = 4_096;
  /** Held back until it is released. */
  gate: Promise<void> | null = null;

  async open(path: string): ReturnType<Proc['open']> {
    this.asked.push(path);
    await this.gate;
    const text = this.tables.get(path);
    if (text === undefined) throw gone(path);
    const bytes = Buffer.from(text, 'latin1');
    let at = 0;
    return {
      read: async (buffer, offset) => {
        const count = bytes.copy(buffer, offset, at, Math.min(bytes.length, at + this.piece));
        at += count;
        return count;
      },
      close: async () => undefined,
    };
  }

  async list(path: string): Promise<readonly string[]> {
    this.asked.push(path);
    await this.gate;
    if (path === '/proc') return ['self', 'net', ...this.processes.keys()];
    const { links } = this.#process(path);
    if (links === null) throw Object.assign(new Error(path), { code: 'EACCES' });
    return links.map((_link, fd) => String(fd));
  }

  async link(path: string): Promise<string> {
    this.asked.push(path);
    const { links, exe } = this.#process(path);
    const found = path.endsWith('/exe') ? exe : links?.[Number(basename(path))];
    if (found === undefined) throw gone(path);
    return found;
  }

  async owner(path: string): Promise<number> {
    this.asked.push(path);
    return this.#process(path).uid;
  }

  async text(path: string): Promise<string> {
    this.asked.push(path);
    const { comm } = this.#process(path);
    if (comm === undefined) throw gone(path);
    return `${comm}\n`;
  }

  count(pattern: RegExp): number {
    return this.asked.filter((path) => pattern.test(path)).length;
  }

  #process(path: string): FakeProcess {
    const found = this.processes.get(path.split('/')[2] ?? '');
    if (found === undefined) throw gone(path);
    return found;
  }
}

function gone(path: string): Error {
  return Object.assign(new Error(path), { code: 'ENOENT' });
}

/** 32-bit words of an address, as this machine holds them. */
function hex(...words: readonly string[]): string {
  return words
    .map((word) => (little ? Buffer.from(word, 'hex').reverse().toString('hex') : word))
    .join('')
    .toUpperCase();
}

const LOOPBACK = hex('7f000001');
const ANY = '00000000';
const MAPPED = hex('00000000', '00000000', '0000ffff', '7f000001');
const LOOPBACK6 = hex('00000000', '00000000', '00000000', '00000001');
const ANY6 = hex('00000000', '00000000', '00000000', '00000000');

const port = (value: number): string => value.toString(16).toUpperCase().padStart(4, '0');

function row(local: string, localPort: number, remote: string, remotePort: number, inode: number, { state = '01', uid = 1000 } = {}): string {
  const line = `   0: ${local}:${port(localPort)} ${remote}:${port(remotePort)} ${state} 00000000:00000000 02:000A7214 00000000 ${String(uid).padStart(5)}        0 ${inode} 1 0`;
  return `${line.padEnd(149)}\n`;
}

const HEADING = `${'  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'.padEnd(149)}\n`;

const curl: FakeProcess = { uid: 1000, exe: '/usr/bin/curl', comm: 'curl', links: ['/dev/null', 'pipe:[1]', 'socket:[11]', 'socket:[12]'] };
const CURL: ProcessInfo = { name: 'curl', path: '/usr/bin/curl', uid: 1000 };

function setUp(): { proc: FakeProc; clock: FakeClock; timers: TimerWheel; finder: LinuxProcessFinder } {
  const proc = new FakeProc();
  const clock = new FakeClock();
  const timers = new TimerWheel(clock);
  proc.tables.set('/proc/net/tcp', HEADING);
  proc.tables.set('/proc/net/tcp6', HEADING);
  proc.tables.set('/proc/net/udp', HEADING);
  proc.tables.set('/proc/net/udp6', HEADING);
  proc.processes.set('100', curl);
  return { proc, clock, timers, finder: new LinuxProcessFinder(timers, proc) };
}

const from = (sourcePort: number, more: Partial<Session> = {}): Session =>
  testSession({ source: { host: '127.0.0.1', port: sourcePort }, inboundPort: 7890, ...more });

void t.test('a TCP socket: the other end has to be our listener, or what was asked for', async () => {
  const { proc, finder } = setUp();
  proc.processes.set('200', { uid: 1000, exe: '/opt/other', links: ['socket:[21]', 'socket:[22]', 'socket:[23]'] });
  proc.processes.set('300', { uid: 1000, exe: '/opt/listener', links: ['socket:[20]'] });
  proc.tables.set(
    '/proc/net/tcp',
    HEADING +
      row(LOOPBACK, 5000, ANY, 0, 20, { state: '0A' }) + // somebody listens on the same port
      row(LOOPBACK, 7890, LOOPBACK, 5000, 21) + // our end of the connection
      row(LOOPBACK, 5000, LOOPBACK, 443, 22) + // the same port, to somewhere else
      row(LOOPBACK, 5000, LOOPBACK, 7890, 0, { state: '06' }) + // an old one
      row(LOOPBACK, 5000, LOOPBACK, 7890, 11) +
      row(LOOPBACK, 5000, LOOPBACK, 7890, 23), // nothing comes behind the right one
  );
  assert.deepEqual(await finder.find(from(5000)), CURL);
  assert.equal((await finder.find(from(5000, { inboundPort: 7891 })))?.path, undefined, 'a connection to another listener');
  const redirected = { inboundPort: 7892, requested: { host: '127.0.0.1', port: 443 } };
  assert.equal((await finder.find(from(5000, redirected)))?.name, 'other', 'the client believes that it talks to its target');
  assert.equal((await finder.find(from(5000, { inboundPort: 0, requested: { host: '127.0.0.1', port: 7890 } })))?.name, 'curl');
  assert.equal((await finder.find(from(5000, { inboundPort: 0, requested: { host: '127.0.0.1', port: 443 } })))?.name, 'other', 'no listener: by the target');
  assert.equal((await finder.find(from(5000, { inboundPort: 0 })))?.name, 'other', 'nothing to compare with: the first');
  finder.close();
});

void t.test('IPv6 and IPv4 in the IPv6 table', async () => {
  const { proc, finder } = setUp();
  proc.tables.set('/proc/net/tcp6', HEADING + row(MAPPED, 5001, MAPPED, 7890, 11) + row(LOOPBACK6, 5002, LOOPBACK6, 7890, 12));
  assert.deepEqual(await finder.find(from(5001)), CURL);
  assert.deepEqual(await finder.find(from(5002, { source: { host: '::1', port: 5002 } })), CURL);
  assert.equal(await finder.find(from(5001, { source: { host: '::1', port: 5001 } })), null);
  assert.equal(proc.count(/net\/tcp$/), 1, 'an IPv6 client is not in the IPv4 table');
  proc.tables.delete('/proc/net/tcp6');
  proc.tables.delete('/proc/net/tcp');
  assert.equal(await finder.find(from(5003)), null, 'no tables');
  finder.close();
});

void t.test('UDP sockets may be bound to no address', async () => {
  const { proc, clock, finder } = setUp();
  const udp = (sourcePort: number): Session => from(sourcePort, { network: 'udp' });
  proc.processes.set('200', { uid: 1000, exe: '/opt/other', links: ['socket:[20]'] });
  proc.tables.set('/proc/net/udp', HEADING + row(ANY, 5000, ANY, 0, 20, { state: '07' }) + row(LOOPBACK, 5000, ANY, 0, 11, { state: '07' }));
  assert.deepEqual(await finder.find(udp(5000)), CURL, 'the one that is bound to this very address');
  proc.tables.set('/proc/net/udp', HEADING + row(ANY, 5001, ANY, 0, 11, { state: '07' }));
  proc.tables.set('/proc/net/udp6', HEADING + row(ANY6, 5001, ANY6, 0, 20, { state: '07' }) + row(ANY6, 5002, ANY6, 0, 11, { state: '07' }));
  assert.deepEqual(await finder.find(udp(5001)), CURL, 'its own family first');
  assert.deepEqual(await finder.find(udp(5002)), CURL, 'but an IPv6 socket carries both');
  await clock.advance(5_000);
  assert.equal((await finder.find(from(5001, { network: 'udp', source: { host: '::1', port: 5001 } })))?.name, 'other');
  finder.close();
});

void t.test('nobody is asked about clients that are elsewhere', async () => {
  const { proc, finder } = setUp();
  for (const host of ['192.0.2.77', '2001:db8::77', 'client.example', '0.0.0.0', '::']) {
    assert.equal(await finder.find(from(5000, { source: { host, port: 5000 } })), null, host);
  }
  assert.equal(await finder.find(from(0)), null, 'no port: an imagined session');
  assert.deepEqual(proc.asked, []);
  assert.equal(await noProcesses.find(from(5000)), null);
  const own = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find(({ internal }) => !internal);
  if (own !== undefined) {
    await finder.find(from(5000, { source: { host: own.address, port: 5000 } }));
    assert.notDeepEqual(proc.asked, [], 'an address of ours');
  }
  finder.close();
});

void t.test('what is hidden or gone', async () => {
  const { proc, finder, clock } = setUp();
  proc.tables.set('/proc/net/tcp', HEADING + row(LOOPBACK, 5000, LOOPBACK, 7890, 11) + row(LOOPBACK, 5001, LOOPBACK, 7890, 12));
  proc.processes.set('100', { ...curl, links: null });
  assert.deepEqual(await finder.find(from(5000)), { name: '', path: '', uid: 1000 }, "another user's process");
  proc.processes.set('100', { ...curl, exe: '/usr/bin/curl (deleted)' });
  assert.deepEqual(await finder.find(from(5001)), CURL, 'replaced by an update while it ran');
  await clock.advance(5_000);
  proc.processes.set('100', { uid: 1000, comm: 'kworker/0', links: curl.links });
  assert.deepEqual(await finder.find(from(5001)), { name: 'kworker/0', path: '', uid: 1000 }, 'a process without a file');
  await clock.advance(5_000);
  proc.processes.set('100', { uid: 1000, links: curl.links });
  assert.deepEqual(await finder.find(from(5001)), { name: '', path: '', uid: 1000 }, 'gone in the meantime');
  await clock.advance(5_000);
  proc.processes.clear();
  assert.deepEqual(await finder.find(from(5001)), { name: '', path: '', uid: 1000 });
  finder.close();
});

void t.test('a large table, in pieces of any size', async () => {
  for (const piece of [100, 149, 150, 151, 4_096, 1_000_000]) {
    const { proc, finder } = setUp();
    proc.piece = piece;
    const rows = Array.from({ length: 1_500 }, (_, i) => row(LOOPBACK, 10_000 + i, LOOPBACK, 443, 1_000_000 + i));
    rows.splice(1_400, 0, row(LOOPBACK, 5000, LOOPBACK, 7890, 11));
    proc.tables.set('/proc/net/tcp', HEADING + rows.join(''));
    assert.deepEqual(await finder.find(from(5000)), CURL, `${piece} bytes`);
    finder.close();
  }
});

void t.test('no table makes it fail', async () => {
  const { proc, finder } = setUp();
  const bad = ['', '\n\n\n', 'x'.repeat(300_000), `${'   0: '.repeat(50)}\n`, '   0: 0100007F:13', '   0: 0100007F:1388\n', '   0: :1388 :1ED2 zz\n'];
  for (const [i, text] of bad.entries()) {
    proc.tables.set('/proc/net/tcp', text);
    assert.equal(await finder.find(from(5000, { inboundPort: 7000 + i })), null, JSON.stringify(text.slice(0, 40)));
  }
  proc.tables.set('/proc/net/tcp', row(LOOPBACK, 5000, LOOPBACK, 7890, 11).replace(' 1000 ', ' what '));
  assert.deepEqual(await finder.find(from(5000)), { ...CURL, uid: null });
  finder.close();
});

void t.test('one search serves all who wait; answers are kept for a while', async () => {
  const { proc, clock, finder } = setUp();
  let open: () => void = () => undefined;
  proc.gate = new Promise((resolve) => {
    open = resolve;
  });
  proc.tables.set(
    '/proc/net/tcp',
    HEADING + row(LOOPBACK, 5000, LOOPBACK, 7890, 11) + row(LOOPBACK, 5001, LOOPBACK, 7890, 12) + row(LOOPBACK, 5002, LOOPBACK, 7890, 12),
  );
  const first = [finder.find(from(5000)), finder.find(from(5000))];
  await settle();
  const later = [5001, 5002, 5001, 5003].map((sourcePort) => finder.find(from(sourcePort)));
  await settle();
  assert.deepEqual(proc.asked, ['/proc/net/tcp'], 'the others wait for their turn');
  open();
  assert.deepEqual(await Promise.all(first), [CURL, CURL]);
  assert.deepEqual(await Promise.all(later), [CURL, CURL, CURL, null]);
  assert.equal(proc.count(/net\/tcp$/), 2, 'two searches');
  assert.equal(proc.count(/^\/proc$/), 1, 'a process that was found before is looked at first');

  const searched = proc.count(/fd$/);
  assert.deepEqual(await finder.find(from(5001)), CURL);
  assert.equal(await finder.find(from(5003)), null);
  assert.equal(proc.count(/fd$/), searched, 'kept');
  await clock.advance(3_100);
  assert.deepEqual(await finder.find(from(5001)), CURL);
  assert.ok(proc.count(/fd$/) > searched, 'forgotten');
  assert.equal(clock.pending, 0, 'no timer stays');
  finder.close();
});

void t.test('a port is the next process’s at once, also while the one before is looked for', async () => {
  const { proc, finder } = setUp();
  proc.processes.set('200', { uid: 33, exe: '/opt/other', links: ['socket:[20]'] });
  const other: ProcessInfo = { name: 'other', path: '/opt/other', uid: 33 };
  const owned = (inode: number, uid?: number): unknown => proc.tables.set('/proc/net/tcp', HEADING + row(LOOPBACK, 5000, LOOPBACK, 7890, inode, { uid }));
  owned(11);
  assert.deepEqual(await finder.find(from(5000)), CURL);
  owned(20, 33);
  assert.deepEqual(await finder.find(from(5000)), other);
  owned(12);
  let open: () => void = () => undefined;
  const hold = (): void => {
    proc.gate = new Promise((resolve) => {
      open = resolve;
    });
  };
  await settle();
  hold();
  const first = finder.find(from(5000));
  const readTable = open;
  hold();
  readTable();
  await settle();
  owned(20, 33);
  const second = finder.find(from(5000));
  await settle();
  open();
  assert.deepEqual(await Promise.all([first, second]), [CURL, other]);
  finder.close();
});

void t.test('a search has limits', async () => {
  const { proc, clock, timers, finder } = setUp();
  proc.tables.set('/proc/net/tcp', HEADING + row(LOOPBACK, 5000, LOOPBACK, 7890, 11) + row(LOOPBACK, 5001, LOOPBACK, 7890, 12));
  proc.processes.clear();
  // Started later, with more descriptors than are looked at, and of the same user: they come first.
  for (let pid = 1_000; pid < 1_140; pid++) proc.processes.set(String(pid), { uid: 1000, links: Array.from({ length: 500 }, () => 'pipe:[7]') });
  proc.processes.set('100', curl);
  assert.deepEqual(await finder.find(from(5000)), { name: '', path: '', uid: 1000 });
  assert.ok(proc.count(/fd\/[0-9]+$/) < 67_000);

  proc.gate = new Promise(() => undefined); // it hangs for ever
  await clock.advance(5_000);
  const stuck = finder.find(from(5001));
  await settle();
  const behind = finder.find(from(5002));
  await clock.advance(700);
  assert.equal(await within(stuck), null);
  assert.equal(await within(behind), null);
  assert.equal(timers.size, 0);
  const closing = finder.find(from(5003));
  finder.close();
  assert.equal(await within(closing), null, 'closed');
  assert.equal(await finder.find(from(5000)), null, 'after that nothing is looked for');
  assert.equal(timers.size, 0);
});

void t.test("a socket's user leads to its process", async () => {
  const { proc, finder } = setUp();
  proc.tables.set('/proc/net/tcp', HEADING + row(LOOPBACK, 5000, LOOPBACK, 7890, 11) + row(LOOPBACK, 5001, LOOPBACK, 7890, 50, { uid: 33 }));
  for (let pid = 1_000; pid < 1_050; pid++) proc.processes.set(String(pid), { uid: 33, links: ['pipe:[7]'] });
  proc.processes.set('1100', { uid: 1000, links: Array.from({ length: 10_000 }, () => 'pipe:[7]') });
  assert.deepEqual(await finder.find(from(5000)), CURL);
  assert.equal(proc.count(/1100\/fd\//), 0, 'servers come last');
  assert.equal(proc.count(/10[0-9][0-9]\/fd/), 0, "others' processes were not needed");
  proc.processes.set('50', { uid: 0, exe: '/usr/sbin/apache2', links: ['socket:[50]'] });
  assert.equal((await finder.find(from(5001)))?.name, 'apache2', 'one that changed its user is found in the end');
  finder.close();
});

void t.test('the fact: asked for once, and only if a rule asks', async () => {
  const { proc, timers, finder } = setUp();
  proc.tables.set('/proc/net/tcp', HEADING + row(LOOPBACK, 5000, LOOPBACK, 7890, 11));
  const lookups: Lookup[] = [];
  const sources = { resolver: { resolve: async () => [] }, hosts: new Map(), timers, timeouts: DEFAULT_TIMEOUTS };
  const facts = new SessionFacts(from(5000), { ...sources, process: finder }, lookups);
  await settle();
  assert.deepEqual(proc.asked, []);
  assert.equal(facts.process(), facts.process());
  assert.deepEqual(await facts.process(), CURL);
  assert.deepEqual(
    lookups.map(({ ms, ...lookup }) => lookup),
    [{ name: 'process of 127.0.0.1:5000', from: 'process', addresses: [], value: 'curl (/usr/bin/curl), uid 1000', error: null }],
  );
  assert.equal(await new SessionFacts(from(5000), sources, lookups).process(), null, 'nobody can tell');
  assert.equal(lookups.length, 1);
  for (const [info, text] of [
    [null, 'unknown'],
    [{ name: '', path: '', uid: 33 }, 'uid 33'],
    [{ name: 'a', path: '', uid: null }, 'a'],
    [{ name: '', path: '', uid: null }, 'unknown'],
  ] as const)
    assert.equal(describeProcess(info), text);
  finder.close();
});

const linux = process.platform === 'linux' ? {} : { skip: 'there is /proc on Linux only' };
const node: ProcessInfo = { name: basename(realpathSync(process.execPath)), path: realpathSync(process.execPath), uid: process.getuid?.() ?? null };

/** The real /proc, and as much time as it takes; notes whose executables were read. */
function watched(): { finder: LinuxProcessFinder; programs: string[] } {
  const programs: string[] = [];
  const proc: Proc = {
    ...systemProc,
    link: (path) => {
      const pid = /^\/proc\/([0-9]+)\/exe$/.exec(path)?.[1];
      if (pid !== undefined) programs.push(pid);
      return systemProc.link(path);
    },
  };
  return { finder: new LinuxProcessFinder(new TimerWheel(new FakeClock()), proc), programs };
}

void t.test('real sockets of this process', linux, async (t) => {
  for (const [listen, dial, source] of [
    ['127.0.0.1', '127.0.0.1', '127.0.0.1'],
    ['::1', '::1', '::1'],
    ['::', '127.0.0.1', '127.0.0.1'],
  ] as const) {
    const server = createServer().listen(0, listen);
    try {
      await once(server, 'listening');
    } catch (error) {
      if (listen !== '127.0.0.1') continue; // a machine without IPv6
      throw error;
    }
    const inboundPort = (server.address() as AddressInfo).port;
    const client = connect(inboundPort, dial);
    await once(client, 'connect');
    t.teardown(() => {
      client.destroy();
      server.close();
    });
    const { finder } = watched();
    const session = testSession({ source: { host: source, port: client.localPort ?? 0 }, inboundPort });
    assert.deepEqual(await finder.find(session), node, `${listen} ${dial}`);
    const gone = testSession({ source: { host: source, port: 1 }, inboundPort });
    assert.equal(await finder.find(gone), null);
    finder.close();
  }
  for (const [type, bind, source] of [
    ['udp4', '127.0.0.1', '127.0.0.1'],
    ['udp4', '0.0.0.0', '127.0.0.1'],
    ['udp6', '::', '127.0.0.1'],
    ['udp6', '::1', '::1'],
  ] as const) {
    const socket: Socket = createSocket(type);
    t.teardown(() => socket.close());
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject).bind(0, bind, resolve);
      });
    } catch (error) {
      if (type === 'udp6') continue; // a machine without IPv6
      throw error;
    }
    const finder = systemProcessFinder(new TimerWheel(new FakeClock()));
    assert.deepEqual(await finder.find(testSession({ network: 'udp', source: { host: source, port: socket.address().port } })), node, `${bind} ${source}`);
    finder.close();
  }
});

void t.test('real sockets of another process, and of another user', linux, async (t) => {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const inboundPort = (server.address() as AddressInfo).port;
  const text = `
    const client = require('node:net').connect(${inboundPort}, '127.0.0.1', () => {
      const udp = require('node:dgram').createSocket('udp4').bind(0, () => console.log(JSON.stringify([client.localPort, udp.address().port])));
    });
    process.stdin.on('end', () => process.exit()).resume();`;
  // Root may start the child as somebody else.
  for (const uid of process.getuid?.() === 0 ? [undefined, 65_534] : [undefined]) {
    // By `env -i`, which becomes the child: with NODE_OPTIONS of ours the other user might need folders that are ours alone.
    const child = spawn('/usr/bin/env', ['-i', process.execPath, '-e', text], { stdio: ['pipe', 'pipe', 'inherit'], ...(uid === undefined ? {} : { uid }) });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      said += part;
    });
    const exit = once(child, 'exit');
    await eventually(() => said.endsWith('\n'), 20_000, 'the child has connected');
    const [tcp, udp] = JSON.parse(said) as [number, number];
    const { finder, programs } = watched();
    const wanted = { ...node, uid: uid ?? node.uid };
    const sessions = [from(tcp, { inboundPort }), from(udp, { network: 'udp', inboundPort })];
    assert.deepEqual(await Promise.all(sessions.map((session) => finder.find(session))), [wanted, wanted]);
    assert.deepEqual([...new Set(programs)], [String(child.pid)]);
    finder.close();
    child.stdin.end();
    await within(exit, 20_000, 'the end of the child');
  }
});
