import type { Socket } from 'node:net';
import { startTarget, type Target } from '@nekit/core/testing';

export interface Origin extends Target {
  /** Everything that came, connection by connection, as latin1. */
  readonly received: string[];
  readonly sockets: Socket[];
  /** The same in the order of time. */
  log(): string;
}

export type Respond = (request: string, socket: Socket, connection: number) => string | null;

/**
 * An origin that reads like a person: it calls `respond` with all that came since its last answer, whenever something comes; a string is the
 * answer, null means "go on".
 */
export async function startOrigin(respond: Respond): Promise<Origin> {
  const received: string[] = [];
  const sockets: Socket[] = [];
  let log = '';
  const target = await startTarget((socket) => {
    const index = received.push('') - 1;
    sockets.push(socket);
    let pending = '';
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      received[index] = `${received[index] ?? ''}${text}`;
      log += text;
      pending += text;
      const answer = respond(pending, socket, index);
      if (answer === null) return;
      pending = '';
      socket.write(answer, 'latin1');
    });
    socket.on('end', () => socket.end());
  });
  return { ...target, received, sockets, log: () => log };
}

/** Answers every complete head. */
export function always(answer: string): Respond {
  return (request) => (request.includes('\r\n\r\n') ? answer : null);
}

/** `200` with a body. */
export function ok(body: string, fields = ''): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
}
