import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { CheckedList } from '@nekit/core';
import { UsageError } from '../failure.js';
import { CONFIG, JSON_OUTPUT, PLUGINS, parse, splitNames } from '../options.js';

/** Bytes of a file: twenty million entries have fewer. */
const MAX_FILE = 2 ** 30;

/** 0 if every entry is understood, 1 if not. */
export async function rules(args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(args, { ...CONFIG, ...PLUGINS, ...JSON_OUTPUT, behavior: { type: 'string' }, format: { type: 'string' } }, 1);
  const [file] = positionals;
  if (file === undefined) throw new UsageError('name the list: nekit-kernel rules FILE');
  const { BEHAVIORS, checkList, clean, LIST_FORMATS } = await import('@nekit/core');
  const behavior = oneOf('--behavior', values.behavior, BEHAVIORS);
  const format = oneOf('--format', values.format, LIST_FORMATS);
  const { prepare } = await import('../setup.js');
  const bytes = await read(file);
  const { registry } = await prepare({ config: values.config, plugins: splitNames(values.plugins) });
  const list = await checkList(bytes, registry, { ...(behavior === null ? {} : { behavior }), ...(format === null ? {} : { format }) }).catch(
    (error: unknown) => {
      throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    },
  );
  process.stdout.write(values.json === true ? `${toJSON(file, list)}\n` : `${describe(file, list).map(clean).join('\n')}\n`);
  return list.problemCount === 0 ? 0 : 1;
}

function oneOf<T extends string>(option: string, value: string | undefined, words: readonly T[]): T | null {
  if (value === undefined) return null;
  const word = words.find((known) => known === value);
  if (word === undefined) throw new UsageError(`${option} must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}`);
  return word;
}

async function read(file: string): Promise<Buffer> {
  try {
    if (!(await stat(file)).isFile()) throw new Error('it is no regular file');
    // One byte more than allowed at most: what is named may be a pipe, a device or a disk image.
    const chunks: Uint8Array[] = [];
    for await (const chunk of createReadStream(file, { end: MAX_FILE }) as AsyncIterable<Uint8Array>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (bytes.length > MAX_FILE) throw new Error(`it has more than ${MAX_FILE / 2 ** 20} MiB`);
    return bytes;
  } catch (error) {
    throw new Error(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function toJSON(file: string, list: CheckedList): string {
  const { format, behavior, entries, kinds, problems, problemCount } = list;
  return JSON.stringify({ file, format, behavior, entries, kinds: Object.fromEntries(kinds), problems, problemCount });
}

function describe(file: string, list: CheckedList): string[] {
  const more = list.problemCount - list.problems.length;
  const width = String(list.entries).length;
  return [
    ...list.problems.map(({ line, text, message }) => `${file}${line === null ? '' : `:${line}`}: ${message.includes(text) ? message : `${text}: ${message}`}`),
    ...(more === 0 ? [] : [`${file}: … and ${more} more`]),
    `${file}: format ${list.format}, behavior ${list.behavior}`,
    `${list.entries} ${list.entries === 1 ? 'entry' : 'entries'}${list.problemCount === 0 ? '' : `, ${list.problemCount} more that were not understood`}`,
    ...[...list.kinds].map(([kind, count]) => `  ${String(count).padStart(width)}  ${kind}`),
  ];
}
