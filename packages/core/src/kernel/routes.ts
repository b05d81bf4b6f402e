import type { Adapter } from '../adapter/adapter.js';
import type { KernelConfig, RouteConfig } from '../config/types.js';
import { NekitError } from '../net/errors.js';
import type { Token } from '../net/token.js';
import type { InboundClaim } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import type { Claim } from '../routing/router.js';
import type { Route } from '../routing/rule-list.js';
import { buildRule, type KnownRules } from '../rule/parse.js';
import type { AdapterSet } from './adapter-set.js';

/** The rules of a checked config, built. */
export function buildRoutes(rules: readonly RouteConfig[], known: KnownRules): Route[] {
  return rules.map(({ kind, payload, target, sub, parameters, options, text, where }) => {
    try {
      return { rule: buildRule(kind, payload, parameters, options, known), kind, payload, target, sub, text };
    } catch (error) {
      throw new NekitError('BAD_RULE', `${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  });
}

/** What the listeners of a config have carried by other adapters than the rules say. */
export function buildClaims({ listeners }: Pick<KernelConfig, 'listeners'>, registry: Registry, adapters: AdapterSet, get: <T>(token: Token<T>) => T): Claim[] {
  const made = new Map<string, Adapter>();
  const claim = ({ text, adapter: type, takes }: InboundClaim): Claim => {
    const adapter = made.get(type) ?? adapters.ofType(type, type.toUpperCase());
    made.set(type, adapter);
    return { route: { rule: { match: takes }, kind: 'CLAIM', payload: '', target: adapter.tag, text }, adapter, takes };
  };
  return listeners.flatMap(({ name, type, options }) => (registry.inbounds.get(type)?.definition.claims?.(options, name, get) ?? []).map(claim));
}
