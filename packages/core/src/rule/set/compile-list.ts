/** Lists of rules (`rule-providers`), from the bytes of a file to a set that sessions are compared with. */
import type { Cancel } from '../../net/cancel.js';
import type { CompiledSet } from '../rule-set.js';
import { AddressList } from './address-list.js';
import { type BuildRule, ClassicalList } from './classical-list.js';
import { DomainList } from './domain-list.js';
import { type ListKind, refuseBinary } from './inspect-list.js';
import { type EntrySink, readLines } from './lines.js';
import { ListNotes, type ListProblem } from './list-notes.js';
import { NekitList } from './nekit-list.js';
import { Pace } from './pace.js';
import { readSingBox } from './sing-box-list.js';
import { readYaml } from './yaml-list.js';

export interface CompileOptions extends ListKind {
  readonly buildRule: BuildRule;
  /** Stops the work. */
  readonly signal?: Cancel;
}

export interface CompiledList {
  readonly set: CompiledSet;
  /** That were understood. */
  readonly entries: number;
  /** How many of each kind, in the words of the format. */
  readonly kinds: ReadonlyMap<string, number>;
  /** The first ones of `problemCount`. */
  readonly problems: readonly ListProblem[];
  readonly problemCount: number;
}

/**
 * An entry that is not understood is a problem and left out. Rejects with a plain Error if the whole is no list of that format, is too long, or `signal`
 * fires. A list of millions takes a second or two; every few milliseconds the rest of the process has its turn. The bytes are only read, and must not
 * change meanwhile.
 */
export async function compileList(bytes: Uint8Array, options: CompileOptions): Promise<CompiledList> {
  refuseBinary(bytes);
  const notes = new ListNotes();
  const set = await compile(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), options, notes, new Pace(options.signal));
  const { entries, kinds, problems, problemCount } = notes;
  return { set, entries, kinds, problems, problemCount };
}

async function compile(bytes: Buffer, options: CompileOptions, notes: ListNotes, pace: Pace): Promise<CompiledSet> {
  if (options.format === 'sing-box') return readSingBox(bytes, notes, options.buildRule, pace);
  const list = listOf(options, notes);
  if (options.format === 'yaml') await readYaml(bytes, notes, list, pace);
  else await readLines(bytes, notes, list, pace);
  return list.build(pace);
}

interface List extends EntrySink {
  build(pace: Pace): Promise<CompiledSet>;
}

function listOf({ behavior, format, buildRule }: CompileOptions, notes: ListNotes): List {
  switch (behavior) {
    case 'domain':
      return format === 'nekit' ? new NekitList(notes, buildRule) : new DomainList(notes);
    case 'ipcidr':
      return new AddressList(notes, format === 'nekit');
    case 'classical':
      if (format === 'nekit') throw new Error('lists of the format nekit hold names (behavior domain) or networks (behavior ipcidr)');
      return new ClassicalList(notes, buildRule);
  }
}
