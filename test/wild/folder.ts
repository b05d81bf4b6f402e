/** Makes a folder with the wild config, as large as it is meant to be, and all the files that it names. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asnFile, geositeFile } from './data-files.js';
import { FILES, GEOSITES, SYSTEMS } from './files.js';

/** From dist-test, where this runs. */
const CONFIG = fileURLToPath(new URL('../../test/wild/config.yaml', import.meta.url));

/** How many there shall be under `rules`. */
export const RULES = 3000;

const WORDS = ['ad', 'ads', 'banner', 'beacon', 'click', 'count', 'pixel', 'promo', 'stat', 'track'];
const NETS = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta'];
const AD_TARGETS = ['REJECT', 'AdBlock', 'block'];
const NETWORK_TARGETS = ['block', 'tarpit', 'REJECT', 'Proxy'];
const SITE_TARGETS = ['hk-1', 'jp-2', 'us-2', 'de-1'];

/** What stands in for "# fill: …", line by line, without chance: the table knows a few of them. */
const FILLS: Readonly<Record<string, (i: number) => string>> = {
  ads: (i) => `DOMAIN-SUFFIX,${WORDS[i % 10]}${i}.adnet-${NETS[i % 7]}.example,${AD_TARGETS[i % 3]}`,
  networks: (i) => {
    const network = i % 5 === 4 ? `IP-CIDR6,2001:db8:${(0x1000 + i).toString(16)}::/48` : `IP-CIDR,100.${64 + (i >> 8)}.${i & 255}.0/24`;
    return `${network},${NETWORK_TARGETS[i % 4]},no-resolve`;
  },
  sites: (i) => `${i % 2 === 0 ? 'DOMAIN-SUFFIX' : 'DOMAIN'},site${i}.shops.example,${SITE_TARGETS[i % 4]}`,
};

export interface WildFolder {
  readonly folder: string;
  /** The config. */
  readonly file: string;
  /** The config as it was written by hand. */
  readonly skeleton: string;
  /** The config in the folder. */
  readonly text: string;
  remove(): Promise<void>;
}

export async function wildFolder(): Promise<WildFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'nekit-wild-'));
  const skeleton = await readFile(CONFIG, 'utf8');
  const text = filled(skeleton);
  const file = join(folder, 'config.yaml');
  const files = { ...FILES, 'config.yaml': text, 'asn.mmdb': asnFile(SYSTEMS), 'geo/sites.dat': geositeFile(GEOSITES) };
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
  return { folder, file, skeleton, text, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** The words between two `@`: what is known only where this runs. */
const WORDS_HERE: Readonly<Record<string, string>> = {
  program: basename(process.execPath),
  path: process.execPath,
  uid: String(process.getuid?.() ?? 0),
};

export function filledIn(text: string): string {
  return text.replace(/@(\w+)@/g, (whole, name: string) => WORDS_HERE[name] ?? whole);
}

function filled(skeleton: string): string {
  const rules = skeleton.slice(skeleton.indexOf('\nrules:\n'));
  const fixed = [...rules.matchAll(/# fill: \w+ (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  const rest = RULES - fixed - [...rules.matchAll(/^ {2}- /gm)].length;
  return filledIn(skeleton).replace(/^ {2}# fill: (\w+) (\d+|rest)$/gm, (_, name: string, count: string) => {
    const line = FILLS[name];
    if (line === undefined) throw new Error(`nobody knows how to fill ${name}`);
    return Array.from({ length: count === 'rest' ? rest : Number(count) }, (_, i) => `  - ${line(i)}`).join('\n');
  });
}
