/** What `import` is given: a file, the standard input, a link, or where to fetch. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { UsageError } from '../failure.js';
import { fetchDocument } from './fetch.js';

export interface Source {
  readonly text: string;
  /** For people; without what may be secret. */
  readonly label: string;
  /** Where files that it names are looked for: the folder that it lies in, then the working directory. Empty: what came from elsewhere names none. */
  readonly folders: readonly string[];
  /** Somebody else wrote it, just now. */
  readonly remote: boolean;
}

/** Bytes: lists of thousands of servers have one MiB. */
const MAX_BYTES = 16 * 2 ** 20;
const FETCH_MS = 30_000;

/** Rejects with UsageError, or with a plain Error that says why it cannot be read. */
export async function readSource(word: string): Promise<Source> {
  const here = process.cwd();
  if (word === '-') return { text: await readAll(process.stdin, 'the standard input'), label: 'the standard input', folders: [here], remote: false };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(word)?.[1]?.toLowerCase();
  if (scheme === undefined) return { text: await readFile(word), label: word, folders: [...new Set([dirname(resolve(here, word)), here])], remote: false };
  if (scheme === 'https' || scheme === 'ssconf') return fetchSource(word);
  if (scheme === 'http' && !/^http:\/\/[^/?#]*(?:#.*)?$/i.test(word))
    throw new UsageError('servers and their passwords are fetched by https only; a link to an HTTP proxy has no path');
  if (word.includes('\n')) throw new UsageError('one link is expected; several are read from a file or from the standard input (-)');
  return { text: word, label: 'the link', folders: [], remote: false };
}

async function fetchSource(word: string): Promise<Source> {
  const address = word.replace(/^ssconf:/i, 'https:');
  if (!URL.canParse(address)) throw new UsageError('this https:// address cannot be read');
  const { host, pathname } = new URL(address);
  try {
    const bytes = await fetchDocument(address, { timeoutMs: FETCH_MS, maxBytes: MAX_BYTES });
    return { text: decode(bytes, `what ${host} sent`), label: `https://${host}/…`, folders: [], remote: true };
  } catch (error) {
    const hint = pathname === '/' ? ' (a link to an HTTPS proxy is read from a file or from the standard input: -)' : '';
    throw new Error(`${error instanceof Error ? error.message : String(error)}${hint}`, { cause: error });
  }
}

async function readFile(file: string): Promise<string> {
  try {
    if ((await stat(file)).isDirectory()) throw new Error('it is a folder');
  } catch (error) {
    throw new Error(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  return readAll(createReadStream(file, { end: MAX_BYTES }), file);
}

async function readAll(stream: NodeJS.ReadableStream, name: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES / 2 ** 20} MiB`);
    }
  } catch (error) {
    throw new Error(`${name} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  return decode(Buffer.concat(chunks), name);
}

function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new Error(`${name} is not UTF-8 text`, { cause: error });
  }
}
