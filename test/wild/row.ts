/** What a row of the table says, and what many of them say alike. */

export interface Row {
  /** As a client may spell it. */
  readonly host: string;
  readonly port: number;
  readonly udp?: true;
  /** `address:port` of the client; `self`: a connection of this process. By default 127.0.0.1:0. */
  readonly source?: string;
  readonly inbound?: string;
  readonly inboundType?: string;
  readonly inboundPort?: number;
  readonly user?: string;
  /** The adapter at the end. */
  readonly expect: string;
  /** The groups it is reached through. */
  readonly via?: readonly string[];
  /** The rule that decides, as text. */
  readonly rule: string;
  /** The sub-rules it stands in. */
  readonly list?: string;
  /** To which of its addresses a direct connection would have to keep. */
  readonly addresses?: readonly string[];
}

/** By way of a group. */
export const FINAL = { expect: 'hk-1', via: ['Final', 'Proxy', 'Auto'] } as const;
export const PROXY = { expect: 'hk-1', via: ['Proxy', 'Auto'] } as const;
export const SOCIAL = { expect: 'hk-1', via: ['Social', 'Proxy', 'Auto'] } as const;
export const STREAMING = { expect: 'jp-1', via: ['Streaming', 'Japan'] } as const;
export const JAPAN = { expect: 'jp-1', via: ['Japan'] } as const;
export const OFFICE = { expect: 'office', via: ['Office'] } as const;
export const GAMES = { expect: 'us-2', via: ['Games'] } as const;
export const EUROPE = { expect: 'de-1', via: ['Europe'] } as const;
export const CHINA = { expect: 'DIRECT', via: ['China'] } as const;
export const ADBLOCK = { expect: 'REJECT', via: ['AdBlock'] } as const;
export const NESTED = { expect: 'Balance', via: ['Nested'] } as const;
export const HONG_KONG = { expect: 'hk-2', via: ['Hong Kong'] } as const;
export const GUESTS = { expect: 'v4', via: ['Guests'] } as const;

/** By a rule that is often meant. */
export const LOOPBACK = { expect: 'DIRECT', rule: 'IP-CIDR,127.0.0.0/8,DIRECT,no-resolve' } as const;
export const LAN = { expect: 'lan', rule: 'GEOIP,LAN,lan,no-resolve' } as const;
export const TARPIT = { expect: 'tarpit', rule: 'IP-CIDR,10.20.30.0/24,tarpit,no-resolve' } as const;
export const DOCUMENTATION = { expect: 'block', rule: 'IP-CIDR6,::ffff:203.0.113.0/120,block,no-resolve' } as const;
/** What only looks like something that a rule is for. */
export const NOT = { ...FINAL, rule: 'DOMAIN-WILDCARD,not*,Final' } as const;
export const LOOK_ALIKE = { ...FINAL, rule: 'DOMAIN-SUFFIX,look-alike.example,Final' } as const;
export const EDGE = { expect: 'us-2', rule: 'DOMAIN-SUFFIX,edge.example,us-2' } as const;
export const PORTS = { expect: 'v4', rule: 'DST-PORT,8000-8080/9000,v4' } as const;
export const CALIFORNIA = { expect: 'us-1', rule: 'GEOIP,us,us-1' } as const;
export const NOWHERE = { ...OFFICE, rule: 'COUNTRY,--,Office' } as const;
export const UDP = { ...GAMES, rule: 'NETWORK,udp,Games' } as const;
export const MATCH = { ...FINAL, rule: 'MATCH,Final' } as const;
