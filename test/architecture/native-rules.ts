import ts from 'typescript';
import type { ArchitectureRule, Violation } from './rules.js';
import { lineOf, nodesOf, type Tree } from './tree.js';

const LOADER = 'packages/core/src/native/load.ts';

/** Only core's loader requires the addon; everybody else is handed it. */
export const addon: ArchitectureRule = (files) =>
  files.flatMap((file) => {
    if (file.path === LOADER || !file.path.includes('/src/')) return [];
    return [...nodesOf(file.syntax)]
      .filter((node) => ts.isStringLiteralLike(node) && /^@nekit\/native(?:[/-]|$)|\.node$/.test(node.text))
      .map((node) => ({ file: file.path, line: lineOf(file.syntax, node), message: `only ${LOADER} knows where the addon is` }));
  });

/** Node-API is for `binding/` alone: the rest builds, runs and is fuzzed without Node. Nor does the rest know the binding. */
export function plainCpp(tree: Tree): Violation[] {
  return [...tree].flatMap(([file, text]) => {
    if (!file.startsWith('native/') || file.startsWith('native/binding/')) return [];
    return text.split('\n').flatMap((line, index) => {
      const header = /^\s*#\s*include\s*[<"]([^>"]+)[>"]/.exec(line)?.[1] ?? '';
      const forbidden = /(?:^|\/)(?:napi(?:-inl)?|node_api(?:_types)?|js_native_api(?:_types)?|node|v8|uv)\.h$|(?:^|\/)binding\//.test(header);
      return forbidden ? [{ file, line: index + 1, message: `plain C++ includes ${header}` }] : [];
    });
  });
}
