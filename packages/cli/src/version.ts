import { readFileSync } from 'node:fs';

/** Of this command, from its package.json. */
function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** With what moves the bytes: the addon and where it came from, or why there is none. */
export async function versionLine(): Promise<string> {
  const { describeAddon, findAddon } = await import('@nekit/core');
  return `nekit-kernel ${version()} (${describeAddon(findAddon())})`;
}
