/** The other ends of the soak: a target that does what its first line says, an upstream proxy that answers late or never, one that never accepts. */
import { type ChildProcess, fork } from 'node:child_process';
import net from 'node:net';
import { startTarget, type Target } from '@nekit/core/testing';

/** What a connection may ask the target to do, as its first line. */
export const ORDERS = ['echo', 'reset', 'end', 'flood', 'silence', 'http', 'http-cut', 'http-reset'] as const;
export type Order = (typeof ORDERS)[number];

const BLOCK = Buffer.alloc(16 * 1024, 0x2e);

/** libuv resets nothing while a FIN is on its way (EINVAL), and Node would never close the socket then: its descriptor would be lost. */
export function resetNow(socket: net.Socket): void {
  if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) socket.once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}

export function startObedient(): Promise<Target> {
  return startTarget(listenAndObey);
}

/** The order is the first line's last word but one for HTTP: `GET /http-cut HTTP/1.1`. */
export function listenAndObey(socket: net.Socket): void {
  forgetLater(socket);
  let head = Buffer.alloc(0);
  const listen = (bytes: Buffer): void => {
    head = Buffer.concat([head, bytes]);
    const end = head.indexOf('\n');
    if (end === -1) return;
    socket.off('data', listen);
    const line = head.subarray(0, end).toString('latin1').trim();
    obey(socket, (/ \/([a-z-]+) HTTP/.exec(line)?.[1] ?? line) as Order, head.subarray(end + 1));
  };
  socket.on('data', listen);
}

/**
 * A target that says nothing after the other side's FIN never hears of a reset: libuv does not look any more. Its descriptor would stay for ever, and after
 * 20 minutes there would be none left. Longer than anybody's patience.
 */
function forgetLater(socket: net.Socket): void {
  socket.setTimeout(30_000, () => socket.destroy());
}

function obey(socket: net.Socket, order: Order, rest: Buffer): void {
  switch (order) {
    case 'echo':
      socket.write(rest);
      socket.pipe(socket);
      break;
    case 'reset':
      socket.write(BLOCK, () => resetNow(socket));
      break;
    case 'end':
      socket.end(BLOCK);
      socket.resume();
      break;
    case 'flood':
      flood(socket);
      socket.resume();
      break;
    case 'silence':
      socket.resume();
      break;
    case 'http':
      socket.on('data', () => {});
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
      break;
    case 'http-cut':
      socket.resume();
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello');
      break;
    case 'http-reset':
      socket.resume();
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', () => resetNow(socket));
      break;
  }
}

/** Writes as fast as it is taken: more than all buffers on the way can hold, but not for ever. */
function flood(socket: net.Socket, blocks = 400): void {
  let left = blocks;
  while (!socket.destroyed && left-- > 0 && socket.write(BLOCK));
  if (socket.destroyed) return;
  if (left > 0) socket.once('drain', () => flood(socket, left));
  else socket.end();
}

/** An HTTP proxy that thinks for `ms` before it says 200 and becomes an echo; with null it thinks forever. */
export function startSlowProxy(ms: number | null): Promise<Target> {
  return startTarget((socket) => {
    forgetLater(socket);
    socket.once('data', () => {
      if (ms === null) return void socket.resume();
      setTimeout(() => {
        if (socket.destroyed) return;
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        socket.pipe(socket);
      }, ms);
    });
  });
}

/**
 * A port whose queue of connections is full and stays so: the kernel drops further SYNs, and a connect hangs. A process that listens and
 * then sleeps (SIGSTOP) does it.
 */
export async function startNeverAccepts(): Promise<{ readonly port: number; close(): void }> {
  const child: ChildProcess = fork(new URL('./never-accepts.js', import.meta.url));
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(Number(message)));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`never-accepts ended with ${code}`)));
  });
  child.kill('SIGSTOP');
  const fillers = Array.from({ length: 4 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
  return {
    port,
    close: () => {
      for (const filler of fillers) filler.destroy();
      child.removeAllListeners();
      child.kill('SIGKILL');
    },
  };
}
