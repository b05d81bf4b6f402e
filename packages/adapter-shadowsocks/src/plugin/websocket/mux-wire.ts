/** Numbers of Mux.Cool: status and options of a frame. */
export const NEW = 1;
export const KEEP = 2;
export const END = 3;
export const KEEP_ALIVE = 4;

export const HAS_DATA = 1;
export const FAILED = 2;

/** Ids count from 1, and there is only one. */
export const SUB_CONNECTION = 1;

/** id, status, option. */
export const MIN_METADATA = 4;

/** v2ray takes no longer one, in bytes. */
export const MAX_METADATA = 512;
