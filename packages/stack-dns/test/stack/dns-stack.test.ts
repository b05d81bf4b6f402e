// The name server as an IP stack on a device in memory.
import assert from 'node:assert/strict';
import { parseAddress } from '@nekit/core';
import { buildPacket, type Packet, type PipeEnd, parsePacket, pipeDevice, StackDriver } from '@nekit/core/ip';
import { FakeClock, settle } from '@nekit/core/testing';
import t from 'tap';
import { AddressRange } from '../../dist/fake-ip/address-range.js';
import { FakeIpPool } from '../../dist/fake-ip/fake-ip-pool.js';
import { KernelDns } from '../../dist/kernel-dns.js';
import { DnsServer } from '../../dist/server/dns-server.js';
import { RateLimit } from '../../dist/server/rate-limit.js';
import { DnsStack } from '../../dist/stack/dns-stack.js';
import { Hijack } from '../../dist/stack/hijack.js';
import { DnsClient } from '../../dist/upstream/dns-client.js';
import { readAnswer } from '../../dist/wire/answer.js';
import { type Question, queryMessage } from '../../dist/wire/question.js';
import { queryBytes, replyTo, said } from '../messages.js';

const NETWORKS = ['198.18.0.1/30', 'fdfe:dcba:9876::1/126'];

interface Asked {
  readonly question: Question;
  answer(address: string): void;
}

class Bench {
  readonly clock = new FakeClock();
  readonly dns = new KernelDns(this.clock);
  readonly fakes = new FakeIpPool({ range4: new AddressRange('198.18.0.1/16', 4), range6: new AddressRange('fdfe:dcba:9876::1/64', 6), seed: 1 });
  /** Questions to the servers. */
  readonly asked: Asked[] = [];
  readonly out: Uint8Array[] = [];
  readonly leave: () => void;
  readonly driver: StackDriver;
  readonly #far: PipeEnd;
  #run: (() => void)[] = [];

  constructor({ hijack = ['any:53'], perSecond = 1_000, offload = false } = {}) {
    const [near, far] = pipeDevice({ mtu: 1280, offload, defer: (run) => this.#run.push(run), arenaBytes: 0 });
    this.#far = far;
    far.start({
      packets: (batch) => {
        for (let i = 0; i < batch.length; i++) this.out.push(batch.bytes.slice(batch.start[i], batch.end[i]));
      },
      failed: () => undefined,
    });
    const client = new DnsClient({
      clock: this.clock,
      maxEntries: 100,
      maxBytes: 100_000,
      maxPending: 5_000,
      ask: (question) =>
        new Promise((resolve) => {
          this.asked.push({
            question,
            answer: (data) => {
              const query = queryMessage(question, { id: 1, spelling: null, edns: false });
              const reply = replyTo(query, { answers: [{ type: 'A', name: question.name, ttl: 60, data }] });
              resolve(readAnswer(reply, question.wire.length + 4) ?? assert.fail());
            },
          });
        }),
    });
    const isReal = (name: string): boolean => name.endsWith('.real');
    const server = new DnsServer({ client, hosts: () => new Map(), ipv6: true, fakes: this.fakes, isReal, fakeTtl: 1 });
    this.leave = this.dns.enter(server, this.fakes, new RateLimit(perSecond));
    this.driver = new StackDriver({ device: near, clock: this.clock, defer: (run) => this.#run.push(run) });
    const own = NETWORKS.map((network) => parseAddress(network.split('/')[0] ?? '') ?? assert.fail());
    this.driver.start([new DnsStack({ server: this.dns, hijack: new Hijack(hijack, NETWORKS), own, output: this.driver.output })]);
  }

  send(packet: Packet): void {
    this.#far.inject(buildPacket(packet));
  }

  /** A super-packet: payloads of `size` bytes each. */
  sendJoined(packet: Packet, size: number): void {
    const bytes = buildPacket(packet);
    const at = this.#far.sink.reserve(bytes.length, size);
    this.#far.sink.bytes.set(bytes, at);
    this.#far.flush();
  }

  async turn(): Promise<void> {
    for (let i = 0; i < 5; i++) {
      for (const run of this.#run.splice(0)) run();
      await settle();
    }
  }

  /** What has come: `from:port > to:port records`. */
  answers(): string[] {
    return this.out.splice(0).map((bytes) => {
      const packet = parsePacket(bytes);
      assert.ok(packet?.kind === 'udp');
      return `${packet.source}:${packet.sourcePort} > ${packet.destination}:${packet.destinationPort} ${said(packet.payload).join(' ')}`;
    });
  }
}

const ask = (source: string, destination: string, payload: Uint8Array, destinationPort = 53, sourcePort = 4000): Packet => ({
  kind: 'udp',
  source,
  sourcePort,
  destination,
  destinationPort,
  payload,
});

const [HERE, HERE_6] = ['198.18.0.1', 'fdfe:dcba:9876::1'];

void t.test('fake names are answered at once, from the address that was asked', async (t) => {
  const bench = new Bench();
  bench.send(ask(HERE, '8.8.8.8', queryBytes('a.example', 'A')));
  bench.send(ask(HERE_6, '2001:db8::53', queryBytes('a.example', 'AAAA', { edns: 1232 })));
  bench.send(ask('192.168.7.7', '198.18.0.2', queryBytes('b.example', 'A')));
  bench.send(ask(HERE, '8.8.8.8', Uint8Array.of(1, 2, 3)));
  bench.send(ask(HERE, '8.8.8.8', queryBytes('a.example', 'A'), 54));
  bench.send(ask('0.0.0.0', '8.8.8.8', queryBytes('a.example', 'A')));
  bench.send(ask(HERE, '224.0.0.251', queryBytes('a.example', 'A')));
  await bench.turn();
  t.same(bench.answers(), [
    `8.8.8.8:53 > ${HERE}:4000 A ${bench.fakes.assign('a.example', 4)}`,
    `2001:db8::53:53 > ${HERE_6}:4000 AAAA ${bench.fakes.assign('a.example', 6)}`,
    `198.18.0.2:53 > 192.168.7.7:4000 A ${bench.fakes.assign('b.example', 4)}`,
  ]);
  t.equal(bench.driver.unclaimed, 3, 'another port, and what comes from or goes to many, is left to others');
});

void t.test('a question from port 0 is taken, and not answered', async (t) => {
  const bench = new Bench();
  for (const [source, server] of [
    [HERE, '8.8.8.8'],
    [HERE_6, '2001:db8::53'],
  ] as const)
    bench.send(ask(source, server, queryBytes('a.real', 'A'), 53, 0));
  await bench.turn();
  t.same([bench.asked.length, bench.answers(), bench.driver.unclaimed], [0, [], 0]);
});

void t.test('what needs a look-up is answered later, also out of order', async (t) => {
  const bench = new Bench();
  bench.send(ask(HERE, '8.8.8.8', queryBytes('a.real', 'A', { id: 1 })));
  bench.send(ask(HERE_6, '2001:db8::53', queryBytes('b.real', 'A', { id: 2 })));
  bench.send(ask(HERE, '1.1.1.1', queryBytes('a.real', 'A', { id: 3 })));
  await bench.turn();
  t.same(bench.answers(), []);
  t.equal(bench.asked.length, 2, 'one question for all who ask');
  bench.asked[1]?.answer('192.0.2.2');
  await bench.turn();
  t.same(bench.answers(), [`2001:db8::53:53 > ${HERE_6}:4000 A 192.0.2.2`]);
  bench.asked[0]?.answer('192.0.2.1');
  await bench.turn();
  t.same(bench.answers(), [`8.8.8.8:53 > ${HERE}:4000 A 192.0.2.1`, `1.1.1.1:53 > ${HERE}:4000 A 192.0.2.1`]);
  bench.send(ask(HERE, '8.8.8.8', queryBytes('a.real', 'A')));
  bench.send(ask(HERE, '8.8.8.8', queryBytes('c.real', 'A')));
  await bench.turn();
  t.same(bench.answers(), [`8.8.8.8:53 > ${HERE}:4000 A 192.0.2.1`], 'from the cache, at once');
  bench.driver.close();
  bench.asked[2]?.answer('192.0.2.3');
  await bench.turn();
  t.same(bench.answers(), [], 'closed');
});

void t.test('what waits is bounded, and so is how often others may ask', async (t) => {
  const bench = new Bench({ perSecond: 10 });
  for (let i = 0; i < 4_200; i++) bench.send(ask(HERE, '8.8.8.8', queryBytes(`${i % 4_199}.real`, 'A')));
  for (let i = 0; i < 30; i++) await bench.turn();
  for (const { answer } of bench.asked) answer('192.0.2.1');
  await bench.turn();
  const heard = bench.answers().length;
  t.ok(heard > 0 && heard <= 4_096, `${heard} answers`);
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 50; i++) bench.send(ask('192.168.7.7', '8.8.8.8', queryBytes(`${i}.example`, 'A')));
    for (let i = 0; i < 50; i++) bench.send(ask('fd00::7', '8::8', queryBytes(`${i}.example`, 'A')));
    await bench.turn();
    const answers = bench.answers();
    t.same(
      ['192.168.7.7', 'fd00::7'].map((client) => answers.filter((answer) => answer.includes(`> ${client}:`)).length),
      round === 0 ? [20, 20] : [10, 10],
    );
    await bench.clock.advance(1_000);
  }
  for (let i = 0; i < 100; i++) bench.send(ask(HERE, '8.8.8.8', queryBytes(`${i}.example`, 'A')));
  await bench.turn();
  t.equal(bench.answers().length, 100, 'this machine as often as it likes');
});

void t.test('questions that the device has joined', async (t) => {
  const bench = new Bench({ offload: true });
  const [one, two, three] = ['one', 'two', 'six'].map((name) => queryBytes(`${name}.example`, 'A'));
  const payload = Buffer.concat([one ?? '', two ?? '', three ?? ''].map((part) => Buffer.from(part)));
  bench.sendJoined(ask(HERE, '8.8.8.8', payload), one?.length ?? 0);
  await bench.turn();
  t.same(
    bench.answers().map((answer) => answer.split(' ').at(-1)),
    ['one', 'two', 'six'].map((name) => bench.fakes.assign(`${name}.example`, 4)),
  );
});

void t.test('without the section it takes nothing', async (t) => {
  const bench = new Bench();
  bench.leave();
  bench.send(ask(HERE, '8.8.8.8', queryBytes('a.example', 'A')));
  await bench.turn();
  t.same([bench.answers(), bench.driver.unclaimed], [[], 1]);
});
