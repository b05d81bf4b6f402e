import { CidrSetBuilder } from '../cidr-set.js';
import type { Rule } from '../rule.js';
import type { CompiledSet } from '../rule-set.js';
import { BELOW, SELF } from './domain-set.js';
import { DomainSetBuilder } from './domain-set-builder.js';
import type { EntrySink } from './lines.js';
import type { ListNotes } from './list-notes.js';
import { type Pace, paced } from './pace.js';
import { AddressPart, DomainPart, type Part, PartSet, RulePart, SourcePart } from './parts.js';

/** `KIND,payload[,parameter…]`, without a target. Throws a plain Error. */
export type BuildRule = (text: string) => Rule;

/** A list of rules. Names and networks are put into sets; the other rules are asked one by one, in the order of the list. */
export class ClassicalList implements EntrySink {
  readonly #notes: ListNotes;
  readonly #buildRule: BuildRule;
  readonly #domains = new DomainSetBuilder();
  readonly #sources = new CidrSetBuilder();
  readonly #known = new CidrSetBuilder();
  readonly #resolved = new CidrSetBuilder();
  readonly #rules: Part[] = [];

  constructor(notes: ListNotes, buildRule: BuildRule) {
    this.#notes = notes;
    this.#buildRule = buildRule;
  }

  entry(bytes: Buffer, start: number, end: number, line: number): boolean {
    const kind = this.#quick(bytes, start, end);
    if (kind !== null) {
      this.#notes.count(kind);
      return false;
    }
    const text = withoutRemark(bytes.toString('utf8', start, end));
    let single: boolean;
    try {
      single = this.#add(this.#buildRule(text));
    } catch (error) {
      this.#notes.problem(line, text, error);
      return true;
    }
    if (single) this.#notes.single(text.length);
    this.#notes.count(kindOf(text));
    return true;
  }

  async build(pace: Pace): Promise<CompiledSet> {
    const quick: Part[] = [];
    if (this.#domains.entries > 0) quick.push(new DomainPart(await paced(this.#domains.steps(), pace)));
    if (this.#sources.entries > 0) quick.push(new SourcePart(await paced(this.#sources.steps(), pace)));
    if (this.#known.entries > 0) quick.push(new AddressPart(await paced(this.#known.steps(), pace), true));
    const last = this.#resolved.entries === 0 ? [] : [new AddressPart(await paced(this.#resolved.steps(), pace), false)];
    return new PartSet(this.#notes.entries, [...quick, ...this.#rules, ...last]);
  }

  /** Whether it stands for itself, in no set. */
  #add(rule: Rule): boolean {
    const { index } = rule;
    if (index === undefined) this.#rules.push(new RulePart(rule));
    else if (index.family === 'domain') this.#domains.addName(index.name, index.self, index.below);
    else (index.noResolve ? this.#known : this.#resolved).addCidr(index.cidr);
    return index === undefined;
  }

  /**
   * The lines that long lists are made of, plain names and IPv4 networks, without a string or a rule for each. Says the same as their kinds do. null: not
   * of that sort, and nothing was added.
   */
  #quick(bytes: Buffer, start: number, end: number): string | null {
    const kind = QUICK.find(({ word }) => beginsWith(bytes, start, end, word))?.kind;
    if (kind === undefined) return null;
    const from = start + kind.length + 1;
    if (kind === 'DOMAIN' || kind === 'DOMAIN-SUFFIX') {
      const first = bytes[from];
      if (first === PLUS || first === DOT || first === STAR) return null;
      return this.#domains.addBytes(bytes, from, end, kind === 'DOMAIN' ? SELF : SELF | BELOW) ? kind : null;
    }
    const noResolve = endsIn(bytes, from, end, NO_RESOLVE);
    const stop = noResolve ? end - NO_RESOLVE.length : end;
    const builder = kind === 'SRC-IP-CIDR' ? this.#sources : noResolve ? this.#known : this.#resolved;
    return builder.addBytes(bytes, from, stop) ? kind : null;
  }
}

const PLUS = 0x2b;
const DOT = 0x2e;
const STAR = 0x2a;
const NO_RESOLVE = Buffer.from(',no-resolve');
const QUICK = (['DOMAIN-SUFFIX', 'DOMAIN', 'IP-CIDR', 'SRC-IP-CIDR'] as const).map((kind) => ({ kind, word: Buffer.from(`${kind},`) }));

function beginsWith(bytes: Buffer, start: number, end: number, word: Buffer): boolean {
  if (end - start < word.length) return false;
  for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word[i]) return false;
  return true;
}

function endsIn(bytes: Buffer, start: number, end: number, word: Buffer): boolean {
  return end - start > word.length && beginsWith(bytes, end - word.length, end, word);
}

function kindOf(text: string): string {
  const comma = text.indexOf(',');
  return (comma === -1 ? text : text.slice(0, comma)).trim().toUpperCase();
}

/** Surge's lists have remarks behind their rules. In names and networks there are neither spaces nor `#`; elsewhere there may be. */
function withoutRemark(text: string): string {
  return /^\s*(?:DOMAIN(?!-REGEX)|(?:SRC-)?IP-)/i.test(text) ? text.replace(/\s+(?:#|\/\/).*$/, '') : text;
}
