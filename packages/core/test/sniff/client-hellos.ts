/** ClientHellos, and QUIC packets around them, made by hand (RFC 8446, 9000, 9001, 9369). */
import { createCipheriv, createHmac } from 'node:crypto';

export function uint(value: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.writeUIntBE(value, 0, length);
  return bytes;
}

/** With its length in front. */
export function vector(lengthBytes: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([uint(content.length, lengthBytes), content]);
}

export function extension(type: number, ...content: readonly Uint8Array[]): Buffer {
  return Buffer.concat([uint(type, 2), vector(2, ...content)]);
}

export function serverName(name: string): Buffer {
  return extension(0, vector(2, uint(0, 1), vector(2, Buffer.from(name, 'latin1'))));
}

/** An Encrypted Client Hello extension of the outer hello. */
export const OUTER_ECH = extension(0xfe0d, uint(0, 1), Buffer.alloc(40, 7));

/** The handshake message, without records. */
export function clientHello(...extensions: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat([
    uint(0x0303, 2),
    Buffer.alloc(32, 1),
    vector(1, Buffer.alloc(32, 2)),
    vector(2, uint(0x1301, 2), uint(0x1302, 2)),
    vector(1, uint(0, 1)),
    ...(extensions.length === 0 ? [] : [vector(2, ...extensions)]),
  ]);
  return Buffer.concat([uint(1, 1), vector(3, body)]);
}

/** A hello as browsers send it: the name among other extensions, and a key share of `share` bytes. */
export function helloFor(name: string, share = 36, ...more: readonly Uint8Array[]): Buffer {
  return clientHello(
    extension(0x0a0a),
    extension(43, vector(1, uint(0x0304, 2))),
    extension(51, Buffer.alloc(share, 5)),
    serverName(name),
    ...more,
    extension(16, vector(2, vector(1, Buffer.from('h2')))),
  );
}

/** In records of at most `size` bytes. */
export function records(message: Uint8Array, size = 16_384): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) parts.push(Buffer.concat([Buffer.from([22, 3, 1]), vector(2, message.subarray(at, at + size))]));
  return Buffer.concat(parts);
}

export function varint(value: number): Buffer {
  if (value < 64) return uint(value, 1);
  return value < 16_384 ? uint(0x4000 + value, 2) : uint(0x8000_0000 + value, 4);
}

export function cryptoFrame(bytes: Uint8Array, offset: number, length: number): Buffer {
  const part = bytes.subarray(offset, offset + length);
  return Buffer.concat([uint(6, 1), varint(offset), varint(part.length), part]);
}

export const VERSION_1 = { number: 1, type: 0, salt: '38762cf7f55934b34d179ae6a4c80cadccbb7f0a', label: 'quic' };
export const VERSION_2 = { number: 0x6b3343cf, type: 1, salt: '0dede3def700a6db819381be6e269dcbf9bd2ed9', label: 'quicv2' };

export interface InitialOptions {
  readonly version?: typeof VERSION_1;
  readonly destinationId?: Uint8Array;
  readonly sourceId?: Uint8Array;
  readonly token?: Uint8Array;
  readonly packetNumber?: number;
  readonly numberLength?: number;
  /** The payload is filled up with PADDING to so many bytes. */
  readonly paddedTo?: number;
}

const ID = Buffer.from('8394c8f03e515708', 'hex');

/** A protected Initial packet of a client. */
export function initialPacket(frames: Uint8Array, options: InitialOptions = {}): Buffer {
  const {
    version = VERSION_1,
    destinationId = ID,
    sourceId = Buffer.alloc(8, 9),
    token = Buffer.alloc(0),
    packetNumber = 0,
    numberLength = 4,
    paddedTo = 0,
  } = options;
  const secret = expand(hmac(Buffer.from(version.salt, 'hex'), destinationId), 'client in', 32);
  const [key, iv, hp] = [expand(secret, `${version.label} key`, 16), expand(secret, `${version.label} iv`, 12), expand(secret, `${version.label} hp`, 16)];
  const payload = Buffer.concat([frames, Buffer.alloc(Math.max(0, paddedTo - frames.length))]);
  const number = uint(packetNumber, numberLength);
  const header = Buffer.concat([
    uint(0xc0 | (version.type << 4) | (numberLength - 1), 1),
    uint(version.number, 4),
    vector(1, destinationId),
    vector(1, sourceId),
    varint(token.length),
    token,
    uint(0x4000 + numberLength + payload.length + 16, 2),
    number,
  ]);
  const nonce = Buffer.from(iv);
  for (let i = 0; i < numberLength; i++) nonce[12 - numberLength + i] = (nonce[12 - numberLength + i] ?? 0) ^ (number[i] ?? 0);
  const cipher = createCipheriv('aes-128-gcm', key, nonce);
  cipher.setAAD(header);
  const sealed = Buffer.concat([cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
  const packet = Buffer.concat([header, sealed]);
  const at = header.length - numberLength;
  const mask = createCipheriv('aes-128-ecb', hp, null).update(packet.subarray(at + 4, at + 20));
  packet[0] = (packet[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f);
  for (let i = 0; i < numberLength; i++) packet[at + i] = (packet[at + i] ?? 0) ^ (mask[1 + i] ?? 0);
  return packet;
}

function expand(secret: Uint8Array, label: string, length: number): Buffer {
  return hmac(secret, Buffer.concat([uint(length, 2), vector(1, Buffer.from(`tls13 ${label}`)), uint(0, 1), uint(1, 1)])).subarray(0, length);
}

function hmac(key: Uint8Array, message: Uint8Array): Buffer {
  return createHmac('sha256', key).update(message).digest();
}
