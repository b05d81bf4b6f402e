/** `hosts`: canonical names to canonical addresses, or to one other name. */
import { addressFamily } from '../net/address.js';
import { normaliseHost } from '../net/endpoint.js';
import { HostPatterns, type Hosts } from '../net/hosts.js';
import type { ProblemList } from './problem-list.js';
import type { Path } from './source.js';

export function checkHosts(hosts: Readonly<Record<string, string | readonly string[]>>, problems: ProblemList): Hosts {
  const checked = new Map<string, readonly string[]>();
  const patterns = new Map<string, readonly string[]>();
  for (const [key, value] of Object.entries(hosts)) {
    const path = ['hosts', key];
    if (/[*+]|^\./.test(key)) {
      checkPattern(key, value, patterns, problems);
      continue;
    }
    const name = normaliseHost(key);
    if (name === null || addressFamily(name) !== 0) problems.error('BAD_VALUE', `"${key}" is no domain name`, path, 'key');
    else if (checked.has(name)) problems.error('DUPLICATE_NAME', `"${key}" is there twice, in another spelling`, path, 'key');
    else {
      const values = valuesOf(value, path, problems);
      if (values !== null) checked.set(name, values);
    }
  }
  for (const name of checked.keys()) reportLoop(name, checked, problems);
  return patterns.size === 0 ? checked : new HostPatterns(checked, patterns);
}

function checkPattern(key: string, value: string | readonly string[], patterns: Map<string, readonly string[]>, problems: ProblemList): void {
  const path = ['hosts', key];
  const mark = /^\+?\./.exec(key)?.[0] ?? '';
  const labels = key.slice(mark.length).split('.');
  const plain = normaliseHost(labels.map((label) => (label === '*' ? 'x' : label)).join('.'));
  const canonical = plain === null || addressFamily(plain) !== 0 ? [] : plain.split('.');
  if (canonical.length !== labels.length || labels.some((label) => label !== '*' && /[*+]/.test(label))) {
    problems.error('BAD_VALUE', `"${key}" is no pattern of names: write *.example.com, .example.com or +.example.com`, path, 'key');
    return;
  }
  const values = valuesOf(value, path, problems);
  if (values !== null) patterns.set(mark + canonical.map((label, i) => (labels[i] === '*' ? '*' : label)).join('.'), values);
}

function valuesOf(value: string | readonly string[], path: Path, problems: ProblemList): readonly string[] | null {
  if (typeof value !== 'string') {
    const addresses = value.map((item, index) => {
      const host = normaliseHost(item);
      if (host !== null && addressFamily(host) !== 0) return host;
      problems.error('BAD_VALUE', `"${item}" is no IP address; a list in hosts holds addresses only`, [...path, index]);
      return null;
    });
    if (addresses.length === 0) problems.error('BAD_VALUE', 'give one address at least', path);
    return addresses.length > 0 && addresses.every((address) => address !== null) ? addresses : null;
  }
  const host = normaliseHost(value);
  if (host === 'lan') problems.warning('UNSUPPORTED_VALUE', '"lan" is taken as a name: the addresses of this machine are not supported here yet', path);
  if (host === null) problems.error('BAD_VALUE', `"${value}" is neither an IP address nor a domain name`, path);
  return host === null ? null : [host];
}

/** Reported at the first name of the circle that the file has. */
function reportLoop(start: string, hosts: ReadonlyMap<string, readonly string[]>, problems: ProblemList): void {
  const seen = [start];
  for (let name = hosts.get(start)?.[0]; name !== undefined; name = hosts.get(name)?.[0]) {
    if (name === start) {
      const first = [...hosts.keys()].find((key) => seen.includes(key));
      if (first === start) problems.error('CYCLE', `these names lead in a circle: ${[...seen, start].join(' -> ')}`, ['hosts', start]);
      return;
    }
    if (seen.includes(name) || addressFamily(name) !== 0) return;
    seen.push(name);
  }
}
