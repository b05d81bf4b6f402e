import { createReadStream } from 'node:fs';
import { type Alias, isAlias, isMap, isScalar, isSeq, type LineCounter, type Pair } from 'yaml';
import { errorCode } from '../net/errors.js';
import { ConfigError } from './config-error.js';
import { SHOWN_KEYS } from './known-keys.js';
import { isMergeKey, keyText, startOf, toPlain } from './plain.js';
import type { Problem } from './problem.js';
import { isSecretPath, maskUris } from './secrets.js';
import type { ConfigSource, Path, Position } from './source.js';
import { type Fault, parseTree } from './yaml-tree.js';

/** Large subscriptions with all their rules written out are 1 to 3 MiB. */
export const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * Reads a YAML (or JSON) file. Errors of the text are in `problems`.
 * Rejects with ConfigError when the file cannot be read, is too large or is not UTF-8.
 */
export async function loadConfig(file: string): Promise<ConfigSource> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    // One byte more than allowed at most: what is named may be a pipe, a device or a disk image.
    for await (const chunk of createReadStream(file, { end: MAX_FILE_BYTES }) as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      length += chunk.length;
    }
  } catch (error) {
    throw unreadable(file, WHY[errorCode(error)] ?? `cannot be read (${errorCode(error)})`, error);
  }
  if (length > MAX_FILE_BYTES) throw unreadable(file, `is longer than ${MAX_FILE_BYTES / 1024 / 1024} MiB`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)); // takes the byte order mark away
  } catch (error) {
    throw unreadable(file, 'is not UTF-8 text; save it as UTF-8', error);
  }
  return parseConfig(text, file);
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EISDIR: 'is a folder; name the file in it',
  EACCES: 'may not be read by this user',
};

function unreadable(file: string, why: string, cause?: unknown): ConfigError {
  const problem: Problem = {
    severity: 'error',
    code: 'UNREADABLE',
    message: `the config file ${why}`,
    path: [],
    file,
    line: null,
    column: null,
    excerpt: null,
  };
  return new ConfigError([problem], { cause });
}

/** YAML 1.2 (core schema) with anchors, aliases and merge keys; no tags. An empty text is an empty config. Never throws. */
export function parseConfig(text: string, fileName: string): ConfigSource {
  const body = text.startsWith('\ufeff') ? text.slice(1) : text;
  const tree = parseTree(body);
  const plain = toPlain(tree.root);
  const file = new YamlFile(fileName, body, tree.root, tree.lines, plain.targets);
  // What the parser could not read makes nonsense of what follows; duplicates and the like are told when all of it could be read.
  const faults: readonly (Fault & { readonly other?: number })[] = tree.faults.length > 0 ? tree.faults : plain.faults;
  return {
    file: fileName,
    value: plain.value ?? {},
    problems: firstPerLine([...faults].sort((a, b) => a.offset - b.offset).map((fault) => file.problem(fault))),
    locate: (path, part) => file.locate(path, part ?? 'value'),
    text: (path) => file.text(path),
  };
}

/** One slip makes the parser stumble several times. */
function firstPerLine(problems: readonly Problem[]): Problem[] {
  return problems.filter((problem, index) => problem.line !== problems[index - 1]?.line);
}

interface Place {
  readonly key: unknown;
  readonly value: unknown;
}

class YamlFile {
  readonly #file: string;
  readonly #text: string;
  readonly #root: unknown;
  readonly #lines: LineCounter;
  readonly #targets: ReadonlyMap<Alias, unknown>;

  constructor(file: string, text: string, root: unknown, lines: LineCounter, targets: ReadonlyMap<Alias, unknown>) {
    this.#file = file;
    this.#text = text;
    this.#root = root;
    this.#lines = lines;
    this.#targets = targets;
  }

  locate(path: Path, part: 'key' | 'value'): Position | null {
    const { place, depth } = this.#find(path);
    const found = depth === path.length;
    const keyAt = startOf(place.key);
    const atKey = part === 'key' && found && keyAt !== null;
    const at = atKey ? keyAt : (startOf(place.value) ?? keyAt ?? 0);
    // Behind a key that nobody knows (`pasword:`) may stand a secret; the message names the key anyway. A text without keys may be anything.
    const shown = found && !atKey && path.length > 0 && !isSecretPath(path);
    return { file: this.#file, ...this.#lineColumn(at), excerpt: shown ? this.#excerpt(place) : null };
  }

  text(path: Path): string | null {
    const { place, depth } = this.#find(path);
    if (depth !== path.length) return null;
    const node = this.#resolve(place.value);
    return isScalar(node) ? (node.source ?? null) : null;
  }

  problem(fault: Fault & { readonly other?: number }): Problem {
    const other = fault.other === undefined ? '' : `; the first one is in line ${this.#lineColumn(fault.other).line}`;
    return {
      severity: 'error',
      code: 'YAML',
      message: fault.message + other,
      path: [],
      file: this.#file,
      ...this.#lineColumn(fault.offset),
      excerpt: this.#keyOfLine(fault.offset),
    };
  }

  /** As far down the path as it goes. */
  #find(path: Path): { place: Place; depth: number } {
    let place: Place = { key: null, value: this.#root };
    let depth = 0;
    for (; depth < path.length; depth++) {
      const next = this.#child(this.#resolve(place.value), path[depth] ?? '');
      if (next === null) break;
      place = next;
    }
    return { place, depth };
  }

  #child(node: unknown, key: string | number): Place | null {
    if (isSeq(node)) {
      const item = typeof key === 'number' ? node.items[key] : undefined;
      return item === undefined ? null : { key: null, value: item };
    }
    if (!isMap(node)) return null;
    const pair = node.items.findLast((item) => isScalar(item.key) && !isMergeKey(item) && keyText(item.key) === String(key));
    if (pair !== undefined) return pair;
    for (const item of node.items) {
      const merged = isMergeKey(item) ? this.#merged(item, key) : null;
      if (merged !== null) return merged;
    }
    return null;
  }

  #merged(pair: Pair, key: string | number): Place | null {
    const source = this.#resolve(pair.value);
    for (const node of isSeq(source) ? source.items : [source]) {
      const found = this.#child(this.#resolve(node), key);
      if (found !== null) return found;
    }
    return null;
  }

  #resolve(node: unknown): unknown {
    return isAlias(node) ? this.#targets.get(node) : node;
  }

  #lineColumn(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(Math.min(offset, this.#text.length));
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  /** A scalar with its key. Sections are not shown: their place says enough, and there may be secrets in them. */
  #excerpt({ key, value }: Place): string | null {
    if (!isScalar(value) || !value.range) return null;
    const start = startOf(key) ?? value.range[0];
    return shorten(maskUris(this.#text.slice(start, value.range[1])));
  }

  /** Where the text is broken nobody knows what is a secret and what is not, so only a well-known key at the start of the line is shown. */
  #keyOfLine(offset: number): string | null {
    const start = this.#text.lastIndexOf('\n', offset - 1) + 1;
    const end = this.#text.indexOf('\n', start);
    const match = /^\s*(?:-\s+)*([A-Za-z][\w.-]{0,40})\s*:(?:\s|$)/.exec(this.#text.slice(start, end === -1 ? undefined : end));
    return match?.[1] === undefined || !SHOWN_KEYS.has(match[1]) ? null : `${match[1]}: …`;
  }
}

const EXCERPT_LENGTH = 120;

function shorten(text: string): string {
  const line = text.split(/[\r\n]/, 1)[0] ?? '';
  return line.length < text.length || line.length > EXCERPT_LENGTH ? `${line.slice(0, EXCERPT_LENGTH)}…` : line;
}
