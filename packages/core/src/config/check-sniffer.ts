/** `sniffer`: Clash's keys to what the kernel works with. */
import { closest } from '../net/closest.js';
import { addressTest, type MakeRule, nameTest, whyNoName } from '../rule/name-test.js';
import { buildRule, type KnownRules } from '../rule/parse.js';
import { portRange } from '../rule/ports.js';
import { SNIFFED_PROTOCOLS, type SniffedPorts, type SniffedProtocol, type SnifferConfig } from '../sniff/sniffer.js';
import { didYouMean, type ProblemList } from './problem-list.js';
import type { SnifferKeys } from './sniffer-schema.js';
import type { Path } from './source.js';

const DEFAULT_PORTS: { readonly [P in SniffedProtocol]: readonly number[] } = { TLS: [443], HTTP: [80], QUIC: [443] };

const NAMES = ['force-domain', 'skip-domain'] as const;
const ADDRESSES = ['skip-src-address', 'skip-dst-address'] as const;

/** null: nothing is looked at. */
export function checkSniffer(keys: SnifferKeys, known: KnownRules, problems: ProblemList): SnifferConfig | null {
  const makeRule: MakeRule = (kind, payload) => buildRule(kind, payload, [], {}, known);
  for (const key of NAMES)
    for (const [index, entry] of keys[key]?.entries() ?? []) {
      const why = whyNoName(entry);
      if (why === null) attempt(() => nameTest([entry], makeRule), ['sniffer', key, index], problems);
      else problems.warning('NO_EFFECT', why, ['sniffer', key, index]);
    }
  for (const key of ADDRESSES)
    for (const [index, entry] of keys[key]?.entries() ?? []) attempt(() => addressTest([entry], makeRule), ['sniffer', key, index], problems);
  const protocols = protocolsOf(keys, problems);
  if (keys.enable !== true) return null;
  if (Object.keys(keys.sniff ?? {}).length === 0 && (keys.sniffing ?? []).length === 0)
    problems.warning('UNSUPPORTED_VALUE', 'nothing is looked at: name it under sniff, as { TLS: { ports: [443] }, HTTP: { ports: [80] } }', ['sniffer'], 'key');
  return {
    protocols,
    forceDomain: keys['force-domain'] ?? [],
    skipDomain: keys['skip-domain'] ?? [],
    skipSource: keys['skip-src-address'] ?? [],
    skipDestination: keys['skip-dst-address'] ?? [],
    parsePureIp: keys['parse-pure-ip'] ?? true,
    forceDnsMapping: keys['force-dns-mapping'] ?? true,
  };
}

function protocolsOf(keys: SnifferKeys, problems: ProblemList): SniffedPorts[] {
  const overridden = keys['override-destination'] ?? false;
  if (keys.sniff !== undefined)
    return Object.entries(keys.sniff).flatMap(([name, given]) => {
      const protocol = protocolOf(name, ['sniffer', 'sniff', name], problems);
      if (protocol === null) return [];
      const ports = portsOf(given?.ports, protocol, ['sniffer', 'sniff', name, 'ports'], problems);
      return [{ protocol, ports, overrideDestination: given?.['override-destination'] ?? overridden }];
    });
  return (keys.sniffing ?? []).flatMap((name, index) => {
    const protocol = protocolOf(name, ['sniffer', 'sniffing', index], problems);
    if (protocol === null) return [];
    return [{ protocol, ports: portsOf(keys['port-whitelist'], protocol, ['sniffer', 'port-whitelist'], problems), overrideDestination: overridden }];
  });
}

function protocolOf(name: string, path: Path, problems: ProblemList): SniffedProtocol | null {
  const protocol = SNIFFED_PROTOCOLS.find((known) => known === name.toUpperCase());
  if (protocol !== undefined) return protocol;
  const guess = closest(name.toUpperCase(), SNIFFED_PROTOCOLS);
  problems.error('BAD_VALUE', `"${name}" is no protocol that shows a name: there are ${SNIFFED_PROTOCOLS.join(', ')}.${didYouMean(guess)}`, path);
  return null;
}

function portsOf(given: readonly (number | string)[] | undefined, protocol: SniffedProtocol, path: Path, problems: ProblemList): [number, number][] {
  const ports: readonly (number | string)[] = given === undefined || given.length === 0 ? DEFAULT_PORTS[protocol] : given;
  return ports.flatMap((port, index) => {
    const range = attempt(() => portRange(String(port), 'ports: ', '[443, 8443-8450]'), [...path, index], problems);
    return range === null ? [] : [range];
  });
}

/** null: it threw a plain Error, which was told. */
function attempt<T>(make: () => T, path: Path, problems: ProblemList): T | null {
  try {
    return make();
  } catch (error) {
    problems.error('BAD_VALUE', error instanceof Error ? error.message : String(error), path);
    return null;
  }
}
