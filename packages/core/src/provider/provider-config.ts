import type { Behavior } from '../rule/rule-set.js';
import type { ListFormat } from '../rule/set/inspect-list.js';

/** An entry of `rule-providers`, checked. */
export interface ProviderConfig {
  readonly name: string;
  readonly behavior: Behavior;
  readonly format: ListFormat;
  readonly source: ProviderSource;
  /** Bytes of the list, unpacked; never 0. */
  readonly sizeLimit: number;
  /** Seconds from one look to the next; 0: no second look. */
  readonly interval: number;
}

export type ProviderSource = InlineSourceConfig | FileSourceConfig | HttpSourceConfig;

export interface InlineSourceConfig {
  readonly type: 'inline';
  readonly payload: readonly string[];
}

export interface FileSourceConfig {
  readonly type: 'file';
  /** Absolute. */
  readonly path: string;
}

export interface HttpSourceConfig {
  readonly type: 'http';
  readonly url: string;
  /** Where the last good copy is kept, absolute; null: in the cache folder. */
  readonly path: string | null;
  /** The adapter to fetch through. */
  readonly proxy: string;
  readonly headers: Readonly<Record<string, string>>;
}
