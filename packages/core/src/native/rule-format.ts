/** What policy rules are made of on the wire (linux/fib_rules.h). */

export const FRA_DST = 1;
export const FRA_SRC = 2;
export const FRA_IIFNAME = 3;
export const FRA_GOTO = 4;
export const FRA_PRIORITY = 6;
export const FRA_FWMARK = 10;
export const FRA_SUPPRESS_PREFIXLEN = 14;
export const FRA_TABLE = 15;
export const FRA_FWMASK = 16;
export const FRA_OIFNAME = 17;
export const FRA_PROTOCOL = 21;
export const FRA_IP_PROTO = 22;
export const FRA_DPORT_RANGE = 24;

export const FIB_RULE_INVERT = 0x2;

/** What a rule says that suppresses nothing. */
export const NO_SUPPRESSION = 0xffff_ffff;

/** family, dst_len, src_len, tos, table, two unused, action (a byte each), flags (four). */
export const RULE_FIXED = 12;

export const ACTIONS = { lookup: 1, goto: 2, nop: 3, unreachable: 7 } as const;

export const IP_PROTOCOLS = { tcp: 6, udp: 17 } as const;
