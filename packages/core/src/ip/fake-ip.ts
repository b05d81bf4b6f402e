import { token } from '../net/token.js';

/** Addresses that stand for names: a name server assigns them, and whoever is told one as a destination finds the name again. */
export interface FakeIpTable {
  /** The same address for the same name as long as it is remembered. */
  assign(name: string, family: 4 | 6): string;
  /** null: not of ours, or forgotten. Counts as use. */
  domainOf(address: string): string | null;
  /** Whether it lies in the range: then it is a fake address, known or not. */
  contains(address: string): boolean;
  /**
   * Somebody uses a fake address: until the returned function is called it stands for its name, unless all addresses are used like that. Then `recycled` runs, once:
   * from here on it stands for another name.
   */
  hold(address: string, recycled: () => void): () => void;
}

/** Of a kernel, where a plugin provides it. */
export const FAKE_IPS = token<FakeIpTable>('FakeIpTable');
