/** Slips of the pen in the wild config, and what a person is told of each. */

export interface Slip {
  /** A text that stands there once. */
  readonly from: string;
  readonly to: string;
  /** The place that is told is in `to`, behind this text. Without it, it is where the line's own item or key begins. */
  readonly behind?: string;
  /** The place that is told is in another line than the one that was changed: in that with this text. */
  readonly at?: string;
  /** What is told, from its beginning. `FOLDER` is the config's. */
  readonly message: string;
}

export const SLIPS: readonly Slip[] = [
  // rules as text: the column is that of the rule
  { from: 'DOMAIN,localhost,DIRECT', to: 'DOMIAN,localhost,DIRECT', message: 'there is no rule kind "DOMIAN". Did you mean "DOMAIN"?' },
  { from: 'DOMAIN-SUFFIX,home.arpa,DIRECT', to: 'DOMAIN-SUFFIX,home.arpa,DIRCT', message: 'there is no proxy or group "DIRCT". Did you mean "DIRECT"?' },
  {
    from: 'DOMAIN-SUFFIX,home.arpa,DIRECT',
    to: 'DOMAIN-SUFFIX,home.arpa',
    message: '"DOMAIN-SUFFIX,home.arpa" has no target: write DOMAIN-SUFFIX,home.arpa,target',
  },
  { from: 'DOMAIN-SUFFIX,home.arpa,DIRECT', to: 'DOMAIN-SUFFIX,*.home.*,DIRECT', message: 'DOMAIN-SUFFIX takes a plain name, and "*.home.*" is a pattern' },
  { from: 'IP-CIDR,10.20.0.0/16,Office', to: 'IP-CIDR,10.20.0.0/33,Office', message: '"10.20.0.0/33" has a prefix of 33 bits: an IPv4 network has 0 to 32' },
  {
    from: 'IP-CIDR,10.20.0.0/16,Office',
    to: 'IP-CIDR,10.20.0/16,Office',
    message: '"10.20.0/16" is no network: write an address and the length of its prefix',
  },
  { from: ',Office,no-resolve\n  - IP-CIDR6,', to: ',Office,no-resolv\n  - IP-CIDR6,', at: 'IP-CIDR,10.20', message: 'unknown parameter "no-resolv"' },
  { from: '^ad[sv]?\\d{1,3}\\.', to: '^ad[sv?\\d{1,3}\\.', message: 'the regular expression "^ad[sv?\\d{1,3}\\." is not accepted: ' },
  { from: '^ad[sv]?\\d{1,3}\\.', to: '^(?=(a+)+$)', message: 'the regular expression "^(?=(a+)+$)" is not accepted: ' },
  { from: 'DST-PORT,6881-6999,', to: 'DST-PORT,6999-6881,', message: '"6999-6881" is an empty range: write the lower port first, DST-PORT,6881-6999' },
  { from: 'DST-PORT,0/65535,', to: 'DST-PORT,0/65536,', message: '"65536" is neither a port (0 to 65535) nor a range of ports' },
  { from: 'RULE-SET,ads-domain,', to: 'RULE-SET,ads-domian,', message: 'there is no rule-provider "ads-domian", did you mean "ads-domain"?' },
  {
    from: '(DOMAIN-SUFFIX,sub.example),sites',
    to: '(DOMAIN-SUFFIX,sub.example),sits',
    message: 'there is no list in sub-rules named "sits". Did you mean "sites"?',
  },
  { from: 'NOT,((OR,((NETWORK,TCP)', to: 'NOT,((OR,((NETWORK,TPC)', message: '"TPC" is no network: write NETWORK,TCP or NETWORK,UDP' },
  { from: 'NOT,((OR,((NETWORK,TCP)', to: 'NOT,((OR,((NETWRK,TCP)', message: 'unknown rule kind "NETWRK", did you mean NETWORK?' },
  {
    from: '(NETWORK,UDP)))),REJECT',
    to: '(NETWORK,UDP))),REJECT',
    message: '"NOT,((OR,((NETWORK,TCP),(NETWORK,UDP))),REJECT" has a parenthesis that is not closed',
  },
  {
    from: 'GEOSITE,wild-video,',
    to: 'GEOSITE,wild-vidoe,',
    message: 'GEOSITE cannot use FOLDER/geo/sites.dat: there is no list "wild-vidoe" in it, did you mean "wild-video"?',
  },
  {
    from: 'GEOSITE,wild-shop@ads,',
    to: 'GEOSITE,wild-shop@adds,',
    message: 'GEOSITE cannot use FOLDER/geo/sites.dat: no entry of its list "wild-shop" has the attribute "adds"',
  },
  { from: 'MODULE,./module.mjs', to: 'MODULE,./modul.mjs', message: 'there is no file FOLDER/modul.mjs' },
  { from: 'MODULE,./module.mjs', to: 'MODULE,https://example.com/module.mjs', message: '"https://…" is no local file' },
  { from: '- GEOIP,CN,China', to: '- GEOIP,86,China', message: '"86" is no country: write its two letters, as in GEOIP,CN' },
  { from: '- IP-ASN,64501,', to: '- IP-ASN,AS,', message: '"AS" is no number of an autonomous system' },
  // rules as objects
  {
    from: 'to: DIRECT, no-resolve: true',
    to: 'to: DIRECT, no-resolv: true',
    behind: 'to: DIRECT, ',
    message: '"no-resolv" is no key of a IP-CIDR6 rule. Did you mean "no-resolve"?',
  },
  { from: '{ type: UID, value: "@uid@/', to: '{ type: UID, value: "5-4/', message: '"5-4" is an empty range: write the lower number first, UID,4-5' },
  { from: '{ type: DOMAIN-WILDCARD, value: ', to: '{ type: DOMAIN-WILDCARD, vale: ', message: 'DOMAIN-WILDCARD needs a pattern' },
  // lists
  { from: 'path: lists/ads.yaml,', to: 'path: lists/adds.yaml,', behind: 'path: ', message: 'there is no such file: FOLDER/lists/adds.yaml' },
  { from: 'behavior: Classical', to: 'behavior: classic', behind: 'behavior: ', message: '"behavior" must be one of "domain", "ipcidr", "classical"' },
  {
    from: '[inline.example, ',
    to: '[inline.example/24, ',
    behind: '[',
    message: '"inline.example/24" is not a domain name: neither networks nor URLs stand in a list of names',
  },
  { from: '[198.51.100.192/26, ', to: '[198.51.100.192/40, ', behind: '[', message: '"198.51.100.192/40" has a prefix of 40 bits' },
  {
    from: 'DOMAIN-SUFFIX,inline-classical.example',
    to: 'DOMAIN-SUFIX,inline-classical.example',
    message: 'unknown rule kind "DOMAIN-SUFIX", did you mean DOMAIN-SUFFIX?',
  },
  {
    from: '{ type: file, behavior: domain, format: nekit, path',
    to: '{ type: http, behavior: domain, format: nekit, path',
    behind: '',
    message: '"url" is missing',
  },
  // files of rules
  { from: 'geosite: geo/sites.dat', to: 'geosite: geo/site.dat', behind: 'geosite: ', message: 'there is no such file: FOLDER/geo/site.dat' },
  { from: 'asn: ./asn.mmdb', to: 'asn: ./config.yaml', at: 'SRC-IP-ASN,64501', message: 'SRC-IP-ASN cannot use FOLDER/config.yaml: ' },
  // adapters, groups, listeners
  { from: 'exclude-filter: "2$"', to: 'exclude-filter: "2($"', behind: 'exclude-filter: ', message: '"exclude-filter": "2($" is no regular expression' },
  {
    from: '"(?i)^(HK|jp)-"',
    to: '"(?i)^(HK|jp)_"',
    behind: '',
    at: 'true, filter: "(?i)^(HK|jp)_"',
    message: 'the group "Auto" has no members: nothing is left by filter',
  },
  {
    from: 'strategy: round-robin',
    to: 'strategy: round-robbin',
    behind: 'strategy: ',
    message: '"strategy" must be one of "consistent-hashing", "round-robin", "sticky-sessions"',
  },
  { from: '[Auto, Hong Kong,', to: '[Auto, Honk Kong,', behind: '[Auto, ', message: 'there is no proxy or group "Honk Kong". Did you mean "Hong Kong"?' },
  {
    from: 'type: fallback, proxies: [hk-2,',
    to: 'type: fallback, proxies: [Proxy,',
    behind: 'proxies: [',
    message: 'these use each other in a circle: Proxy -> Hong Kong -> Proxy',
  },
  { from: 'name: Social, type', to: 'name: Japan, type', behind: 'name: ', message: 'the name "Japan" is given twice: FOLDER/config.yaml:' },
  { from: 'dialer-proxy: hk-1', to: 'dialer-proxy: hk-l', behind: 'dialer-proxy: ', message: 'there is no proxy or group "hk-l". Did you mean "hk-1"?' },
  {
    from: 'alias.wild.example: mixed.wild.example',
    to: 'alias.wild.example: alias.wild.example',
    behind: 'alias.wild.example: ',
    message: 'these names lead in a circle',
  },
  { from: '(DST-PORT,1-1023),low-ports', to: '(DST-PORT,1-1023),ports', message: 'these sub-rules use each other in a circle: ports -> ports' },
  { from: 'guest-in, type: socks', to: 'guest-in, type: sox', behind: 'type: ', message: 'there is no listener type "sox". Known types: mixed, http, socks' },
  // YAML
  { from: 'proxies: *far,', to: 'proxies: *fra,', behind: 'proxies: ', message: 'no anchor (&name) of that name stands above' },
  { from: '{ <<: *socks, name: hk-1, ', to: '{ <<: *sox, name: hk-1, ', behind: '<<: ', message: '"<<" merges the keys of another section' },
  { from: '  - { name: v4,', to: '\t- { name: v4,', behind: '', message: 'a tab is used for indentation; YAML wants spaces' },
];
