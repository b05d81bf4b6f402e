// Whose first bytes are looked at, for how long, and what becomes of them: none is lost, whatever they are.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { NetError } from '../../dist/net/errors.js';
import type { Session } from '../../dist/net/session.js';
import type { Stream } from '../../dist/net/stream.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { CidrSet, parseCidr } from '../../dist/rule/cidr-set.js';
import { buildRule } from '../../dist/rule/parse.js';
import { lookAtFirst, MAX_FIRST_BYTES } from '../../dist/sniff/first-bytes.js';
import { type SniffedPorts, Sniffer, type SnifferConfig } from '../../dist/sniff/sniffer.js';
import { sniffTls } from '../../dist/sniff/tls.js';
import { collect, FakeClock, pipePair, send, settle, testSession } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';
import { helloFor, records } from './client-hellos.js';

const ALL: readonly SniffedPorts[] = [
  {
    protocol: 'TLS',
    ports: [
      [443, 443],
      [8_000, 8_999],
    ],
    overrideDestination: false,
  },
  {
    protocol: 'HTTP',
    ports: [
      [80, 80],
      [8_080, 8_080],
    ],
    overrideDestination: true,
  },
  { protocol: 'QUIC', ports: [[443, 443]], overrideDestination: false },
];

const NOTHING_ELSE: Omit<SnifferConfig, 'protocols'> = {
  forceDomain: [],
  skipDomain: [],
  skipSource: [],
  skipDestination: [],
  parsePureIp: true,
  forceDnsMapping: true,
};

function sniffer(config: Partial<SnifferConfig> = {}): Sniffer {
  const local = new CidrSet([parseCidr('10.0.0.0/8')]);
  const ruleSets = new Map([
    ['local', { name: 'local', behavior: 'ipcidr' as const, current: { size: 1, match: (session: Session) => local.has(session.destination.host) } }],
    ['ads', { name: 'ads', behavior: 'domain' as const, current: { size: 1, match: (session: Session) => session.destination.host === 'ads.example' } }],
  ]);
  const known = knownRules([], { ruleSets });
  return new Sniffer({ protocols: ALL, ...NOTHING_ELSE, ...config }, (kind, payload) => buildRule(kind, payload, [], {}, known));
}

void t.test('whose first bytes are looked at', async (t) => {
  const asked = (config: Partial<SnifferConfig>, host: string, port: number, more: Partial<Session> = {}): unknown =>
    sniffer(config)
      .candidates(testSession({ destination: { host, port }, ...more }))
      ?.map(({ protocol }) => protocol) ?? null;
  await t.test('those to an address, on the ports of a protocol', () => {
    assert.deepEqual(asked({}, '192.0.2.1', 443), ['TLS']);
    assert.deepEqual(asked({}, '192.0.2.1', 8_500), ['TLS']);
    assert.deepEqual(asked({}, '192.0.2.1', 8_080), ['TLS', 'HTTP']);
    assert.deepEqual(asked({}, '2001:db8::1', 80), ['HTTP']);
    assert.deepEqual(asked({}, '192.0.2.1', 443, { network: 'udp' }), ['QUIC']);
    assert.equal(asked({}, '192.0.2.1', 80, { network: 'udp' }), null);
    assert.equal(asked({}, '192.0.2.1', 22), null);
    assert.equal(asked({ parsePureIp: false }, '192.0.2.1', 443), null);
    return Promise.resolve();
  });
  await t.test('those to a name only by force-domain', () => {
    assert.equal(asked({}, 'www.example.com', 443), null);
    const forceDomain = ['+.example.com', 'rule-set:ads'];
    assert.deepEqual(asked({ forceDomain }, 'www.example.com', 443), ['TLS']);
    assert.deepEqual(asked({ forceDomain }, 'ads.example', 443), ['TLS']);
    assert.equal(asked({ forceDomain }, 'example.org', 443), null);
    return Promise.resolve();
  });
  await t.test('an address of which a name is known', () => {
    const known = { sniffed: 'known.example' };
    assert.deepEqual(asked({ parsePureIp: false }, '192.0.2.1', 443, known), ['TLS']);
    assert.equal(asked({ forceDnsMapping: false }, '192.0.2.1', 443, known), null);
    assert.deepEqual(asked({ forceDnsMapping: false, forceDomain: ['known.example'] }, '192.0.2.1', 443, known), ['TLS']);
    return Promise.resolve();
  });
  await t.test('not those of the skip lists', () => {
    const skipDestination = ['192.0.2.0/24', 'rule-set:local', '2001:db8::1'];
    assert.equal(asked({ skipDestination }, '192.0.2.200', 443), null);
    assert.equal(asked({ skipDestination }, '10.1.2.3', 443), null);
    assert.equal(asked({ skipDestination }, '2001:db8::1', 443), null);
    assert.deepEqual(asked({ skipDestination }, '198.51.100.1', 443), ['TLS']);
    const source = { source: { host: '10.0.0.9', port: 5 } };
    assert.equal(asked({ skipSource: ['rule-set:local'] }, '192.0.2.1', 443, source), null);
    assert.equal(asked({ skipSource: ['10.0.0.9'], forceDomain: ['a.example'] }, 'a.example', 443, source), null);
    assert.deepEqual(asked({ skipSource: ['10.0.0.8'] }, '192.0.2.1', 443, source), ['TLS']);
    return Promise.resolve();
  });
});

void t.test('what becomes of a name', async (t) => {
  const see = async (config: Partial<SnifferConfig>, port: number, bytes: Uint8Array): Promise<unknown> => {
    const [client, inside] = pipePair();
    const made = sniffer(config);
    const session = testSession({ destination: { host: '192.0.2.1', port } });
    await client.write([bytes]);
    const { sighting } = await made.lookAtStream(inside, session, made.candidates(session) ?? [], 300, new TimerWheel(new FakeClock()));
    return sighting === null ? null : [sighting.protocol, sighting.session.sniffed, sighting.session.destination.host, sighting.session.requested.host];
  };
  const tls = records(helloFor('www.example.com'));
  const http = Buffer.from('GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n');
  await t.test('it is for rules, or the destination too', async () => {
    assert.deepEqual(await see({}, 443, tls), ['TLS', 'www.example.com', '192.0.2.1', '192.0.2.1']);
    assert.deepEqual(await see({}, 80, http), ['HTTP', 'www.example.com', 'www.example.com', '192.0.2.1']);
    assert.deepEqual(await see({}, 8_080, http), ['HTTP', 'www.example.com', 'www.example.com', '192.0.2.1']);
    assert.deepEqual(await see({}, 8_080, tls), ['TLS', 'www.example.com', '192.0.2.1', '192.0.2.1']);
  });
  await t.test('skip-domain: it counts as not seen', async () => {
    assert.equal(await see({ skipDomain: ['Mijia Cloud', '+.example.com'] }, 443, tls), null, 'beside what is no name');
    assert.deepEqual(await see({ skipDomain: ['example.com'] }, 443, tls), ['TLS', 'www.example.com', '192.0.2.1', '192.0.2.1']);
  });
  await t.test('a protocol is looked for on its own ports only', async () => {
    assert.equal(await see({}, 443, http), null);
    assert.equal(await see({}, 80, tls), null);
  });
});

void t.test('first bytes', async (t) => {
  const hello = records(helloFor('www.example.com'));

  /** The same stream, which cannot take a read back. */
  const stubborn = (stream: Stream): Stream => ({
    read: () => stream.read(),
    write: (chunks) => stream.write(chunks),
    closeWrite: () => stream.closeWrite(),
    abort: (reason) => stream.abort(reason),
  });

  /** The same, which can. */
  const yielding = (stream: Stream): Stream => {
    let pending: ReturnType<Stream['read']> | null = null;
    let give: ((chunks: readonly Uint8Array[]) => void) | null = null;
    return {
      ...stubborn(stream),
      read() {
        const read = pending ?? stream.read();
        pending = read;
        return new Promise((resolve, reject) => {
          give = resolve;
          read.then(
            (chunks) => {
              if (give !== resolve) return; // it was stopped: the next read gets them
              pending = null;
              resolve(chunks);
            },
            (error: unknown) => reject(error instanceof Error ? error : new Error(String(error))),
          );
        });
      },
      stopReading() {
        give?.([]);
        give = null;
      },
    };
  };

  for (const [kind, wrap] of [
    ['a read that cannot be taken back', stubborn],
    ['a read that can', yielding],
  ] as const) {
    await t.test(`a client that says nothing is waited for 300 ms; ${kind}`, async () => {
      const clock = new FakeClock();
      const timers = new TimerWheel(clock);
      const [client, inside] = pipePair();
      let looked: Awaited<ReturnType<typeof lookAtFirst>> | null = null;
      void lookAtFirst(wrap(inside), sniffTls, 300, timers).then((result) => (looked = result));
      await clock.advance(290);
      assert.equal(looked, null);
      await clock.advance(110); // the wheel's tick
      const { stream, found } = looked ?? assert.fail('it still waits');
      assert.equal(found, null);
      assert.equal(timers.size, 0);
      const all = collect(stream);
      await settle();
      await send(client, Buffer.from('at last'));
      assert.equal((await all).toString(), 'at last');
    });

    await t.test(`a hello that stops in the middle is waited for 900 ms, and goes on as it is; ${kind}`, async () => {
      const clock = new FakeClock();
      const [client, inside] = pipePair();
      let looked: Awaited<ReturnType<typeof lookAtFirst>> | null = null;
      void lookAtFirst(wrap(inside), sniffTls, 300, new TimerWheel(clock)).then((result) => (looked = result));
      await client.write([hello.subarray(0, 50)]);
      await clock.advance(700);
      await client.write([hello.subarray(50, 60)]);
      await clock.advance(190);
      assert.equal(looked, null);
      await clock.advance(110);
      const { stream, found } = looked ?? assert.fail('it still waits');
      assert.equal(found, null);
      const all = collect(stream);
      await send(client, hello.subarray(60));
      assert.equal((await all).toString('hex'), hello.toString('hex'));
    });
  }

  await t.test('every byte comes out again, however it came in', async () => {
    const inputs = [
      hello,
      Buffer.from('GET / HTTP/1.1\r\nHost: a.example\r\n\r\nbody'),
      Buffer.from('SSH-2.0-x\r\n'),
      Buffer.alloc(40_000, 22),
      records(helloFor('a.example', 12_000), 900),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...inputs),
        fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 8 }),
        fc.boolean(),
        async (input, sizes, takesBack) => {
          const [client, inside] = pipePair();
          const writing = (async () => {
            let at = 0;
            for (const size of sizes) {
              await client.write([input.subarray(at, at + size)]);
              at = Math.min(input.length, at + size);
              await Promise.resolve();
            }
            await send(client, input.subarray(at));
          })();
          const clock = new FakeClock();
          const looking = lookAtFirst(takesBack ? yielding(inside) : stubborn(inside), sniffTls, 300, new TimerWheel(clock));
          await settle();
          await clock.advance(2_000);
          const { stream } = await looking;
          const [all] = await Promise.all([collect(stream), writing]);
          assert.equal(Buffer.compare(all, input), 0);
        },
      ),
      { numRuns: process.env.NEKIT_FULL === '1' ? 1_000 : 40 },
    );
  });

  await t.test('no more than 16 KiB are taken', async () => {
    const [client, inside] = pipePair();
    const sent = Buffer.alloc(64 * 1024, 1);
    let seen = 0;
    const looking = lookAtFirst(
      inside,
      (bytes) => {
        seen = bytes.length;
        return 'more';
      },
      300,
      new TimerWheel(new FakeClock()),
    );
    const writing = (async () => {
      for (let at = 0; at < sent.length; at += 1024) await client.write([sent.subarray(at, at + 1024)]);
      await client.closeWrite();
    })();
    const { stream, found } = await looking;
    assert.equal(found, null);
    assert.equal(seen, MAX_FIRST_BYTES);
    const [all] = await Promise.all([collect(stream), writing]);
    assert.equal(all.length, sent.length);
  });

  await t.test('a client that ends, and one that breaks', async () => {
    const [client, inside] = pipePair();
    await client.write([hello.subarray(0, 20)]);
    await client.closeWrite();
    const { stream, found } = await lookAtFirst(inside, sniffTls, 300, new TimerWheel(new FakeClock()));
    assert.equal(found, null);
    assert.equal((await collect(stream)).length, 20);
    const [breaking, broken] = pipePair();
    const looking = lookAtFirst(broken, sniffTls, 300, new TimerWheel(new FakeClock()));
    breaking.abort(new NetError('aborted', 'away'));
    await assert.rejects(looking);
  });
});
