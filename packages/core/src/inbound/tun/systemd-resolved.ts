/**
 * systemd-resolved sends its questions by sockets that are bound to the interface of each server, and what is bound to an interface is turned into a TUN by no rule. So it is told that
 * the TUN's interface has a server for all names: resolvectl(1), as VPNs do. What it is told ends with the interface, which may outlive us: so it is taken back as well.
 */
import { execFile } from 'node:child_process';
import { existsSync, readlinkSync } from 'node:fs';
import type { LinkAddress } from '../../native/link-config.js';
import { formatAddress, parseAddress } from '../../net/address.js';

/** How long one call may take, in ms. */
const PATIENCE = 5_000;

export interface Resolved {
  /** Whether it runs, and sees the same interfaces as we do. */
  isHere(): boolean;
  /** resolvectl(1). Rejects with what it says. */
  tell(args: readonly string[]): Promise<void>;
}

export const systemResolved: Resolved = { isHere, tell };

export interface NamesTaken {
  /** It has been told all. Never rejects. */
  readonly told: Promise<void>;
  /** Takes it back: waits for the call that is under way, makes one more, and that is all. Never rejects. */
  close(): Promise<void>;
}

/** Has the names of this machine asked of `device`, whose neighbours, by its addresses, answer. What does not work: `warn` says what a person can do instead. */
export function takeNames(device: string, addresses: readonly LinkAddress[], warn: (message: string) => void, resolved = systemResolved): NamesTaken {
  const servers = addresses.flatMap((address) => neighbourOf(address) ?? []);
  if (servers.length === 0 || !resolved.isHere()) return { told: Promise.resolve(), close: () => Promise.resolve() };
  let isClosed = false;
  const told = tellAll(callsFor(device, servers), { device, warn, resolved, isClosed: () => isClosed });
  return {
    told,
    async close() {
      if (isClosed) return;
      isClosed = true;
      await told;
      await resolved.tell(['revert', device]).catch(() => undefined); // the interface is gone, or it was never told
    },
  };
}

function callsFor(device: string, servers: readonly string[]): string[][] {
  return [
    // Fake answers have no signatures, and a TUN has no TLS.
    ['dnssec', device, 'no'],
    ['dnsovertls', device, 'no'],
    ['dns', device, ...servers],
    ['default-route', device, 'yes'],
    ['domain', device, '~.'],
  ];
}

interface Telling {
  readonly device: string;
  readonly warn: (message: string) => void;
  readonly resolved: Resolved;
  readonly isClosed: () => boolean;
}

async function tellAll(calls: readonly (readonly string[])[], { device, warn, resolved, isClosed }: Telling): Promise<void> {
  try {
    for (const args of calls) {
      if (isClosed()) return;
      await resolved.tell(args);
    }
  } catch (error) {
    if (isClosed()) return;
    const [, , dns, , domain] = calls.map((args) => `resolvectl ${args.join(' ')}`);
    warn(`systemd-resolved asks past ${device} (${error instanceof Error ? error.message : String(error)}): sudo ${dns}; sudo ${domain}`);
  }
}

/** The next address of its network, or the one before where that is the last, which is everybody's; null: there is none. */
function neighbourOf({ address, prefix }: LinkAddress): string | null {
  const bytes = parseAddress(address);
  if (bytes === null || prefix > bytes.length * 8 - 2) return null;
  const last = bytes.length - 1;
  const hosts = 0xff >> Math.max(0, prefix - last * 8); // bits of the last byte
  const step = ((bytes[last] ?? 0) & hosts) + 1 < hosts ? 1 : -1;
  return formatAddress(bytes.map((byte, index) => (index === last ? byte + step : byte)));
}

/** Its folder is there only while it runs; in another network namespace a device of the same name is not ours. */
function isHere(): boolean {
  if (process.platform !== 'linux' || !existsSync('/run/systemd/resolve')) return false;
  try {
    return readlinkSync('/proc/self/ns/net') === readlinkSync('/proc/1/ns/net');
  } catch {
    return false; // not root: it would not be allowed to tell anything either
  }
}

function tell(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('resolvectl', args, { timeout: PATIENCE }, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(stderr.trim().split('\n', 1)[0] || error.message));
    });
  });
}
