/** Rules as text, Clash's way, and the building of a rule from its parts. */
import { closest } from '../net/closest.js';
import type { RuleContext, RuleDefinition } from './definition.js';
import type { Rule } from './rule.js';
import { closingParenthesis } from './split.js';
import type { RuleTools } from './tools.js';

export interface RuleText {
  /** Upper case. */
  readonly kind: string;
  /** '' where the kind has none. */
  readonly payload: string;
  readonly target: string;
  /** Lower case. */
  readonly parameters: readonly string[];
}

/** Rules within rules within rules … */
const MAX_DEPTH = 16;
/** Characters of a rule. */
const MAX_LENGTH = 16_384;
/** Parameters of Clash's that may stand behind any rule. */
const COMMON_PARAMETERS = ['no-resolve', 'src'];

const isMatch = (kind: string): boolean => kind === 'MATCH';

/**
 * `KIND,payload,target[,parameter…]`, or `KIND,target` for kinds that `withoutPayload` knows. Where the payload begins with a parenthesis it
 * ends with the one that closes it; the payload of a kind ending in -REGEX may hold commas: the target is what stands behind the last.
 * Spaces around commas do not matter. Throws a plain Error that says what is missing.
 */
export function parseRuleText(text: string, withoutPayload: (kind: string) => boolean = isMatch): RuleText {
  const { kind, rest } = splitKind(text);
  if (rest === null)
    throw new Error(
      withoutPayload(kind)
        ? `"${text}" has no target: write ${kind},target`
        : `"${text}" is no rule: write KIND,payload,target, as in DOMAIN,www.example.com,DIRECT`,
    );
  if (withoutPayload(kind)) {
    const [target = '', ...parameters] = fields(rest);
    return finish(text, kind, '', target, parameters);
  }
  const { payload, behind } = splitPayload(text, kind, rest, true);
  const [target = '', ...parameters] = behind;
  return finish(text, kind, payload, target, parameters);
}

function finish(text: string, kind: string, payload: string, target: string, parameters: readonly string[]): RuleText {
  if (target === '') throw new Error(`"${text}" has no target: write ${payload === '' ? kind : `${kind},${payload}`},target`);
  if (parameters.includes('')) throw new Error(`"${text}" has a comma too many: behind the target stand only words like no-resolve`);
  return { kind, payload, target, parameters: parameters.map((parameter) => parameter.toLowerCase()) };
}

/** A rule that was written as an object, as a line for logs: `parseRuleText` reads it, unless it has options that a line cannot say (`match=false`). */
export function formatRuleText(rule: RuleText, options: Readonly<Record<string, unknown>> = {}): string {
  const words = Object.entries(options).map(([key, value]) => (value === true ? key : `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`));
  return [rule.kind, ...(rule.payload === '' ? [] : [rule.payload]), rule.target, ...rule.parameters, ...words].join(',');
}

/**
 * Builds a rule. `parameters`: the words behind the target, in lower case. `options`: the other keys of the object form; one that is true counts as
 * a parameter too. Throws a plain Error; the caller knows file and line.
 */
export function buildRule(kind: string, payload: string, parameters: readonly string[], options: Readonly<Record<string, unknown>>, known: KnownRules): Rule {
  return build({ kind, payload, parameters, options }, known, 0);
}

interface Parts {
  readonly kind: string;
  readonly payload: string;
  readonly parameters: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

/** The kinds that there are, and what rules are built with. */
export interface KnownRules {
  readonly definitions: (kind: string) => RuleDefinition | undefined;
  /** Who brought a kind. */
  readonly plugin: (kind: string) => string | undefined;
  /** For "did you mean". */
  readonly kinds: () => Iterable<string>;
  readonly tools: RuleTools;
}

function build(parts: Parts, known: KnownRules, depth: number): Rule {
  if (depth > MAX_DEPTH) throw new Error(`rules are nested more than ${MAX_DEPTH} deep`);
  const kind = parts.kind.trim().toUpperCase();
  const definition = known.definitions(kind);
  if (definition === undefined) {
    const meant = closest(kind, known.kinds());
    throw new Error(`unknown rule kind "${kind}"${meant === null ? `: known are ${[...known.kinds()].join(', ')}` : `, did you mean ${meant}?`}`);
  }
  const payload = parts.payload.trim();
  if (payload.length > MAX_LENGTH) throw new Error(`the payload has ${payload.length} characters, ${MAX_LENGTH} are allowed: split it into several rules`);
  if (!definition.payload && payload !== '') throw new Error(`${kind} has no payload, and "${payload}" stands there: write ${kind},target`);
  const words = new Set(parts.parameters.map((word) => word.trim().toLowerCase()));
  for (const [key, value] of Object.entries(parts.options)) if (value === true) words.add(key.toLowerCase());
  const allowed = [...COMMON_PARAMETERS, ...(definition.parameters ?? [])];
  for (const word of parts.parameters) {
    const name = word.trim().toLowerCase();
    if (allowed.includes(name)) continue;
    const meant = closest(name, allowed);
    throw new Error(`unknown parameter "${word}" behind a ${kind} rule${meant === null ? `: known are ${allowed.join(', ')}` : `, did you mean ${meant}?`}`);
  }
  const context: RuleContext = { parameters: words, options: parts.options, tools: known.tools, nested: (text) => buildNested(text, known, depth + 1) };
  const rule: Partial<Rule> | null | undefined = definition.create(payload, context);
  if (typeof rule?.match !== 'function')
    throw new Error(`create of rule kind ${kind} of plugin "${known.plugin(kind) ?? 'core'}" gave no rule, an object with a function "match"`);
  return rule as Rule;
}

/** Builds a rule from `KIND,payload[,parameter…]`, as lists have them: without a target. Throws a plain Error. */
export function buildBareRule(text: string, known: KnownRules): Rule {
  return buildNested(text, known, 0);
}

/** `KIND,payload[,parameter…]`: a rule in a rule has no target. */
function buildNested(text: string, known: KnownRules, depth: number): Rule {
  const { kind, rest } = splitKind(text);
  if (kind === 'MATCH') throw new Error('MATCH cannot stand in another rule: leave it out');
  if (known.definitions(kind)?.payload === false) throw new Error(`${kind} cannot stand in another rule, nor in a list: make it a rule of its own`);
  if (kind === 'SUB-RULE')
    throw new Error('SUB-RULE cannot stand in another rule: its list would be lost. Put what is to hold as well into its parentheses, as an AND');
  if (rest === null) throw new Error(`"${text}" is no rule: write (KIND,payload), as in (DOMAIN,www.example.com)`);
  const { payload, behind } = splitPayload(text, kind, rest, false);
  return build({ kind, payload, parameters: behind, options: {} }, known, depth);
}

/** `rest` is null where nothing but the kind stands. */
function splitKind(text: string): { kind: string; rest: string | null } {
  if (text.length > MAX_LENGTH) throw new Error(`a rule has at most ${MAX_LENGTH} characters, and this one ${text.length}: split it into several`);
  const comma = text.indexOf(',');
  const kind = (comma === -1 ? text : text.slice(0, comma)).trim().toUpperCase();
  if (kind === '') throw new Error(`"${text}" has no kind: write KIND,payload,target, as in DOMAIN,www.example.com,DIRECT`);
  return { kind, rest: comma === -1 ? null : text.slice(comma + 1).trim() };
}

function splitPayload(text: string, kind: string, rest: string, target: boolean): { payload: string; behind: string[] } {
  if (rest.startsWith('(') && !kind.endsWith('-REGEX')) {
    const end = closingParenthesis(rest, 0);
    if (end === -1) throw new Error(`"${text}" has a parenthesis that is not closed`);
    const behind = rest.slice(end).trim();
    if (behind !== '' && !behind.startsWith(',')) throw new Error(`"${text}" has "${behind}" behind its closing parenthesis, where a comma should be`);
    return { payload: rest.slice(0, end), behind: behind === '' ? [] : fields(behind.slice(1)) };
  }
  if (kind.endsWith('-REGEX')) {
    const comma = target ? rest.lastIndexOf(',') : rest.length;
    return comma === -1 ? { payload: rest, behind: [] } : { payload: rest.slice(0, comma).trim(), behind: target ? [rest.slice(comma + 1).trim()] : [] };
  }
  const [payload = '', ...behind] = fields(rest);
  return { payload, behind };
}

function fields(text: string): string[] {
  return text.split(',').map((field) => field.trim());
}
