/** Groups of the kinds that choose by health, on a stage. */
import type { Adapter } from '../../dist/adapter/adapter.js';
import { FallbackAdapter } from '../../dist/adapter/fallback.js';
import { LoadBalanceAdapter, type Strategy } from '../../dist/adapter/load-balance.js';
import { UrlTestAdapter } from '../../dist/adapter/url-test.js';
import { NetError } from '../../dist/net/errors.js';
import { healthOptions, type Scene } from './groups.js';

export const refused = new NetError('refused', 'no');
/** By a call, which TypeScript does not take for the same every time. */
export const udpOf = (adapter: Adapter): Adapter['packet'] => adapter.packet;
export const urlTest = (stage: Scene<string>, over: Partial<ConstructorParameters<typeof UrlTestAdapter>[0]> = {}, tag = 'fast'): UrlTestAdapter =>
  new UrlTestAdapter({ proxies: Object.keys(stage.members), udp: true, tolerance: 0, health: healthOptions(), ...over }, stage.context(tag));
export const fallback = (stage: Scene<string>, over: Partial<ConstructorParameters<typeof FallbackAdapter>[0]> = {}, tag = 'safe'): FallbackAdapter =>
  new FallbackAdapter({ proxies: Object.keys(stage.members), udp: true, health: healthOptions(), ...over }, stage.context(tag));
export const balance = (
  stage: Scene<string>,
  strategy: Strategy,
  over: Partial<ConstructorParameters<typeof LoadBalanceAdapter>[0]> = {},
): LoadBalanceAdapter =>
  new LoadBalanceAdapter({ proxies: Object.keys(stage.members), udp: true, strategy, health: healthOptions(), ...over }, stage.context('spread'));
/** An interval with its jitter, and the checks of a round. */
export const ROUND = 60_000 * 1.1 + 6_000;
