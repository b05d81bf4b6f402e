/** One message, whole views: `out` has exactly the right length. */
export interface MessageCipher {
  seal(nonce: Uint8Array, plain: Uint8Array, out: Uint8Array, aad: Uint8Array | null): void;
  /** False if not authentic; `out` is then undefined. */
  open(nonce: Uint8Array, sealed: Uint8Array, out: Uint8Array, aad: Uint8Array | null): boolean;
}
