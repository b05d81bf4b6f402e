/**
 * YAML text to a tree of nodes, with bounds. The library composes recursively, and a deep enough nest of brackets ends the whole process
 * (V8 runs out of stack inside a regular expression), so the depth is watched while its parser, which is not recursive, runs.
 */
import { Composer, type Document, Lexer, LineCounter, Parser, type YAMLError } from 'yaml';

/** Deeper than any config; the tree, its checks and the JSON Schema walks are recursive. */
export const MAX_DEPTH = 64;

export interface YamlTree {
  readonly root: Document.Parsed['contents'];
  readonly lines: LineCounter;
  readonly faults: readonly Fault[];
}

/** Something wrong with the text, at an offset. Its message holds nothing of the text: that could be a secret. */
export interface Fault {
  readonly offset: number;
  readonly message: string;
}

class TooDeep extends Error {}

export function parseTree(text: string): YamlTree {
  const lines = new LineCounter();
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const faults: Fault[] = [];
  let document: Document.Parsed | null = null;
  try {
    // uniqueKeys compares every key with every other one; our own walk finds duplicates with a set.
    const composer = new Composer({ version: '1.2', schema: 'core', merge: false, uniqueKeys: false, logLevel: 'silent' });
    for (const next of composer.compose(tokens(parser, text), true, text.length)) {
      if (document === null) document = next;
      else faults.push({ offset: next.range[0], message: 'a second document starts here; put everything into one' });
    }
  } catch (error) {
    if (!(error instanceof TooDeep)) throw error;
    faults.push({ offset: parser.offset, message: `nested too deeply (at most ${MAX_DEPTH} levels)` });
    return { root: null, lines, faults };
  }
  for (const error of [...(document?.errors ?? []), ...(document?.warnings ?? [])]) faults.push(toFault(error));
  return { root: document?.contents ?? null, lines, faults };
}

function* tokens(parser: Parser, text: string): Generator<ReturnType<Parser['next']> extends Generator<infer T> ? T : never, void> {
  for (const lexeme of new Lexer().lex(text)) {
    if (parser.stack.length > MAX_DEPTH) throw new TooDeep();
    yield* parser.next(lexeme);
  }
  yield* parser.end();
}

/** In our words: the library's own messages may quote the text, and are written for people who know YAML's grammar. */
const MESSAGES: Partial<Record<YAMLError['code'], string>> = {
  TAB_AS_INDENT: 'a tab is used for indentation; YAML wants spaces',
  BAD_INDENT: 'the indentation does not fit the lines above, or a bracket is not closed',
  MISSING_CHAR: 'something is missing here: a closing quote, bracket or brace, a comma, a colon or the space behind it',
  BAD_SCALAR_START: 'a value that starts with this character must be put in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'two keys on one line; put the value in quotes if it holds ": "',
  BAD_DQ_ESCAPE: 'unknown escape in double quotes; use single quotes or write \\\\ for a backslash',
  MULTILINE_IMPLICIT_KEY: 'a key without a colon, or a value that goes on at the wrong indentation',
  TAG_RESOLVE_FAILED: 'tags (!…) are not supported; put the value in quotes if it starts with "!"',
  BAD_ALIAS: 'an alias or anchor without a name; put the value in quotes if it starts with "*" or "&"',
  UNEXPECTED_TOKEN: 'this is not expected here; a dash, a colon or a bracket is missing or too much',
  BLOCK_IN_FLOW: 'lines with dashes or indented keys cannot stand inside of brackets or braces',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters; is a quote not closed?',
  BAD_DIRECTIVE: 'bad %directive',
  MULTIPLE_ANCHORS: 'two anchors on one value',
  MULTIPLE_TAGS: 'two tags on one value',
};

function toFault(error: YAMLError): Fault {
  return { offset: error.pos[0], message: MESSAGES[error.code] ?? `this is not YAML (${error.code.toLowerCase().replaceAll('_', ' ')})` };
}
