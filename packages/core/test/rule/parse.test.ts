import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { RuleDefinition } from '../../dist/rule/definition.js';
import { buildRule, formatRuleText, parseRuleText } from '../../dist/rule/parse.js';
import { splitGroups } from '../../dist/rule/split.js';
import { FakeFacts, testSession } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const known = knownRules();

void t.test('parseRuleText', async () => {
  for (const [text, kind, payload, target, parameters] of [
    ['DOMAIN,www.example.com,DIRECT', 'DOMAIN', 'www.example.com', 'DIRECT', []],
    ['  domain , www.example.com ,\tMy Proxy (US) ', 'DOMAIN', 'www.example.com', 'My Proxy (US)', []],
    ['IP-CIDR,10.0.0.0/8,DIRECT,no-resolve', 'IP-CIDR', '10.0.0.0/8', 'DIRECT', ['no-resolve']],
    ['IP-CIDR, 10.0.0.0/8, DIRECT, No-Resolve , src', 'IP-CIDR', '10.0.0.0/8', 'DIRECT', ['no-resolve', 'src']],
    ['MATCH,Proxy', 'MATCH', '', 'Proxy', []],
    ['match , Proxy', 'MATCH', '', 'Proxy', []],
    ['MATCH,Proxy,no-resolve', 'MATCH', '', 'Proxy', ['no-resolve']],
    ['DST-PORT,80/443,Proxy', 'DST-PORT', '80/443', 'Proxy', []],
    ['AND,((DOMAIN,a.com),(NETWORK,UDP)),REJECT', 'AND', '((DOMAIN,a.com),(NETWORK,UDP))', 'REJECT', []],
    ['AND , ((DOMAIN,a.com), (NOT,((NETWORK,UDP)))) , REJECT,src', 'AND', '((DOMAIN,a.com), (NOT,((NETWORK,UDP))))', 'REJECT', ['src']],
    ['DOMAIN-REGEX,^(a|b){1,3}\\.com$,Proxy', 'DOMAIN-REGEX', '^(a|b){1,3}\\.com$', 'Proxy', []],
    ['DOMAIN-REGEX,(a|b),Proxy', 'DOMAIN-REGEX', '(a|b)', 'Proxy', []],
    ['SUB-RULE,(NETWORK,tcp),sub', 'SUB-RULE', '(NETWORK,tcp)', 'sub', []],
    ['MY-KIND,x,y,z', 'MY-KIND', 'x', 'y', ['z']],
  ] as const) {
    assert.deepEqual(parseRuleText(text), { kind, payload, target, parameters }, text);
  }
  const bare = (kind: string): boolean => kind === 'LAN';
  assert.deepEqual(parseRuleText('LAN,DIRECT', bare), { kind: 'LAN', payload: '', target: 'DIRECT', parameters: [] });
});

void t.test('parseRuleText says what is missing', async () => {
  for (const [text, message] of [
    ['', /^"" has no kind: write KIND,payload,target, as in DOMAIN,www\.example\.com,DIRECT$/],
    [',a,b', /has no kind/],
    ['DOMAIN', /^"DOMAIN" is no rule: write KIND,payload,target/],
    ['DOMAIN,www.example.com', /^"DOMAIN,www\.example\.com" has no target: write DOMAIN,www\.example\.com,target$/],
    ['DOMAIN,www.example.com,', /has no target/],
    ['DOMAIN,,DIRECT', null],
    ['MATCH', /^"MATCH" has no target: write MATCH,target$/],
    ['MATCH,', /^"MATCH," has no target: write MATCH,target$/],
    ['DOMAIN,a.com,DIRECT,', /^"DOMAIN,a\.com,DIRECT," has a comma too many/],
    ['DOMAIN-REGEX,^a$', /has no target/],
    ['AND,((DOMAIN,a.com),(NETWORK,UDP),REJECT', /has a parenthesis that is not closed$/],
    ['AND,((DOMAIN,a.com)))x,REJECT', /has "\)x,REJECT" behind its closing parenthesis, where a comma should be$/],
    ['AND,((DOMAIN,a.com))', /has no target/],
    [`DOMAIN,${'a'.repeat(20_000)},x`, /^a rule has at most 16384 characters/],
  ] as const) {
    if (message === null) assert.equal(parseRuleText(text).payload, '', 'an empty payload is for the kind to judge');
    else assert.throws(() => parseRuleText(text), { message });
  }
});

void t.test('buildRule', async (t) => {
  await t.test('knows its kinds, in any case', async () => {
    const session = testSession({ destination: { host: 'a.test', port: 1 } });
    const facts = new FakeFacts();
    assert.equal(buildRule(' domain ', ' a.test ', [], {}, known).match(session, facts), true);
    assert.throws(() => buildRule('DOMAIN-SUFIX', 'a', [], {}, known), /^Error: unknown rule kind "DOMAIN-SUFIX", did you mean DOMAIN-SUFFIX\?$/);
    assert.throws(() => buildRule('WEATHER', 'a', [], {}, known), /^Error: unknown rule kind "WEATHER": known are DOMAIN, DOMAIN-SUFFIX, /);
    assert.throws(() => buildRule('CUONTRY', 'a', [], {}, { ...known, kinds: () => ['COUNTRY'] }), /did you mean COUNTRY\?$/);
  });

  await t.test('parameters: Clash has two that may stand anywhere, a definition names its own, others are mistakes', async () => {
    let seen: string[] = [];
    const definition: RuleDefinition = {
      kind: 'LOCAL',
      description: 'a test',
      payload: true,
      parameters: ['strict'],
      create(payload, context) {
        seen = [payload, ...context.parameters, JSON.stringify(context.options)];
        return { match: () => true };
      },
    };
    buildRule('LOCAL', 'x', ['No-Resolve', 'strict'], { limit: 3, src: true, other: false }, { ...known, definitions: () => definition });
    assert.deepEqual(seen, ['x', 'no-resolve', 'strict', 'src', '{"limit":3,"src":true,"other":false}']);
    assert.throws(
      () => buildRule('LOCAL', 'x', ['no-reslove'], {}, { ...known, definitions: () => definition }),
      /unknown parameter "no-reslove" behind a LOCAL rule, did you mean no-resolve\?/,
    );
    assert.throws(() => buildRule('DOMAIN', 'a.test', ['strict'], {}, known), /unknown parameter "strict" behind a DOMAIN rule: known are no-resolve, src/);
    buildRule('DOMAIN', 'a.test', ['no-resolve'], {}, known);
  });

  await t.test('nests 16 deep and no deeper, whatever comes', async () => {
    const nest = (depth: number): string => (depth === 0 ? 'DOMAIN,a.test' : `NOT,((${nest(depth - 1)}))`);
    const build = (depth: number) => buildRule('NOT', `((${nest(depth - 1)}))`, [], {}, known);
    build(16);
    assert.throws(() => build(17), /nested more than 16 deep/);
    assert.throws(() => buildRule('NOT', '((SUB-RULE,(NETWORK,TCP),list))', [], {}, known), /^Error: SUB-RULE cannot stand in another rule/);
    assert.throws(() => buildRule('NOT', '('.repeat(10_000) + ')'.repeat(10_000), [], {}, known), /at most|are allowed|no kind|no rule/);
    assert.throws(() => buildRule('NOT', '('.repeat(8_000) + ')'.repeat(8_000), [], {}, known), /no rule|no kind/);
    assert.throws(() => buildRule('AND', '((NOT,'.repeat(2_700), [], {}, known), /closing parenthesis is missing/);
    fc.assert(
      fc.property(
        fc.constantFrom('AND', 'OR', 'NOT'),
        fc.string({ unit: fc.constantFrom('(', ')', ',', 'NOT', 'AND', 'DOMAIN', 'a', ' ', '\\') }),
        (kind, payload) => {
          try {
            buildRule(kind, payload, [], {}, known);
          } catch (error) {
            assert.ok(error instanceof Error && !(error instanceof RangeError) && !(error instanceof TypeError), String(error));
          }
        },
      ),
    );
  });
});

/** Rules as a tree, and the text of it with spaces here and there. */
type Tree = { kind: string; payload: string } | { kind: string; children: Tree[] };
const leaf = fc.oneof(
  fc.record({ kind: fc.constant('DOMAIN'), payload: fc.domain() }),
  fc.record({ kind: fc.constant('DST-PORT'), payload: fc.nat({ max: 65535 }).map(String) }),
  fc.record({ kind: fc.constant('DOMAIN-REGEX'), payload: fc.constantFrom('^(a|b),?$', 'x{1,3}', '\\(a,b\\)', '[a-z],y') }),
);
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.record({ kind: fc.constantFrom('AND', 'OR'), children: fc.array(tie('tree'), { minLength: 1, maxLength: 4 }) }),
    fc.record({ kind: fc.constant('NOT'), children: fc.tuple(tie('tree')) }),
  ),
}));

function textOf(node: Tree, space: () => string): string {
  if ('payload' in node) return `${space()}${node.kind}${space()},${space()}${node.payload}${space()}`;
  const children = node.children.map((child) => `(${textOf(child, space)})`);
  return `${space()}${node.kind}${space()},${space()}(${space()}${children.join(`${space()},${space()}`)}${space()})${space()}`;
}

/** What the tree was, from what was read. */
function read(text: string): Tree {
  const { kind, payload } = parseRuleText(`${text},target`);
  return kind === 'AND' || kind === 'OR' || kind === 'NOT' ? { kind, children: splitGroups(kind, payload).map(read) } : { kind, payload };
}

void t.test('logic rules survive being written and read', async () => {
  fc.assert(
    fc.property(tree, fc.infiniteStream(fc.constantFrom('', '', ' ', '  ', '\t')), (node, spaces) => {
      const space = (): string => String(spaces.next().value);
      assert.equal(JSON.stringify(read(textOf(node, space))), JSON.stringify(node));
      const parsed = parseRuleText(
        `${textOf(node, space)},My Target,no-resolve`.replace(/,no-resolve$/, 'payload' in node && node.kind === 'DOMAIN-REGEX' ? '' : ',no-resolve'),
      );
      assert.equal(parsed.target, 'My Target');
      assert.deepEqual(parseRuleText(formatRuleText(parsed)), parsed);
      buildRule(parsed.kind, parsed.payload, parsed.parameters, {}, known);
    }),
  );
});
