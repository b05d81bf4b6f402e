// The shape of the code: who may import whom (ARCHITECTURE.md), and which forms of the language we do without.
// Every rule is first shown to find a seeded offence and to leave honest code alone; then the repository itself is held to it.
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { addon, plainCpp } from './architecture/native-rules.js';
import { type ArchitectureRule, container, cycles, doors, layers, packages, shape, syntax } from './architecture/rules.js';
import { parseTree, readCpp, readTree } from './architecture/tree.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What a rule finds in a made-up tree, as "file:line message". */
function findings(rule: ArchitectureRule, tree: Record<string, string>): string[] {
  return rule(parseTree(new Map(Object.entries(tree)))).map(({ file, line, message }) => `${file}:${line} ${message}`);
}

t.test('the layer rule', async (t) => {
  const core = 'packages/core/src';
  t.same(
    findings(layers, {
      [`${core}/net/stream.ts`]: `import './errors.js'; import { x } from 'node:net';`,
      [`${core}/rule/rule.ts`]: `import type { Session } from '../net/session.js';`,
      [`${core}/kernel.ts`]: `import './config/load.js'; import './net/stream.js';`,
      [`${core}/testing/pipe-pair.ts`]: `import '../kernel.js';`,
      [`${core}/index.ts`]: `export * from './kernel.js';`,
    }),
    [],
    'downwards is fine',
  );
  t.same(findings(layers, { [`${core}/net/stream.ts`]: `\nimport type { Rule } from '../rule/rule.js';` }), [
    `${core}/net/stream.ts:2 net imports rule (../rule/rule.js)`,
  ]);
  t.same(
    findings(layers, { [`${core}/rule/a.ts`]: `export { b } from '../adapter/b.js';` }),
    [`${core}/rule/a.ts:1 rule imports adapter (../adapter/b.js)`],
    'siblings',
  );
  t.same(
    findings(layers, { [`${core}/config/a.ts`]: `const k = await import('../kernel.js');` }),
    [`${core}/config/a.ts:1 config imports kernel (../kernel.js)`],
    'import()',
  );
  t.same(findings(layers, { [`${core}/net/a.ts`]: `type A = import('../ip/a.js').A;` }), [`${core}/net/a.ts:1 net imports ip (../ip/a.js)`], 'import type');
  t.same(findings(layers, { [`${core}/inbound/a.ts`]: `import '../testing/a.js';` }), [`${core}/inbound/a.ts:1 inbound imports testing (../testing/a.js)`]);
  t.match(findings(layers, { [`${core}/misc/a.ts`]: '' })[0], /"misc" is no layer/);
});

t.test('the door rule', async (t) => {
  const honest = { 'packages/core/src/index.ts': `/** Public. */\nexport { a } from './a.js';\nexport type * from './b.js';` };
  t.same(findings(doors, honest), []);
  t.same(findings(doors, { 'packages/x/src/index.ts': `import { a } from './a.js';\nexport { a };\nexport const b = 1;` }), [
    'packages/x/src/index.ts:1 a public door only re-exports',
    'packages/x/src/index.ts:2 a public door only re-exports',
    'packages/x/src/index.ts:3 a public door only re-exports',
  ]);
  t.same(findings(doors, { 'packages/core/src/net/a.ts': `import { b } from '../index.js';` }), [
    'packages/core/src/net/a.ts:1 imports the public door of its own package (../index.js)',
  ]);
});

t.test('the package rule', async (t) => {
  t.same(
    findings(packages, {
      'packages/adapter-a/src/a.ts': `import { s } from '@nekit/core'; import z from 'zod'; import './b.js';`,
      'packages/adapter-a/test/a.test.ts': `import { p } from '@nekit/core/testing'; import '../dist/a.js';`,
      'packages/core/src/net/a.ts': `import net from 'node:net';`,
      'test/path/a.test.ts': `import { h } from '@nekit/adapter-http'; import '../../packages/cli/dist/a.js';`,
    }),
    [],
  );
  const offences: [file: string, text: string, message: RegExp][] = [
    ['packages/adapter-a/src/a.ts', `import '@nekit/adapter-b';`, /another package than @nekit\/core/],
    ['packages/adapter-a/src/a.ts', `import '../../adapter-b/src/b.js';`, /leaves the package/],
    ['packages/adapter-a/src/a.ts', `import '@nekit/core/testing';`, /only tests/],
    ['packages/adapter-a/src/a.ts', `import '@nekit/core/dist/net/a.js';`, /only "\.", "\.\/ip" and/],
    ['packages/adapter-a/src/a.ts', `import '../test/b.js';`, /src imports test/],
    ['packages/adapter-a/test/a.test.ts', `import '@nekit/adapter-b';`, /another package/],
    ['packages/core/src/net/a.ts', `await import('@nekit/adapter-http');`, /core imports another package/],
    ['packages/core/src/net/a.ts', `import '@nekit/core';`, /itself by name/],
    ['examples/x/src/a.ts', `import 'nekit-kernel';`, /another package/],
  ];
  for (const [file, text, message] of offences) {
    const found = findings(packages, { [file]: text });
    t.equal(found.length, 1, `${file}: ${text}`);
    t.match(found[0], message);
  }
});

t.test('the container rule', async (t) => {
  const text = `import 'reflect-metadata';\nimport { container } from 'tsyringe';`;
  t.same(findings(container, { 'packages/core/src/kernel.ts': text, 'packages/core/src/plugin/host.ts': text }), []);
  t.same(findings(container, { 'packages/core/src/net/a.ts': text }), [
    'packages/core/src/net/a.ts:1 reflect-metadata belongs to kernel.ts and plugin/ of core',
    'packages/core/src/net/a.ts:2 tsyringe belongs to kernel.ts and plugin/ of core',
  ]);
  t.equal(findings(container, { 'packages/cli/src/plugin/a.ts': text }).length, 2, 'only core has a plugin host');
});

t.test('the addon rule', async (t) => {
  const text = `const a = require('@nekit/native');`;
  t.same(
    findings(addon, {
      'packages/core/src/native/load.ts': text,
      'packages/core/test/native/load.test.ts': text,
      'packages/cli/src/a.ts': `// @nekit/native in words\nconst a = '@nekit/core' + 'nodes.node.js';`,
    }),
    [],
  );
  for (const offence of [
    text,
    `import '@nekit/native';`,
    `await import('@nekit/native/index.js');`,
    `require('@nekit/native-linux-x64')`,
    'f(`../build/nekit.node`)',
  ])
    t.same(
      findings(addon, { 'packages/core/src/net/a.ts': `\n${offence}` }),
      ['packages/core/src/net/a.ts:2 only packages/core/src/native/load.ts knows where the addon is'],
      offence,
    );
});

t.test('the rule of plain C++', async (t) => {
  const found = (tree: Record<string, string>) => plainCpp(new Map(Object.entries(tree))).map(({ file, line, message }) => `${file}:${line} ${message}`);
  t.same(
    found({
      'native/binding/addon.cc': '#include <napi.h>\n#include "relay/relay.hh"',
      'native/relay/relay.cc': '#include <vector>\n#include "socket/conn.hh"\n// #include <napi.h> in words',
    }),
    [],
  );
  for (const header of ['napi.h', 'node_api.h', 'js_native_api.h', 'node/v8.h', 'uv.h', 'binding/addon.hh'])
    t.same(found({ 'native/cipher/a.hh': `#pragma once\n#include <${header}>` }), [`native/cipher/a.hh:2 plain C++ includes ${header}`]);
  t.equal(found({ 'native/test/a.cc': '  #  include "napi.h"' }).length, 1, 'tests and fuzzers too');
});

t.test('the cycle rule', async (t) => {
  t.same(findings(cycles, { 'p/a.ts': `import './b.js'; import './c.js';`, 'p/b.ts': `import './c.js';`, 'p/c.ts': '' }), [], 'a diamond is no cycle');
  t.same(findings(cycles, { 'p/c.ts': `import './a.js';`, 'p/a.ts': `import './b.js';`, 'p/b.ts': `import type { C } from './c.js';` }), [
    'p/a.ts:1 import cycle: a.ts -> b.ts -> c.ts -> a.ts',
  ]);
  t.same(findings(cycles, { 'p/a.ts': `export * from './a.js';` }), ['p/a.ts:1 import cycle: a.ts -> a.ts']);
  t.equal(
    findings(cycles, { 'p/a.ts': `import './b.js';`, 'p/b.ts': `import './a.js'; import './c.js';`, 'p/c.ts': `import './b.js';` }).length,
    2,
    'two cycles',
  );
});

t.test('the syntax rule', async (t) => {
  const honest = `// any, @decorator and enum in words are fine\nexport const a = 'x as unknown as y'; export type B = { any: string }; const c = 1 as unknown;`;
  t.same(findings(syntax, { 'p/a.ts': honest, 'p/plugin.ts': 'export default {};' }), []);
  t.same(findings(syntax, { 'packages/x/src/index.ts': `export { default } from './plugin.js';` }), [], 'a door may hand on the default of plugin.ts');
  const offences: [text: string, message: string][] = [
    ['let a: any;', 'any'],
    ['let a = b as unknown as string;', 'as unknown as'],
    ['@dec class A {}', 'decorator'],
    ['enum A { B }', 'enum: use a union of literals'],
    ['const enum A { B }', 'enum: use a union of literals'],
    ['a!.b;', 'non-null assertion'],
    ['export default class A {}', 'default export outside of plugin.ts'],
    ['export default a;', 'default export outside of plugin.ts'],
    ['export { a as default };', 'default export outside of plugin.ts'],
    [['/', '/ @ts-', 'ignore'].join(''), 'a check is silenced'],
    [['/', '/ eslint-', 'disable-next-line'].join(''), 'a check is silenced'],
    [['/', '/ oxlint-', 'disable-next-line'].join(''), 'a check is silenced'],
    [['/', '* biome-', 'ignore lint: x */'].join(''), 'a check is silenced'],
  ];
  for (const [text, message] of offences) t.same(findings(syntax, { 'p/a.ts': `\n${text}` }), [`p/a.ts:2 ${message}`], text);
});

t.test('the shape rule', async (t) => {
  t.same(findings(shape, { 'p/socket-stream.ts': '\n'.repeat(498), 'p/a1.test.ts': '' }), []);
  t.same(findings(shape, { 'p/a.ts': '\n'.repeat(499) }), ['p/a.ts:500 500 lines; 500 are too many']);
  t.same(findings(shape, { 'p/a.test.ts': '\n'.repeat(500) }), [], 'tests may be longer');
  t.same(findings(shape, { 'p/a.test.ts': '\n'.repeat(999) }), ['p/a.test.ts:1000 1000 lines; 1000 are too many']);
  t.same(findings(shape, { 'p/socketStream.ts': '' }), ['p/socketStream.ts:1 file names are kebab-case']);
  t.same(findings(shape, { 'p/string-utils.ts': '' }), ['p/string-utils.ts:1 a name that says nothing']);
});

t.test('the repository', async (t) => {
  const files = parseTree(await readTree(root, ['packages', 'examples', 'test']));
  t.ok(
    files.some(({ path }) => path === 'packages/core/src/net/stream.ts') && files.some(({ path }) => path === 'test/architecture.test.ts'),
    'the files were found',
  );
  const unresolved = files.flatMap((file) =>
    file.imports
      .filter(({ target }) => target?.includes('/src/') && !files.some(({ path }) => path === target))
      .map(({ specifier }) => `${file.path}: ${specifier}`),
  );
  t.same(unresolved, [], 'every relative import of a source was followed to a file');
  for (const [name, rule] of Object.entries({ layers, doors, packages, container, addon, cycles, syntax, shape })) {
    t.same(
      rule(files).map(({ file, line, message }) => `${file}:${line} ${message}`),
      [],
      name,
    );
  }
  const cpp = await readCpp(root);
  t.ok(cpp.has('native/binding/addon.cc'), 'the C++ was found');
  t.same(plainCpp(cpp), [], 'plain C++');
});
