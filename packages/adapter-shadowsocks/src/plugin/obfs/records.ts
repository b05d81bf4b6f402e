/** Layout of a TLS record (RFC 5246 section 6.2): type, version (2 bytes), length (2), fragment. */
export const RECORD_HEADER = 5;
export const CHANGE_CIPHER_SPEC = 0x14;
export const HANDSHAKE = 0x16;
export const APPLICATION_DATA = 0x17;

/** Of a fragment, in bytes (RFC 5246 section 6.2.1). What is longer looks like no TLS. */
export const MAX_RECORD = 0x4000;
