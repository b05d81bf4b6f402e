/** Addresses that stand for names: the DNS stack assigns them, an inbound of packets finds the name again. */
export interface FakeIpTable {
  /** The same address for the same name as long as it is remembered. */
  assign(name: string, family: 4 | 6): string;
  /** null: not of ours, or forgotten. */
  domainOf(address: string): string | null;
  /** Whether it lies in the range: then it is a fake address, known or not. */
  contains(address: string): boolean;
}
