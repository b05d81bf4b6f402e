import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import ts from 'typescript';

/** Source texts by path, relative to the root of the repository, with forward slashes. */
export type Tree = ReadonlyMap<string, string>;

/** A file of the tree with what the rules ask about. */
export interface SourceFile {
  readonly path: string;
  readonly syntax: ts.SourceFile;
  readonly imports: readonly Import[];
}

export interface Import {
  /** As written: './a.js', '@nekit/core', 'node:net'. */
  readonly specifier: string;
  /** The path in the tree that a relative specifier means (`./a.js` is `a.ts`), null for a package. */
  readonly target: string | null;
  /** 1-based. */
  readonly line: number;
}

/** Parses every file; all imports are found: static, re-exports, `import()` and `import('…')` types. */
export function parseTree(tree: Tree): SourceFile[] {
  return [...tree].map(([file, text]) => {
    const syntax = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
    return { path: file, syntax, imports: importsOf(file, syntax) };
  });
}

/** Reads the TypeScript files under the given folders of the repository; build output and dependencies are left out. */
export function readTree(root: string, folders: readonly string[]): Promise<Tree> {
  return readFiles(root, folders, (name) => name.endsWith('.ts') && !name.endsWith('.d.ts') && !/(?:^|\/)(?:node_modules|dist|dist-test|\.tap)\//.test(name));
}

/** Reads the C++ of the addon. */
export function readCpp(root: string): Promise<Tree> {
  return readFiles(root, ['native'], (name) => /\.(?:cc|hh|cpp|hpp|h|c)$/.test(name) && !/^(?:build[^/]*|prebuilds|node_modules)\//.test(name));
}

async function readFiles(root: string, folders: readonly string[], wanted: (name: string) => boolean): Promise<Tree> {
  const tree = new Map<string, string>();
  for (const folder of folders) {
    const names = await readdir(path.join(root, folder), { recursive: true });
    for (const name of names.map((native) => native.split(path.sep).join('/'))) {
      if (!wanted(name)) continue;
      const file = `${folder}/${name}`;
      tree.set(file, await readFile(path.join(root, file), 'utf8'));
    }
  }
  return tree;
}

/** Every node of a file, depth first. */
export function* nodesOf(node: ts.Node): Generator<ts.Node> {
  yield node;
  const children: ts.Node[] = [];
  ts.forEachChild(node, (child) => {
    children.push(child);
  });
  for (const child of children) yield* nodesOf(child);
}

/** 1-based line of a node. */
export function lineOf(syntax: ts.SourceFile, node: ts.Node): number {
  return syntax.getLineAndCharacterOfPosition(node.getStart(syntax)).line + 1;
}

function importsOf(file: string, syntax: ts.SourceFile): Import[] {
  const found: Import[] = [];
  for (const node of nodesOf(syntax)) {
    const literal = specifierOf(node);
    if (literal === undefined || !ts.isStringLiteralLike(literal)) continue;
    const specifier = literal.text;
    const target = specifier.startsWith('.') ? path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, '.ts') : null;
    found.push({ specifier, target, line: lineOf(syntax, literal) });
  }
  return found;
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) return node.arguments[0];
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal;
  return undefined;
}
