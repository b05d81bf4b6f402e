// Made-up lists that look like those that people use: seeded, so that each run and each machine has the same.

/** Mulberry32: 0 <= x < 1. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const WORDS =
  'ad ads adserver analytics api app apps asset auto beta best bet big blog book box cam cart cash cdn chat click cloud club code collect cool count data deal dev direct drive east edge event fast file film fire flow food free fun game get go gold good green group guard health home host hot hub image img info insight journal key lab land law learn life link list live local log mail map market media metric mobile money net news night now online page panel pay photo pixel play plus point pop post press pro push quick radio red report rich safe sale search secure seo shop site smart social soft star stat stats store stream studio sun super tag team tech test tool top track tracker trade traffic travel trust tube tv up video view web west win work world yes zone'.split(
    ' ',
  );
const SYLLABLES =
  'ba be bi bo bra ca ce chi co cru da de di do dra el en fa fe fi flo ga ge gi go gra ha he hi ho in ja jo ka ke ki ko la le li lo lu ma me mi mo na ne ni no nu o pa pe pi po pra qua ra re ri ro sa se shi si so sta ta te ti to tra tu u va ve vi vo wa we xa ya yo za ze zi zo'.split(
    ' ',
  );
/** Share in per mille, about as in lists of trackers. */
const ENDINGS = {
  com: 520,
  net: 90,
  org: 40,
  ru: 40,
  de: 25,
  info: 25,
  io: 20,
  xyz: 30,
  top: 30,
  'co.uk': 15,
  cn: 20,
  fr: 12,
  it: 10,
  'com.br': 12,
  site: 16,
  online: 15,
  club: 10,
  app: 10,
  jp: 10,
  pl: 10,
  nl: 10,
  biz: 10,
  us: 10,
  shop: 10,
};
const ENDING = Object.entries(ENDINGS).flatMap(([ending, share]) => Array(share).fill(ending));

function names(random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const syllables = (count) => Array.from({ length: count }, () => pick(SYLLABLES)).join('');
  const digits = () => String(Math.floor(random() * 1000));
  const hex = (count) => Array.from({ length: count }, () => Math.floor(random() * 36).toString(36)).join('');
  const site = () => {
    const kind = random();
    if (kind < 0.35) return pick(WORDS) + pick(WORDS) + (random() < 0.3 ? digits() : '');
    if (kind < 0.6) return syllables(2 + Math.floor(random() * 3));
    if (kind < 0.8) return `${pick(WORDS)}-${syllables(2)}`;
    if (kind < 0.9) return pick(WORDS) + syllables(2) + pick(WORDS);
    return hex(8 + Math.floor(random() * 8));
  };
  const host = () => {
    const kind = random();
    if (kind < 0.3) return 'www';
    if (kind < 0.6) return pick(WORDS);
    if (kind < 0.85) return pick(WORDS) + digits();
    return `${hex(6)}.${pick(WORDS)}`;
  };
  return { site: () => `${site()}.${pick(ENDING)}`, host };
}

/** `count` different names; about half of them below another one's site. */
export function domains(count, seed) {
  const random = randomOf(seed);
  const { site, host } = names(random);
  const sites = [];
  const found = new Set();
  while (found.size < count) {
    const known = sites.length > 0 && random() < 0.35 ? sites[Math.floor(random() * sites.length)] : site();
    if (sites.length < count / 4) sites.push(known);
    found.add(random() < 0.5 ? known : `${host()}.${known}`);
  }
  return [...found];
}

/** What clients ask for: `hits` of them are in the list or below it. */
export function questions(list, count, hits, seed) {
  const random = randomOf(seed);
  const { site, host } = names(random);
  return Array.from({ length: count }, () => {
    if (random() >= hits) return random() < 0.3 ? site() : `${host()}.${site()}`;
    const known = list[Math.floor(random() * list.length)];
    return random() < 0.5 ? known : `${host()}.${known}`;
  });
}

/** Networks of both families, prefix lengths as in tables of countries. */
export function networks(count, seed, ipv6Share = 0.2) {
  const random = randomOf(seed);
  const byte = () => Math.floor(random() * 256);
  const group = () => Math.floor(random() * 65536).toString(16);
  return Array.from({ length: count }, () => {
    if (random() < ipv6Share)
      return `2${Math.floor(random() * 4096)
        .toString(16)
        .padStart(3, '0')}:${group()}:${group()}::/${32 + Math.floor(random() * 17)}`;
    const prefix = 16 + Math.floor(random() * 9);
    return `${1 + Math.floor(random() * 223)}.${byte()}.${prefix > 16 ? byte() & (0xff << Math.max(0, 24 - prefix)) & 0xff : 0}.0/${prefix}`;
  });
}

export function addresses(count, seed, ipv6Share = 0.2) {
  const random = randomOf(seed);
  const byte = () => Math.floor(random() * 256);
  const group = () => Math.floor(random() * 65536).toString(16);
  return Array.from({ length: count }, () =>
    random() < ipv6Share
      ? `2${Math.floor(random() * 4096)
          .toString(16)
          .padStart(3, '0')}:${group()}:${group()}:${group()}::1`
      : `${1 + Math.floor(random() * 223)}.${byte()}.${byte()}.${byte()}`,
  );
}
