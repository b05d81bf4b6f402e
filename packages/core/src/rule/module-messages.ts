/** What goes between a MODULE rule and its thread. */
import type { ModuleSession, Outcome } from './module-contract.js';
import type { ProcessInfo } from './rule.js';

export type FactName = 'addresses' | 'process';

export type ToThread =
  | { readonly type: 'call'; readonly call: number; readonly session: ModuleSession }
  | { readonly type: 'answer'; readonly call: number; readonly fact: FactName; readonly value: readonly string[] | ProcessInfo | null };

export type FromThread =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'ask'; readonly call: number; readonly fact: FactName }
  | { readonly type: 'outcome'; readonly call: number; readonly outcome: Outcome }
  | { readonly type: 'error'; readonly call: number; readonly message: string };

/** The thread's file. */
export interface ThreadData {
  readonly path: string;
}
