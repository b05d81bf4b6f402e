import path from 'node:path';
import ts from 'typescript';
import { lineOf, nodesOf, type SourceFile } from './tree.js';

/** A rule broken: where and how. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Looks at all files of the tree and returns what breaks it. */
export type ArchitectureRule = (files: readonly SourceFile[]) => Violation[];

/**
 * The layers of core from the bottom up; a file imports its own layer and lower ones. Layers of one rank do not see each other.
 * `testing` may import anything, and nothing but tests imports it.
 */
const RANKS: Readonly<Record<string, number>> = {
  net: 0,
  ip: 1,
  process: 1,
  native: 2,
  rule: 3,
  adapter: 3,
  provider: 4,
  sniff: 4,
  routing: 5,
  inbound: 6,
  plugin: 7,
  config: 8,
  kernel: 9,
  testing: 10,
};

const CORE = 'packages/core/src/';

/** Import directions inside core, by folder (`kernel.ts` and a folder `kernel/` are one layer). */
export const layers: ArchitectureRule = (files) =>
  files.flatMap((file) => {
    const layer = layerOf(file.path);
    if (layer === null) return [];
    const rank = RANKS[layer];
    if (rank === undefined) return [{ file: file.path, line: 1, message: `"${layer}" is no layer of core (${Object.keys(RANKS).join(', ')})` }];
    return file.imports.flatMap(({ target, line, specifier }) => {
      const other = target === null ? null : layerOf(target);
      if (other === null || other === layer) return [];
      const allowed = (RANKS[other] ?? Number.POSITIVE_INFINITY) < rank;
      return allowed ? [] : [{ file: file.path, line, message: `${layer} imports ${other} (${specifier})` }];
    });
  });

/** The layer of a file of core, null for a public door and for other packages. */
function layerOf(file: string): string | null {
  if (!file.startsWith(CORE) || isDoor(file)) return null;
  const first = file.slice(CORE.length).split('/')[0] ?? '';
  return first.replace(/\.ts$/, '');
}

/** `index.ts`, `ip.ts` and `testing.ts` at the top of a package's `src`: what its exports map points to. */
function isDoor(file: string): boolean {
  return /^(?:packages|examples)\/[^/]+\/src\/(?:index|ip|testing)\.ts$/.test(file);
}

/** A public door only re-exports, and nothing inside its own package comes in through it. */
export const doors: ArchitectureRule = (files) =>
  files.flatMap((file) => {
    const broken: Violation[] = [];
    if (isDoor(file.path)) {
      for (const statement of file.syntax.statements) {
        if (ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined) continue;
        broken.push({ file: file.path, line: lineOf(file.syntax, statement), message: 'a public door only re-exports' });
      }
    }
    for (const { target, line, specifier } of file.imports) {
      const inside = target !== null && isDoor(target) && packageOf(target) === packageOf(file.path) && file.path.includes('/src/');
      if (inside) broken.push({ file: file.path, line, message: `imports the public door of its own package (${specifier})` });
    }
    return broken;
  });

/** Packages know `@nekit/core` and nothing else of ours; core knows none of them; `testing` is for tests. */
export const packages: ArchitectureRule = (files) =>
  files.flatMap((file) => {
    const own = packageOf(file.path);
    if (own === null) return [];
    const isTest = file.path.startsWith(`${own}/test/`);
    const isTestSupport = file.path.startsWith(`${CORE}testing`);
    return file.imports.flatMap(({ specifier, target, line }) => {
      const violation = (message: string): Violation[] => [{ file: file.path, line, message: `${message} (${specifier})` }];
      if (target !== null) {
        if (!`${target}/`.startsWith(`${own}/`)) return violation('a relative import leaves the package');
        if (!isTest && target.startsWith(`${own}/test/`)) return violation('src imports test');
        return [];
      }
      const ours = /^(?:@nekit\/[^/]+|nekit-kernel)/.exec(specifier)?.[0];
      if (ours === undefined) return [];
      if (own === 'packages/core') return isTest || isTestSupport ? [] : violation('core imports another package of ours, or itself by name');
      if (ours !== '@nekit/core') return violation('a package imports another package than @nekit/core');
      if (specifier === '@nekit/core' || specifier === '@nekit/core/ip') return [];
      if (specifier === '@nekit/core/testing') return isTest ? [] : violation('only tests import the testing door');
      return violation('only ".", "./ip" and "./testing" of core are public');
    });
  });

function packageOf(file: string): string | null {
  return /^(?:packages|examples)\/[^/]+/.exec(file)?.[0] ?? null;
}

/** The container is seen where kernels and plugins are put together, and nowhere else. */
export const container: ArchitectureRule = (files) =>
  files.flatMap((file) =>
    file.imports
      .filter(({ specifier }) => /^(?:tsyringe|reflect-metadata)(?:\/|$)/.test(specifier))
      .filter(() => file.path !== `${CORE}kernel.ts` && !file.path.startsWith(`${CORE}plugin/`))
      .map(({ specifier, line }) => ({ file: file.path, line, message: `${specifier} belongs to kernel.ts and plugin/ of core` })),
  );

/** No file reaches itself through its imports. Each cycle is reported once, at the file that comes first in the alphabet. */
export const cycles: ArchitectureRule = (files) => {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const found = new Map<string, Violation>();
  const visit = (file: SourceFile, trail: readonly string[]): void => {
    const start = trail.indexOf(file.path);
    if (start !== -1) {
      const cycle = trail.slice(start);
      const first = [...cycle].sort()[0] ?? file.path;
      const turned = [...cycle.slice(cycle.indexOf(first)), ...cycle.slice(0, cycle.indexOf(first)), first];
      found.set(turned.join(), { file: first, line: 1, message: `import cycle: ${turned.map((part) => path.posix.basename(part)).join(' -> ')}` });
      return;
    }
    if (done.has(file.path)) return;
    for (const { target } of file.imports) {
      const next = target === null ? undefined : byPath.get(target);
      if (next !== undefined) visit(next, [...trail, file.path]);
    }
    done.add(file.path);
  };
  for (const file of files) visit(file, []);
  return [...found.values()];
};

/** The forms of TypeScript that this repository does without. */
export const syntax: ArchitectureRule = (files) =>
  files.flatMap((file) => {
    const broken: Violation[] = [];
    const report = (node: ts.Node, message: string): void => {
      broken.push({ file: file.path, line: lineOf(file.syntax, node), message });
    };
    for (const node of nodesOf(file.syntax)) {
      if (node.kind === ts.SyntaxKind.AnyKeyword) report(node, 'any');
      if (ts.isAsExpression(node) && ts.isAsExpression(node.expression) && node.expression.type.kind === ts.SyntaxKind.UnknownKeyword)
        report(node, 'as unknown as');
      if (ts.isDecorator(node)) report(node, 'decorator');
      if (ts.isEnumDeclaration(node)) report(node, 'enum: use a union of literals');
      if (ts.isNonNullExpression(node)) report(node, 'non-null assertion');
      const isDefault =
        ts.isExportAssignment(node) || (ts.canHaveModifiers(node) && hasDefaultModifier(node)) || (ts.isExportSpecifier(node) && node.name.text === 'default');
      if (isDefault && path.posix.basename(file.path) !== 'plugin.ts' && !(isDoor(file.path) && ts.isExportSpecifier(node)))
        report(node, 'default export outside of plugin.ts');
    }
    const silenced = /(?:\/\/|\/\*)\s*(?:@ts-(?:ignore|nocheck|expect-error)|(?:eslint|oxlint)-disable|biome-ignore)/;
    file.syntax.text.split('\n').forEach((text, index) => {
      if (silenced.test(text)) broken.push({ file: file.path, line: index + 1, message: 'a check is silenced' });
    });
    return broken;
  });

function hasDefaultModifier(node: ts.HasModifiers): boolean {
  return ts.getModifiers(node)?.some((modifier) => modifier.kind === ts.SyntaxKind.DefaultKeyword) ?? false;
}

const LINE_LIMIT = 500;

/** Each test file costs a second to start, so they may be longer. */
const TEST_LINE_LIMIT = 1000;

/** Files that a reader can hold in mind, named after what they hold. */
export const shape: ArchitectureRule = (files) =>
  files.flatMap((file) => {
    const broken: Violation[] = [];
    const lines = file.syntax.text.split('\n').length;
    const limit = file.path.endsWith('.test.ts') ? TEST_LINE_LIMIT : LINE_LIMIT;
    if (lines >= limit) broken.push({ file: file.path, line: limit, message: `${lines} lines; ${limit} are too many` });
    const name = path.posix.basename(file.path);
    if (!/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test)?\.ts$/.test(name)) broken.push({ file: file.path, line: 1, message: 'file names are kebab-case' });
    if (/(?:^|-)(?:utils?|helpers?|manager|service|common|misc)\.ts$/.test(name))
      broken.push({ file: file.path, line: 1, message: 'a name that says nothing' });
    return broken;
  });
