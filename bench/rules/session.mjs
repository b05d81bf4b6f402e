// A session through the router: many rules on names beside few, their targets in turns, so that no two neighbours lead to the same. Prints JSON.

import { never } from '../../packages/core/dist/net/cancel.js';
import { Events } from '../../packages/core/dist/net/events.js';
import { Router } from '../../packages/core/dist/routing/router.js';
import { builtinRules } from '../../packages/core/dist/rule/builtin.js';
import { buildRule } from '../../packages/core/dist/rule/parse.js';
import { ConfigRuleTools } from '../../packages/core/dist/rule/tools.js';
import { domains } from './lists.mjs';

const SESSIONS = 100_000;
const FEW = 10;
const rounds = Number(process.argv[2] ?? 7);
const many = Number(process.argv[3] ?? 10_000);

const kinds = new Map(builtinRules.map((definition) => [definition.kind, definition]));
const known = { definitions: (kind) => kinds.get(kind), kinds: () => kinds.keys(), tools: new ConfigRuleTools({ checking: false, folder: '.' }) };
const adapter = (tag) => ({ tag, type: 'direct', stream: {}, packet: {} });
const adapters = new Map(['DIRECT', 'REJECT'].map((tag) => [tag, adapter(tag)]));

function routerOf(names) {
  const routes = names.map((name, index) => {
    const [kind, target] = [index % 3 === 0 ? 'DOMAIN' : 'DOMAIN-SUFFIX', index % 2 === 0 ? 'DIRECT' : 'REJECT'];
    return { rule: buildRule(kind, name, [], {}, known), kind, payload: name, target, text: `${kind},${name},${target}` };
  });
  routes.push({ rule: buildRule('MATCH', '', [], {}, known), kind: 'MATCH', payload: '', target: 'DIRECT', text: 'MATCH,DIRECT' });
  const resolver = { resolve: () => Promise.reject(new Error('nothing is looked up')) };
  return new Router({ routes, adapters: (tag) => adapters.get(tag), mode: 'rule', events: new Events(), timeouts: { resolve: 1000 }, resolver });
}

const names = domains(many, 3);
const routers = { few: routerOf(names.slice(0, FEW)), many: routerOf(names) };
const endpoint = { host: '127.0.0.1', port: 1 };
const sessions = domains(SESSIONS, 4).map((host, id) => ({
  id,
  network: 'tcp',
  inbound: 'in',
  inboundType: 'SOCKS5',
  inboundPort: 1,
  source: endpoint,
  requested: { host, port: 443 },
  // Some of those that rules name, so that all ends are met.
  destination: { host: id % 4 === 0 ? names[id % names.length] : host, port: 443 },
  signal: never,
}));

function nsEach(router) {
  const begin = performance.now();
  for (const session of sessions) router.route(session);
  return ((performance.now() - begin) * 1e6) / SESSIONS;
}

const results = [];
for (let round = 0; round <= rounds; round++) {
  const result = { few: nsEach(routers.few), many: nsEach(routers.many) };
  if (round > 0) results.push(result);
}
process.stdout.write(`${JSON.stringify(results)}\n`);
