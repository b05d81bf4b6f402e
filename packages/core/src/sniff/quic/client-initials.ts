/** QUIC, versions 1 and 2: the ClientHello in a client's first Initial packets, which may be many and come in several datagrams, in any order. */
import { helloLength, nameInHello } from '../client-hello.js';
import type { Finding } from '../finding.js';
import { CryptoStream } from './crypto-stream.js';
import { clientInitialKeys, type InitialKeys, type QuicVersion } from './initial-keys.js';
import { openInitial, readLongPacket } from './initial-packet.js';

/** Packets of one datagram that are opened. Each costs two runs of a cipher. */
const MAX_PACKETS = 8;

export class ClientInitials {
  readonly #stream = new CryptoStream();
  #keys: { readonly version: number; readonly id: Uint8Array; readonly keys: InitialKeys } | null = null;
  /** One packet at least was what it seemed to be. */
  #isQuic = false;

  /** The next datagram of the client. */
  add(datagram: Uint8Array): Finding {
    for (let at = 0, packets = 0; at < datagram.length && packets < MAX_PACKETS; packets++) {
      const packet = readLongPacket(datagram, at);
      if (packet === null) break; // a short header, or padding behind the packets
      at = packet.end;
      if (!packet.isInitial) continue;
      const keys = this.#keysFor(packet.version, packet.destinationId);
      const frames = keys === null ? null : openInitial(datagram, packet, keys);
      if (frames === null) continue;
      if (!this.#stream.add(frames)) return 'none';
      this.#isQuic = true;
    }
    return this.#isQuic ? this.#look() : 'none';
  }

  #look(): Finding {
    const { bytes } = this.#stream;
    const length = helloLength(bytes);
    if (length === -1) return 'none';
    return length === 0 || bytes.length < length ? 'more' : nameInHello(bytes.subarray(0, length));
  }

  /** One client, one connection: its first packet makes the keys. null: this packet is of another. */
  #keysFor(version: QuicVersion, id: Uint8Array): InitialKeys | null {
    const known = this.#keys;
    if (known !== null) return known.version === version.number && Buffer.compare(known.id, id) === 0 ? known.keys : null;
    const keys = clientInitialKeys(version, id);
    this.#keys = { version: version.number, id: Uint8Array.from(id), keys };
    return keys;
  }
}
