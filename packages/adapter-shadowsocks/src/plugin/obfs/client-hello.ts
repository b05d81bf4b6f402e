import { randomBytes } from 'node:crypto';
import { HANDSHAKE, MAX_RECORD } from './records.js';

/** Cipher suites in the order that obfs-local offers them (IANA's numbers): what OpenSSL 1.1's default list was. */
const SUITES = [
  ...[0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8, 0xccaa, 0xc02b, 0xc02f, 0x009e, 0xc024, 0xc028, 0x006b, 0xc023, 0xc027],
  ...[0x0067, 0xc00a, 0xc014, 0x0039, 0xc009, 0xc013, 0x0033, 0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x00ff],
];

/** ec_point_formats, supported_groups, signature_algorithms, encrypt_then_mac, extended_master_secret, with types and lengths. */
const OTHER_EXTENSIONS = Buffer.from(
  [
    '000b000403010002', // all three point formats
    '000a000a0008001d001700190018', // x25519, P-256, P-521, P-384
    '000d0020001e060106020603050105020503040104020403030103020303020102020203',
    '00160000',
    '00170000',
  ].join(''),
  'hex',
);

/** Longest name in SNI that is sent; DNS has no longer ones. */
const MAX_HOST = 255;

/** Everything in a hello but name and ticket: header of record and handshake, version, random, session, suites, compression, extensions. */
const FIXED = 4 + 2 + 32 + 1 + 32 + 2 + 2 * SUITES.length + 2 + 2 + 4 + 9 + OTHER_EXTENSIONS.length;

/** What fits into the ticket, so that the record keeps to TLS' own limit; in bytes. */
export const MAX_TICKET = MAX_RECORD - FIXED - MAX_HOST;

/** A ClientHello, with its record, that asks for `host` and carries `ticket`. */
export function clientHello(host: string, ticket: Uint8Array): Uint8Array {
  const name = Buffer.from(host, 'latin1').subarray(0, MAX_HOST);
  const body = Buffer.alloc(5 + FIXED + name.length + ticket.length);
  let at = 0;
  const u8 = (value: number): void => {
    at = body.writeUInt8(value, at);
  };
  const u16 = (value: number): void => {
    at = body.writeUInt16BE(value, at);
  };
  const bytes = (value: Uint8Array): void => {
    body.set(value, at);
    at += value.length;
  };
  u8(HANDSHAKE);
  u16(0x0301);
  u16(body.length - 5);
  u8(1); // ClientHello
  u8(0);
  u16(body.length - 9);
  u16(0x0303);
  at = body.writeUInt32BE(Math.floor(Date.now() / 1_000), at); // gmt_unix_time: the first four bytes of random
  bytes(randomBytes(28));
  u8(32);
  bytes(randomBytes(32)); // session id
  u16(2 * SUITES.length);
  for (const suite of SUITES) u16(suite);
  u8(1);
  u8(0); // no compression
  u16(body.length - at - 2); // everything behind is extensions
  u16(0x0023); // session_ticket
  u16(ticket.length);
  bytes(ticket);
  u16(0x0000); // server_name
  u16(name.length + 5);
  u16(name.length + 3);
  u8(0); // host_name
  u16(name.length);
  bytes(name);
  bytes(OTHER_EXTENSIONS);
  return body;
}
