import { NekitError } from '../net/errors.js';

/** Where in a plugin's life it went wrong: found and imported, looked at, or in a function of its own. */
export type PluginHook = 'load' | 'check' | 'setup' | 'provide' | 'start' | 'stop';

/** A failure of a plugin or on the way to one. The message names both. */
export class PluginError extends NekitError {
  /** The plugin's name, or before it has one the words that asked for it. */
  readonly plugin: string;
  readonly hook: PluginHook;
  constructor(code: string, plugin: string, hook: PluginHook, message: string, options?: { readonly cause?: unknown }) {
    super(code, message, options);
    this.plugin = plugin;
    this.hook = hook;
  }
}

/** Any thrown value as text for a message. */
export function reasonText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
