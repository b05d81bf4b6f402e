import { type ParseArgsConfig, parseArgs } from 'node:util';
import { UsageError } from './failure.js';

/** Options that several commands share. */
export const CONFIG = { config: { type: 'string', short: 'c' } } as const;
export const PLUGINS = { plugins: { type: 'string', multiple: true } } as const;
export const STRICT = { strict: { type: 'boolean' } } as const;
export const PROXY = { proxy: { type: 'string', multiple: true } } as const;
export const JSON_OUTPUT = { json: { type: 'boolean' } } as const;

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<O extends Options> = ReturnType<typeof parseArgs<{ options: O; strict: true; allowPositionals: true; args: string[] }>>;

/** Throws UsageError, also for more words than the command takes. */
export function parse<const O extends Options>(args: readonly string[], options: O, words: number): Parsed<O> {
  let parsed: Parsed<O>;
  try {
    parsed = parseArgs({ args: [...args], options, strict: true, allowPositionals: true });
  } catch (error) {
    throw new UsageError(advice(error, Object.keys(options)));
  }
  const extra = parsed.positionals[words];
  if (extra !== undefined)
    throw new UsageError(`"${extra}" is not expected here${extra.endsWith('.yaml') || extra.endsWith('.yml') ? `; a config is named by -c ${extra}` : ''}`);
  return parsed;
}

/** parseArgs says what is wrong in its first sentence, and goes on about positional arguments. */
function advice(error: unknown, known: readonly string[]): string {
  const message = error instanceof Error ? error.message : String(error);
  const sentence = message.split(/\. (?=[A-Z])/, 1)[0]?.replaceAll('\n', ' ') ?? message;
  return /^Unknown option/.test(message) ? `${sentence}; known are ${known.map((name) => `--${name}`).join(', ')}` : sentence;
}

/** `--plugins a,b --plugins c` */
export function splitNames(values: readonly string[] | undefined): string[] {
  return (values ?? [])
    .flatMap((value) => value.split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

const PORT = /^[0-9]{1,5}$/;

export function parsePort(option: string, value: string | undefined): number | null {
  if (value === undefined) return null;
  if (!PORT.test(value) || Number(value) > 65535) throw new UsageError(`${option} must be a port, 0 to 65535`);
  return Number(value);
}

export const LOG_LEVELS = ['silent', 'error', 'warning', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function asLogLevel(value: unknown): LogLevel | null {
  const word = typeof value === 'string' ? value.toLowerCase() : null;
  return LOG_LEVELS.find((level) => level === word) ?? null;
}
