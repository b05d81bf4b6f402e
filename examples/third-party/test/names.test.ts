// The name server that is a table, and the hook, by themselves.
import assert from 'node:assert/strict';
import { type NameServer, NekitError, never } from '@nekit/core';
import t from 'tap';
import { homeNames } from '../dist/home-names.js';
import { tableResolver } from '../dist/table-resolver.js';

const nothing = {
  adapter: () => assert.fail('it is reached by nobody'),
  get: () => {
    throw new NekitError('UNKNOWN_TOKEN', 'not in this test');
  },
};

function query(name: string, type: number): Uint8Array {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Uint8Array.of(0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1);
}

t.test('table://', async (t) => {
  const server: NameServer = tableResolver().create('printer.lan=192.168.1.9,nas.lan=fd00::7', nothing);
  const ask = async (name: string, type: number): Promise<string> => {
    const sent = query(name, type);
    const answer = Buffer.from(await server.ask(sent, never));
    t.same(answer.subarray(12, sent.length), sent.subarray(12), 'the question is repeated');
    t.same([answer.readUInt16BE(0), answer.readUInt16BE(2) >>> 4], [0x1234, 0x818]);
    return `${(answer[3] ?? 0) & 15} ${answer.readUInt16BE(6)} ${answer.subarray(sent.length + 12).toString('hex')}`;
  };
  t.equal(await ask('Printer.LAN', 1), '0 1 c0a80109');
  t.equal(await ask('printer.lan', 28), '0 0 ', 'no address of this family');
  t.equal(await ask('nas.lan', 28), '0 1 fd000000000000000000000000000007');
  t.equal(await ask('other.lan', 1), '3 0 ');
  for (const broken of [query('a.lan', 1).subarray(0, 14), new Uint8Array(12), new Uint8Array(0)])
    await t.rejects(server.ask(broken, never), { code: 'NET_PROTOCOL' });
  for (const wrong of ['', 'printer.lan', 'printer.lan=nowhere', '=192.168.1.9'])
    t.throws(() => tableResolver().create(wrong, nothing), /should be name=address/, wrong);
});

t.test('home-names', async (t) => {
  const { question, answer } = homeNames().create(nothing);
  assert.ok(question !== undefined && answer !== undefined);
  t.same(question({ name: 'printer.home', type: 1 }), { name: 'printer.lan' });
  t.same(question({ name: 'wpad.corp.example', type: 1 }), { rcode: 3 });
  t.equal(question({ name: 'www.example', type: 1 }), null);
  const failed = Uint8Array.of(0, 1, 0x81, 0x82, 0, 0, 0, 0, 0, 0, 0, 0);
  t.same(answer({ name: 'nas.lan', type: 1 }, failed)?.[3], 0x83);
  t.same(failed[3], 0x82, 'what is lent stays as it is');
  t.equal(answer({ name: 'www.example', type: 1 }, failed), null);
  t.equal(answer({ name: 'nas.lan', type: 1 }, Uint8Array.of(0, 1, 0x81, 0x80)), null);
});
