import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';

/** Whether a plugin's name is meant as a path: such a one is never looked for on the PATH. */
export function looksLikePath(name: string): boolean {
  return name.includes('/') || isAbsolute(name);
}

/** The file that is run for `name`: a path (relative ones to the working directory) or a program on the PATH. null: there is none. */
export function findProgram(name: string, path: string = process.env.PATH ?? ''): string | null {
  if (name.includes('\0')) return null;
  if (looksLikePath(name)) {
    const file = resolve(name);
    return isProgram(file) ? file : null;
  }
  // An empty part of the PATH would be the working directory: programs that somebody left there are not meant.
  const folders = path.split(delimiter).filter((folder) => isAbsolute(folder));
  return folders.map((folder) => join(folder, name)).find(isProgram) ?? null;
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch (error) {
    return !(error instanceof Error); // "not this one", whatever the reason
  }
}
