/** The files of `rule-providers`, the lists of geosite.dat and the modules that config.yaml names, as somebody would have written them. */

const BOM = '\ufeff';
const crlf = (text: string): string => text.replaceAll('\n', '\r\n');

/** By path, beside the config. */
export const FILES: Readonly<Record<string, string>> = {
  'lists/ads.yaml': `# a list of names
payload:
  - ads-list.example
  - '+.ads-suffix.example' # and all below
  - ".ads-below.look-alike.example"
  - '*.ads-star.look-alike.example'
`,
  // No newline at its end.
  'lists/ads-crlf.txt': crlf(`# from Windows

crlf-ads.example
  +.crlf-suffix.example \t
UPPER-ADS.EXAMPLE
last-line.example`),
  'lists/streaming.yaml': `payload:
  - DOMAIN-SUFFIX,film.example
  - DOMAIN,one.cinema.example
  - "DOMAIN-KEYWORD,stream-word"
  - IP-CIDR,198.51.100.16/28
  - IP-CIDR6,2001:db8:f11::/48,no-resolve
  - 'DOMAIN-REGEX,^film\\d{1,2}\\.tv\\.example$'
`,
  'lists/social-bom.list': `${BOM}DOMAIN-SUFFIX,social.example
DOMAIN-SUFFIX,gespräch.example
// a note
IP-CIDR,198.51.100.32/28,no-resolve
OR,((DOMAIN,a.chat.example),(DOMAIN,b.chat.example))
`,
  'lists/office.yaml': `---
"payload":
- 198.51.100.48/28
- '2001:db8:ff1::/48'
`,
  'lists/cn.txt': `# networks, and one address
198.51.100.64/28
2001:db8:c::/48
223.5.5.5 # an address alone
`,
  'lists/empty.txt': '',
  'lists/empty.yaml': 'payload: []\n',
  'lists/comments-bom-crlf.txt': crlf(`${BOM}# nothing in here\n\n  // yet\n`),
  'lists/sing-box-domains.json': JSON.stringify({
    version: 2,
    rules: [
      { domain: ['exact.sb.example'], domain_suffix: ['sb-suffix.example', '.sb-below.example'] },
      { domain_keyword: ['sb-word'] },
      { domain_regex: ['^sb\\d{1,2}\\.wild\\.example$'] },
    ],
  }),
  'lists/sing-box.json': JSON.stringify(
    {
      version: 1,
      rules: [
        { domain_suffix: ['sbm.example'], port: [443, 8443] },
        { ip_cidr: ['198.51.100.80/28'] },
        { type: 'logical', mode: 'and', rules: [{ domain_keyword: ['logic-word'] }, { network: 'udp' }] },
        { domain: ['range.sbm2.example'], port_range: ['8990:8999', ':100'] },
        { type: 'logical', mode: 'and', rules: [{ domain_suffix: ['inv.example'] }, { domain: ['keep.inv.example'], invert: true }] },
      ],
    },
    null,
    2,
  ),
  'lists/nekit-domains.txt': '^nk\\.example$\n\\.nk-below\\.example$\n\nNekit[0-9]+\n(^|\\.)nk-suffix\\.example$\n',
  'lists/nekit-ips.txt': '198.51.100.96/28\n198.51.100.112+3\n198.51.100.120\n2001:db8:e::/48\n',
  'lists/clients.txt': '192.168.88.0/24\n2001:db8:c11e::/48\n',
  'lists/looked-up.txt': '198.51.100.128/27\n',
  'lists/idn.txt': 'köln.example\n+.ZÜRICH.example.\nxn--bcher-kva.idn.example\n*.日本.example\n',
  'lists/patterns.yaml': "payload:\n  - '*.pattern.example'\n  - cdn.*.mid.example\n  - .below-pattern.example\n",
  'module.mjs': `export default async ({ destination }, facts) => {
  switch (destination.host) {
    case 'yes.module.example':
      return true;
    case 'detour.module.example':
      return 'us-2';
    case 'addresses.module.example':
      return (await facts.addresses()).includes('192.0.2.200');
    default:
      return false;
  }
};
`,
  'modules/late.cjs': "module.exports = ({ destination }) => destination.host.endsWith('.late.example') && destination.port >= 1024;\n",
};

export interface GeositeList {
  readonly code: string;
  readonly entries: readonly { readonly type: 'keyword' | 'regex' | 'domain' | 'full'; readonly value: string; readonly attributes?: readonly string[] }[];
}

export const GEOSITES: readonly GeositeList[] = [
  {
    code: 'WILD-VIDEO',
    entries: [
      { type: 'full', value: 'full.gs-video.example' },
      { type: 'domain', value: 'gs-video-domain.example' },
      { type: 'keyword', value: 'gs-word' },
      { type: 'regex', value: '^gs\\d{1,2}\\.wild\\.example$' },
    ],
  },
  {
    code: 'WILD-SHOP',
    entries: [
      { type: 'domain', value: 'gs-shop.example' },
      { type: 'domain', value: 'ads.gs-shop.example', attributes: ['ads', 'cn'] },
      { type: 'full', value: 'tracker.gs-shop2.example', attributes: ['ads'] },
    ],
  },
];

/** Networks of autonomous systems that nobody has. */
export const SYSTEMS: readonly { readonly network: string; readonly number: number }[] = [
  { network: '198.18.0.0/16', number: 64501 },
  { network: '198.19.0.0/16', number: 64502 },
  { network: '2001:db8:5002::/48', number: 64502 },
];
