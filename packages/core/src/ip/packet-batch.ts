/**
 * Packets that came in together, as parallel arrays: index = packet. Native code (or `BatchParser`) has checked every header and, unless the device vouches for them, every
 * checksum: what is in a batch may be read without another look at lengths.
 *
 * All of it is lent until `input` returns: the arrays and the slab are filled anew for the next batch.
 */
export interface PacketBatch {
  readonly length: number;
  /** The slab that holds all of them; offsets below are into it. */
  readonly bytes: Uint8Array;
  /** First byte of the IP header. */
  readonly start: Uint32Array;
  /** Behind the last byte that counts: padding, and what UDP's length leaves out, are cut off. */
  readonly end: Uint32Array;
  /** First byte of the transport header. */
  readonly transport: Uint32Array;
  /** First byte behind the transport header and its options. */
  readonly payload: Uint32Array;
  /** 4 or 6. */
  readonly version: Uint8Array;
  /** See PROTOCOL. */
  readonly protocol: Uint8Array;
  /** Of TCP; see FLAG. */
  readonly flags: Uint8Array;
  readonly sourcePort: Uint16Array;
  readonly destinationPort: Uint16Array;
  /** Seeded hash of addresses, ports and protocol. */
  readonly flow: Uint32Array;
  readonly sequence: Uint32Array;
  readonly acknowledgment: Uint32Array;
  /** As in the header, not scaled. */
  readonly window: Uint16Array;
  /**
   * Several segments or datagrams of one flow that the device has joined: how long each was, but for the last. 0: one packet. A TUN goes on where the kernel has stopped: segments that follow
   * one another, and differ in nothing else, come as one, whose headers (lengths and checksums among them) are the first one's. Its payload may be more than a packet holds.
   */
  readonly segmentSize: Uint16Array;
  /** What `flow` would be, were a packet of another batch in this one: one that was put together from fragments belongs to the flow of those that came whole. */
  flowOf(other: PacketBatch, index: number): number;
}
