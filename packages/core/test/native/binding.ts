/** One suite for both implementations of the sockets: `testBinding('ts', suite)` and `testBinding('native', suite)`. */
import t, { type Test } from 'tap';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import type { Sockets } from '../../dist/net/sockets.js';

/** What `t` is in a test. */
export type Tap = Test;

export type Binding = 'ts' | 'native';

/** For one suite, in ms. Under the sanitizers, and beside other tests, things take their time. */
const SUITE_MS = process.env.NEKIT_FULL === '1' || process.env.ASAN_OPTIONS !== undefined ? 500_000 : 100_000;

/** Runs the suite with one set of sockets, which it closes when `run` has settled: await what is registered in it. Where the addon is not built the native run is skipped, and says why. */
export function testBinding(binding: Binding, run: (t: Tap, sockets: Sockets) => Promise<void>): void {
  const { addon, tried } = findAddon();
  const missing = binding === 'native' && addon === null;
  const skip = missing ? `no addon: ${tried.map(({ path, why }) => `${path}: ${why}`).join('; ')}` : false;
  t.setTimeout(2 * SUITE_MS);
  t.test(binding, { skip, timeout: SUITE_MS }, async (t) => {
    const sockets = openSockets(binding === 'ts' ? null : addon);
    t.equal(sockets.kind, binding === 'ts' ? 'node' : 'native');
    try {
      await run(t, sockets);
    } finally {
      sockets.close();
    }
  });
}
