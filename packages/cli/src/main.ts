import { failureLines, UsageError } from './failure.js';
import { COMMANDS, type CommandName, GENERAL_HELP, helpOf } from './help.js';
import { versionLine } from './version.js';

/** Runs the command and sets the exit code. Never rejects: every failure is a clear line on stderr. */
export async function main(args: readonly string[]): Promise<void> {
  process.stdout.on('error', outputFailed);
  process.stderr.on('error', () => {}); // nobody is left to be told; without a listener each failure would be told there again, for ever
  try {
    process.exitCode = await dispatch(args);
  } catch (error) {
    const { lines, exitCode } = failureLines(error);
    process.stderr.write(`${lines.join('\n')}\n`);
    process.exitCode = exitCode;
  }
}

/** A reader that has seen enough (EPIPE) is no failure; a full disk is. */
function outputFailed(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') return;
  process.exitCode = 1;
  process.stderr.write(`nekit-kernel: the output cannot be written: ${error.code ?? error.message}\n`);
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first] = args;
  if (first === '--version' || first === '-v') return print(await versionLine());
  const named = first !== undefined && !first.startsWith('-');
  const name = named ? first : 'run';
  const rest = named ? args.slice(1) : args;
  if (name === 'help') return print(isCommand(rest[0]) ? helpOf(rest[0]) : GENERAL_HELP);
  if (!isCommand(name)) throw new UsageError(`there is no command "${name}": ${Object.keys(COMMANDS).join(', ')} are known`);
  const own = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest;
  if (own.includes('--help') || own.includes('-h')) return print(named ? helpOf(name) : GENERAL_HELP);
  if (own.includes('--version')) return print(await versionLine());
  // Each command loads only what it needs.
  switch (name) {
    case 'run':
      return (await import('./commands/run.js')).run(rest);
    case 'check':
      return (await import('./commands/check.js')).check(rest);
    case 'explain':
      return (await import('./commands/explain.js')).explain(rest);
    case 'rules':
      return (await import('./commands/rules.js')).rules(rest);
    case 'plugins':
      return (await import('./commands/plugins.js')).plugins(rest);
    case 'import':
      return (await import('./commands/import.js')).importConfig(rest);
    case 'schema':
      return (await import('./commands/schema.js')).schema(rest);
  }
}

function isCommand(name: string | undefined): name is CommandName {
  return name !== undefined && Object.hasOwn(COMMANDS, name);
}

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}
