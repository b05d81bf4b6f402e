/** The server's side of a WebSocket, as much as an echo needs. Read first: RFC 6455 sections 4.2.2, 5.2, 5.5. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

const MAGIC = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Sends every message back, and a close frame after a close frame. */
export function echoWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${MAGIC}`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  let bytes = head;
  const read = (): void => {
    for (let frame = parse(bytes); frame !== null; frame = parse(bytes)) {
      bytes = bytes.subarray(frame.length);
      socket.write(encode(frame.first, frame.payload));
      if ((frame.first & 0x0f) === 8) socket.end();
    }
  };
  socket.on('data', (part: Buffer) => {
    bytes = Buffer.concat([bytes, part]);
    read();
  });
  read();
}

/** The first whole frame: FIN and opcode, its length on the wire, its payload without the mask. */
function parse(bytes: Buffer): { first: number; length: number; payload: Buffer } | null {
  if (bytes.length < 2) return null;
  const [first = 0, second = 0] = bytes;
  const short = second & 0x7f;
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start + 4) return null;
  const size = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  const length = start + 4 + size;
  if (bytes.length < length) return null;
  const mask = bytes.subarray(start, start + 4);
  const payload = bytes.subarray(start + 4, length).map((octet, index) => octet ^ (mask[index % 4] ?? 0));
  return { first, length, payload: Buffer.from(payload) };
}

function encode(first: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head =
    length < 126
      ? Buffer.from([first, length])
      : length < 65_536
        ? Buffer.from([first, 126, length >> 8, length & 0xff])
        : Buffer.from([first, 127, 0, 0, 0, 0, ...Buffer.from(Uint32Array.of(length).buffer).reverse()]);
  return Buffer.concat([head, payload]);
}
