/**
 * One rule of a sing-box rule-set. Within a rule its entries are joined so:
 *   (domain | domain_suffix | domain_keyword | domain_regex | ip_cidr) & (port | port_range) & source_ip_cidr & (source_port | source_port_range)
 *   & network & process_name & process_path & process_path_regex
 * Nothing may make a rule hold for more than its author meant: an entry that is not understood is left out where that makes it hold for less, and takes the
 * whole rule with it elsewhere.
 */
import { parsePort } from '../../net/endpoint.js';
import { CidrSetBuilder } from '../cidr-set.js';
import type { BuildRule } from './classical-list.js';
import { plainName } from './domain-entry.js';
import { BELOW, type HashSeed, SELF } from './domain-set.js';
import { DomainSetBuilder } from './domain-set-builder.js';
import { type Pace, paced } from './pace.js';
import { AddressPart, AllOf, AnyOf, DomainPart, Inverse, NetworkPart, type Part, PortPart, RulePart, SourcePart } from './parts.js';

export const TEXT_FIELDS = [
  'domain',
  'domain_suffix',
  'domain_keyword',
  'domain_regex',
  'ip_cidr',
  'source_ip_cidr',
  'port_range',
  'source_port_range',
  'network',
  'process_name',
  'process_path',
  'process_path_regex',
] as const;
/** Whose entries go into a set; any other entry stands for itself. */
export const SET_FIELDS = ['domain', 'domain_suffix', 'ip_cidr', 'source_ip_cidr'] as const satisfies readonly TextField[];
export const NUMBER_FIELDS = ['port', 'source_port'] as const;
export type TextField = (typeof TEXT_FIELDS)[number];
export type NumberField = (typeof NUMBER_FIELDS)[number];

/** Fields of one group are alternatives. */
const GROUPS = {
  domain: 'destination',
  domain_suffix: 'destination',
  domain_keyword: 'destination',
  domain_regex: 'destination',
  ip_cidr: 'destination',
  source_ip_cidr: 'source',
  port: 'port',
  port_range: 'port',
  source_port: 'source port',
  source_port_range: 'source port',
  network: 'network',
  process_name: 'process name',
  process_path: 'process path',
  process_path_regex: 'process path expression',
} as const satisfies Record<TextField | NumberField, string>;

const PLUS = 0x2b;
const DOT = 0x2e;
const STAR = 0x2a;

/** What one rule's destinations are, or those of many rules that ask for nothing else. */
export class Destinations {
  readonly #seed: HashSeed;
  #domains: DomainSetBuilder | null = null;
  #cidrs: CidrSetBuilder | null = null;
  readonly rules: Part[] = [];

  constructor(seed: HashSeed) {
    this.#seed = seed;
  }

  get domains(): DomainSetBuilder {
    this.#domains ??= new DomainSetBuilder(this.#seed);
    return this.#domains;
  }

  get cidrs(): CidrSetBuilder {
    this.#cidrs ??= new CidrSetBuilder();
    return this.#cidrs;
  }

  /** They may have to be looked up. */
  get hasAddresses(): boolean {
    return this.#cidrs !== null;
  }

  append(other: Destinations): void {
    if (other.#domains !== null) this.domains.append(other.#domains);
    if (other.#cidrs !== null) this.cidrs.append(other.#cidrs);
    for (const rule of other.rules) this.rules.push(rule);
  }

  /** Names first: where one holds nothing is looked up. */
  async names(pace: Pace): Promise<Part[]> {
    return [...(this.#domains === null ? [] : [new DomainPart(await paced(this.#domains.steps(), pace))]), ...this.rules];
  }

  async addresses(pace: Pace): Promise<Part[]> {
    return this.#cidrs === null ? [] : [new AddressPart(await paced(this.#cidrs.steps(), pace), false)];
  }
}

/** A rule while it is read. */
export class RuleDraft {
  readonly destinations: Destinations;
  /** Good entries of each field. */
  readonly counts = new Map<TextField | NumberField, number>();
  /** The same of the rules in it. */
  readonly inner = new Map<TextField | NumberField, number>();
  /** Entries that were not understood. */
  failures = 0;
  invert = false;
  type = 'default';
  mode: string | null = null;
  /** Of a logical rule. */
  subRules: Part[] | null = null;
  /** Why it cannot be used. */
  broken: string | null = null;
  /** It or one of its rules is the opposite of what it says. */
  inverts = false;
  /** It may wait for something. */
  slow = false;
  readonly #buildRule: BuildRule;
  readonly #written = new Set<TextField | NumberField>();
  readonly #sources = new CidrSetBuilder();
  readonly #ports: number[] = [];
  readonly #sourcePorts: number[] = [];
  readonly #networks = new Set<string>();
  readonly #processes = new Map<string, Part[]>();

  constructor(seed: HashSeed, buildRule: BuildRule) {
    this.destinations = new Destinations(seed);
    this.#buildRule = buildRule;
  }

  /** An entry. Throws a plain Error, and then the entry counts as a failure. */
  takeText(field: TextField, bytes: Buffer, start: number, end: number): void {
    this.#written.add(field);
    try {
      if (!this.#takeBytes(field, bytes, start, end)) this.#takeString(field, bytes.toString('utf8', start, end));
      this.#good(field);
    } catch (error) {
      this.failures++;
      throw error;
    }
  }

  takeNumber(field: NumberField, value: unknown): void {
    this.#written.add(field);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 65535)
      this.fail(field, `${field}: ${String(value)} is no port, 0 to 65535`);
    (field === 'port' ? this.#ports : this.#sourcePorts).push(value, value);
    this.#good(field);
  }

  /** Throws the message, for an entry that is not understood. */
  fail(field: TextField | NumberField, message: string): never {
    this.#written.add(field);
    this.failures++;
    throw new Error(message);
  }

  /** Whether it asks for nothing but destinations, so that many such rules can be one set. */
  get isPlain(): boolean {
    return this.type === 'default' && !this.invert && this.#written.size > 0 && [...this.#written].every((field) => GROUPS[field] === 'destination');
  }

  /** Why the rule cannot be used, for a person, or null. */
  get refusal(): string | null {
    if (this.broken !== null) return this.broken;
    if (this.type === 'logical') {
      if (this.mode !== 'and' && this.mode !== 'or') return 'a logical rule has the mode "and" or "or"';
      if (this.#written.size > 0) return `a logical rule has no "${[...this.#written][0]}" of its own`;
      return this.subRules === null || this.subRules.length === 0 ? 'a logical rule has "rules", at least one' : null;
    }
    if (this.type !== 'default' && this.type !== '') return `there is no type "${this.type}": "default" and "logical" are known`;
    if (this.mode !== null || this.subRules !== null) return '"mode" and "rules" are for rules with "type": "logical"';
    if (this.#written.size === 0) return 'it has no condition, and would hold for everything';
    const groups = new Set([...this.counts.keys()].map((field) => GROUPS[field]));
    const lost = [...this.#written].find((field) => !groups.has(GROUPS[field]));
    return lost === undefined ? null : `no entry of its "${lost}" could be understood, and without them it would hold for more`;
  }

  async build(pace: Pace): Promise<Part> {
    const whole = this.type === 'logical' ? this.#logical() : await this.#conditions(pace);
    return this.invert ? new Inverse(whole) : whole;
  }

  #logical(): Part {
    const rules = this.subRules ?? [];
    return this.mode === 'and' ? new AllOf(rules) : new AnyOf(rules);
  }

  /** What is known at once comes first. */
  async #conditions(pace: Pace): Promise<Part> {
    const parts: Part[] = [];
    if (this.#networks.size > 0) parts.push(new NetworkPart(this.#networks));
    if (this.#ports.length > 0) parts.push(new PortPart(this.#ports, 'destination'));
    if (this.#sourcePorts.length > 0) parts.push(new PortPart(this.#sourcePorts, 'source'));
    if (this.#sources.entries > 0) parts.push(new SourcePart(await paced(this.#sources.steps(), pace)));
    const destinations = [...(await this.destinations.names(pace)), ...(await this.destinations.addresses(pace))];
    if (destinations.length > 0) parts.push(new AnyOf(destinations));
    for (const alternatives of this.#processes.values()) parts.push(new AnyOf(alternatives));
    return new AllOf(parts);
  }

  #good(field: TextField | NumberField): void {
    this.counts.set(field, (this.counts.get(field) ?? 0) + 1);
    if (field === 'ip_cidr' || field.startsWith('process_')) this.slow = true;
  }

  /** The entries that long lists are made of, without a string for each. */
  #takeBytes(field: TextField, bytes: Buffer, start: number, end: number): boolean {
    const first = bytes[start];
    switch (field) {
      case 'domain':
        return first !== DOT && first !== PLUS && first !== STAR && this.destinations.domains.addBytes(bytes, start, end);
      case 'domain_suffix':
        return first !== PLUS && first !== STAR && this.destinations.domains.addBytes(bytes, start, end, SELF | BELOW);
      case 'ip_cidr':
        return this.destinations.cidrs.addBytes(bytes, start, end);
      default:
        return false;
    }
  }

  #takeString(field: TextField, text: string): void {
    switch (field) {
      case 'domain':
        this.destinations.domains.addEntry({ name: plainName(text, text), flags: SELF });
        break;
      case 'domain_suffix': {
        const below = text.startsWith('.');
        this.destinations.domains.addEntry({ name: plainName(text, below ? text.slice(1) : text), flags: below ? BELOW : SELF | BELOW });
        break;
      }
      case 'domain_keyword':
        this.destinations.rules.push(this.#rule('DOMAIN-KEYWORD', text));
        break;
      case 'domain_regex':
        this.destinations.rules.push(this.#rule('DOMAIN-REGEX', text));
        break;
      case 'ip_cidr':
        this.destinations.cidrs.add(text);
        break;
      case 'source_ip_cidr':
        this.#sources.add(text);
        break;
      case 'port_range':
        this.#ports.push(...portRange(text));
        break;
      case 'source_port_range':
        this.#sourcePorts.push(...portRange(text));
        break;
      case 'network':
        if (text !== 'tcp' && text !== 'udp') throw new Error(`network: "${text}" is not known: "tcp" and "udp" are`);
        this.#networks.add(text);
        break;
      default:
        this.#process(field, text);
    }
  }

  #process(field: TextField, text: string): void {
    const part = this.#rule(field.toUpperCase().replaceAll('_', '-'), text);
    const parts = this.#processes.get(field);
    if (parts === undefined) this.#processes.set(field, [part]);
    else parts.push(part);
  }

  #rule(kind: string, payload: string): Part {
    // Elsewhere than in an expression, what stands behind a comma would be a parameter.
    if (payload.includes(',') && !kind.endsWith('-REGEX')) throw new Error(`"${payload}" has a comma in it, which ${kind} cannot have`);
    return new RulePart(this.#buildRule(`${kind},${payload}`));
  }
}

/** `1000:2000`, `:3000`, `4000:`. */
function portRange(text: string): [number, number] {
  const [low = '', high, more] = text.split(':');
  const first = low === '' ? 0 : parsePort(low);
  const last = high === '' ? 65535 : high === undefined ? null : parsePort(high);
  if (first === null || last === null || more !== undefined || text === ':' || first > last)
    throw new Error(`"${text}" is no range of ports: write 1000:2000, :3000 or 4000:`);
  return [first, last];
}
