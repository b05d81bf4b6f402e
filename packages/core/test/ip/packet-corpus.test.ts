// BatchParser and its twin in C++ (native/test/packet-test.cc) give the same answers: both are held to one table.
import assert from 'node:assert/strict';
import t from 'tap';
import { digestOf, outcomeOf, readCorpus } from '../support/packet-corpus.js';

const corpus = readCorpus();

void t.test('named packets', async () => {
  assert.ok(corpus.length > 60);
  assert.equal(new Set(corpus.map(({ name }) => name)).size, corpus.length);
  for (const { name, bytes, vouched, segmentSize, outcome } of corpus) assert.equal(outcomeOf(bytes, vouched, segmentSize), outcome, name);
});

void t.test('500 mutants of each', async () => {
  for (const packet of corpus) assert.equal(digestOf(packet), packet.digest, packet.name);
});

void t.test('every reason for a drop is there, and every protocol', async () => {
  const outcomes = new Set(corpus.map(({ outcome }) => (outcome.includes('/') ? `${outcome[0] ?? ''} ${outcome.split('/')[4] ?? ''}` : outcome)));
  for (const wanted of [
    'version',
    'short',
    'length',
    'header',
    'checksum',
    'extension',
    'sourceRoute',
    'transport',
    '4 6',
    '6 6',
    '4 17',
    '6 17',
    '4 1',
    '6 58',
    '4 44',
    '6 44',
  ])
    assert.ok(outcomes.has(wanted), wanted);
});
