/**
 * Ciphers as adapters see them, in C++ on the OpenSSL of the running node or in TypeScript. Bytes are given as an array and a range of it,
 * so that nothing is allocated per message. All errors have a `code`: ERR_INVALID_ARG_VALUE for wrong lengths and ranges, else a CipherCode.
 */

import { token } from '../net/token.js';

export type CipherCode =
  | 'CIPHER_AUTH' /** not authentic: wrong password or cipher, or altered bytes */
  | 'CIPHER_PROTOCOL' /** authentic, but not what the protocol allows here */
  | 'CIPHER_CLOCK' /** 2022: the clocks of both ends differ by more than 30 s; the message says by how many */
  | 'CIPHER_REFUSED' /** `check` said no */
  | 'CIPHER_EXHAUSTED' /** a nonce or block counter has come to its end */
  | 'CIPHER_MOVED' /** the codec has been given to the relay, or its `check` threw */
  | 'CIPHER_UNAVAILABLE' /** this platform has no implementation of the method */
  | 'CIPHER_FAILED'; /** the cryptographic library failed */

/** All with a tag of 16 bytes. */
export type AeadMethod = 'aes-128-gcm' | 'aes-192-gcm' | 'aes-256-gcm' | 'chacha20-ietf-poly1305' | 'xchacha20-ietf-poly1305';

export type StreamMethod =
  | 'none'
  | 'aes-128-cfb'
  | 'aes-192-cfb'
  | 'aes-256-cfb'
  | 'aes-128-ctr'
  | 'aes-192-ctr'
  | 'aes-256-ctr'
  | 'chacha20'
  | 'chacha20-ietf'
  | 'salsa20'
  | 'rc4-md5';

export type Method2022 = '2022-blake3-aes-128-gcm' | '2022-blake3-aes-256-gcm' | '2022-blake3-chacha20-poly1305';

/** Lengths in bytes. */
export const AEAD_METHODS: Readonly<Record<AeadMethod, { readonly key: number; readonly nonce: number }>> = {
  'aes-128-gcm': { key: 16, nonce: 12 },
  'aes-192-gcm': { key: 24, nonce: 12 },
  'aes-256-gcm': { key: 32, nonce: 12 },
  'chacha20-ietf-poly1305': { key: 32, nonce: 12 },
  'xchacha20-ietf-poly1305': { key: 32, nonce: 24 },
};

/** Lengths in bytes. */
export const STREAM_METHODS: Readonly<Record<StreamMethod, { readonly key: number; readonly iv: number }>> = {
  none: { key: 0, iv: 0 },
  'aes-128-cfb': { key: 16, iv: 16 },
  'aes-192-cfb': { key: 24, iv: 16 },
  'aes-256-cfb': { key: 32, iv: 16 },
  'aes-128-ctr': { key: 16, iv: 16 },
  'aes-192-ctr': { key: 24, iv: 16 },
  'aes-256-ctr': { key: 32, iv: 16 },
  chacha20: { key: 32, iv: 8 },
  'chacha20-ietf': { key: 32, iv: 12 },
  salsa20: { key: 32, iv: 8 },
  'rc4-md5': { key: 16, iv: 16 },
};

/** The AEAD inside, and the length of a key (and salt) in bytes. */
export const METHODS_2022: Readonly<Record<Method2022, { readonly aead: AeadMethod; readonly key: number }>> = {
  '2022-blake3-aes-128-gcm': { aead: 'aes-128-gcm', key: 16 },
  '2022-blake3-aes-256-gcm': { aead: 'aes-256-gcm', key: 32 },
  '2022-blake3-chacha20-poly1305': { aead: 'chacha20-ietf-poly1305', key: 32 },
};

export const TAG_LENGTH = 16;

/** What a chunk costs beside its payload: its sealed length, and a tag. */
export const CHUNK_OVERHEAD = 2 + 2 * TAG_LENGTH;

/** Longest payload of a chunk: SIP004 keeps the top two bits of the length, SIP022 does not. */
export const MAX_PAYLOAD = 0x3fff;
export const MAX_PAYLOAD_2022 = 0xffff;

/** One key, both directions. Input and output do not overlap, except that they may begin at the same byte. */
export interface Aead {
  /** Bytes written to `out` from `outStart`: the message and its tag. */
  seal(nonce: Uint8Array, plain: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number, aad?: Uint8Array): number;
  /** Bytes written, -1 if not authentic. */
  open(nonce: Uint8Array, sealed: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number, aad?: Uint8Array): number;
  /** Seals everything as chunks of Shadowsocks. `nonce` is a little-endian counter and moves on. Bytes written. Input and output must not overlap. */
  sealRun(nonce: Uint8Array, plain: Uint8Array, start: number, end: number, maxPayload: number, out: Uint8Array, outStart: number): number;
  /**
   * Opens the whole chunks at the start; `out` has room for as many bytes as are given. `progress` gets what was consumed and what was
   * produced, also when it throws CIPHER_AUTH, CIPHER_PROTOCOL or CIPHER_EXHAUSTED: that is then about the chunk after these.
   */
  openRun(nonce: Uint8Array, wire: Uint8Array, start: number, end: number, maxPayload: number, out: Uint8Array, outStart: number, progress: Uint32Array): void;
}

/**
 * Datagrams of SIP004, each with a salt and so a key of its own: `salt | message | tag`. The salt is as long as the key. Input and output do not overlap, except
 * that the message may be where it goes to.
 */
export interface PacketAead {
  /** Bytes written to `out` from `outStart`: salt, message and tag. */
  seal(plain: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number): number;
  /** Bytes of the message written, -1 if not authentic. */
  open(packet: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number): number;
}

/** One direction of a stream, in any fragmentation. */
export interface StreamCipher {
  /** As many bytes as were given. `out` may be `bytes` with the same start. */
  process(bytes: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number): void;
}

/** Single AES blocks: the separate header of SIP022's packets. */
export interface AesBlock {
  /** The 16 bytes from `start`, in place. */
  process(bytes: Uint8Array, start: number): void;
}

export type Direction = 'encrypt' | 'decrypt';

/**
 * Both halves of a sealed connection. A client's first `seal` puts salt and header in front. After an error it throws that error for ever.
 * In the addon it is the object that the relay takes over; whoever gave it away gets CIPHER_MOVED.
 */
export interface Codec {
  seal(plain: Uint8Array): Uint8Array;
  /** Any fragmentation. What a server opens begins with the address. */
  open(wire: Uint8Array): Uint8Array;
  /** Salt and header alone, or nothing if they have gone out. */
  sealPrologue(): Uint8Array;
  /** Something to send even if no plain bytes come. */
  readonly prologuePending: boolean;
  /**
   * Whether a FIN of the peer's here cuts a record (or a salt, or a header) in two: then it is no end but CIPHER_TRUNCATED, since anybody on the
   * way can send a FIN. false too once the codec is dead or given away.
   */
  readonly midRecord: boolean;
  /** The salt or IV of the other side, empty before it came. */
  readonly peerSalt: Uint8Array;
  /** Our own, drawn when it is first asked for or needed. Empty where the method has none. */
  readonly salt: Uint8Array;
  /** 2022 server: index into `users`, else -1. */
  readonly user: number;
}

export interface AeadCodecSpec {
  readonly kind: 'aead';
  readonly method: AeadMethod;
  readonly key: Uint8Array;
  /** Client: the target as an address of SOCKS5. Absent at a server. */
  readonly header?: Uint8Array;
}

export interface StreamCodecSpec {
  readonly kind: 'stream';
  readonly method: StreamMethod;
  readonly key: Uint8Array;
  readonly header?: Uint8Array;
}

export interface Codec2022Spec {
  readonly kind: '2022';
  readonly role: 'client' | 'server';
  readonly method: Method2022;
  /** Client: identity keys from the outside in, the user's own last. Server: its own. */
  readonly keys: readonly Uint8Array[];
  /** Server with identity headers: the users' keys. */
  readonly users?: readonly Uint8Array[];
  readonly header?: Uint8Array;
  /** Seconds to add to the system's clock. */
  readonly clockOffset?: number;
  /**
   * Called once, inside `open`, with the first record's plain header and the peer's salt, after type, timestamp and request salt were found
   * good: a server's replay filter. A codec that has not called it yet cannot be given to the relay.
   */
  readonly check?: (header: Uint8Array, salt: Uint8Array) => boolean;
}

export type CodecSpec = AeadCodecSpec | StreamCodecSpec | Codec2022Spec;

/** The ciphers of one implementation. Lengths asked for are 1 to 4096 bytes. */
export interface Ciphers {
  readonly kind: 'native' | 'typescript';
  createAead(method: AeadMethod, key: Uint8Array): Aead;
  /** `key`: the password's, which no datagram is sealed with. */
  createPacketAead(method: AeadMethod, key: Uint8Array): PacketAead;
  createStreamCipher(method: StreamMethod, key: Uint8Array, iv: Uint8Array, direction: Direction): StreamCipher;
  createAesBlock(key: Uint8Array, direction: Direction): AesBlock;
  createCodec(spec: CodecSpec): Codec;
  /** RFC 5869 with SHA-1. */
  hkdfSha1(key: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array;
  /** OpenSSL's EVP_BytesToKey with MD5, no salt, one round: the key of a Shadowsocks password. */
  bytesToKey(password: Uint8Array, length: number): Uint8Array;
  blake3(bytes: Uint8Array, length: number): Uint8Array;
  /** BLAKE3 in derive_key mode. */
  blake3DeriveKey(context: string, material: Uint8Array, length: number): Uint8Array;
}

/** The kernel's ciphers: the addon's where it has them, TypeScript's where not. */
export const CIPHERS = token<Ciphers>('Ciphers');
