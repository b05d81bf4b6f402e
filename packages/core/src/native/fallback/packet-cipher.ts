// Read first: Shadowsocks SIP004 and SIP007, UDP. The layout is drawn in native/cipher/shadowsocks-packet.hh.
import { randomFillSync } from 'node:crypto';
import { AEAD_METHODS, type AeadMethod, type PacketAead, TAG_LENGTH } from '../cipher.js';
import { messageCipher } from './aead-cipher.js';
import { rangeOf, roomIn } from './cipher-error.js';
import { hkdfSha1 } from './cipher-keys.js';
import type { MessageCipher } from './message-cipher.js';
import type { Sodium } from './sodium.js';

const INFO = Buffer.from('ss-subkey');

export class FallbackPacketAead implements PacketAead {
  readonly #method: AeadMethod;
  readonly #key: Uint8Array;
  readonly #sodium: Sodium | Error;
  readonly #nonce: Uint8Array;

  constructor(method: AeadMethod, key: Uint8Array, sodium: Sodium | Error) {
    messageCipher(method, key, sodium); // throws what there is to throw
    this.#method = method;
    this.#key = Uint8Array.from(key);
    this.#sodium = sodium;
    this.#nonce = new Uint8Array(AEAD_METHODS[method].nonce);
  }

  seal(plain: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number): number {
    const message = rangeOf(plain, start, end, 'plain');
    const saltLength = this.#key.length;
    const room = roomIn(out, outStart, saltLength + message.length + TAG_LENGTH);
    const salt = randomFillSync(new Uint8Array(saltLength));
    this.#of(salt).seal(this.#nonce, message, room.subarray(saltLength), null);
    room.set(salt);
    return room.length;
  }

  open(packet: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number): number {
    const whole = rangeOf(packet, start, end, 'packet');
    const saltLength = this.#key.length;
    if (whole.length < saltLength + TAG_LENGTH) return -1;
    const room = roomIn(out, outStart, whole.length - saltLength - TAG_LENGTH);
    if (this.#of(whole.subarray(0, saltLength)).open(this.#nonce, whole.subarray(saltLength), room, null)) return room.length;
    room.fill(0); // what is not authentic is nobody's to see
    return -1;
  }

  #of(salt: Uint8Array): MessageCipher {
    return messageCipher(this.#method, hkdfSha1(this.#key, salt, INFO, this.#key.length), this.#sodium);
  }
}
