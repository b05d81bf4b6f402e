import { stat } from 'node:fs/promises';
import { PluginError } from './plugin-error.js';

/** What is asked of the file system and the process; tests bring their own. */
export interface Guard {
  /** The effective user, or null where there is none (Windows). Only 0 makes a difference. */
  readonly uid: number | null;
  stat(path: string): Promise<{ readonly uid: number; readonly mode: number }>;
}

export const systemGuard: Guard = {
  uid: process.geteuid?.() ?? null,
  stat: (path) => stat(path),
};

const OTHERS_MAY_WRITE = 0o002;

/**
 * Run as root, code that somebody else can change would give them root. So each folder and file has to belong to root, or to whoever
 * owns the command itself (`cliPath`): that user decides what runs here as root anyway (a Node under a home directory, with sudo).
 * Throws PluginError `PLUGIN_UNSAFE_PATH`.
 */
export async function refuseUnsafe(plugin: string, paths: readonly string[], cliPath: string, guard: Guard): Promise<void> {
  if (guard.uid !== 0) return;
  const trusted = new Set([0, (await guard.stat(cliPath)).uid]);
  for (const path of paths) {
    const { uid, mode } = await guard.stat(path);
    const reason = !trusted.has(uid) ? `belongs to user ${uid}` : (mode & OTHERS_MAY_WRITE) !== 0 ? 'may be written by everybody' : null;
    if (reason === null) continue;
    const message = `plugin "${plugin}" is not loaded as root: ${path} ${reason}, so others than root could change what runs; give it to root, or do not run as root`;
    throw new PluginError('PLUGIN_UNSAFE_PATH', plugin, 'load', message);
  }
}
