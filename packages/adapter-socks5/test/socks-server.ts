/**
 * A SOCKS5 server for tests: strict about what it is sent, wrong in every way that it is told to be. It has its own reading of the RFCs.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import tls from 'node:tls';
import { duplexFromStream, streamFromSocket } from '@nekit/core';
import type { Certificate } from './certificate.js';

export type Step = 'greeting' | 'auth' | 'request';

export interface Behaviour {
  /** Wants RFC 1929 with exactly these. */
  readonly user?: { readonly username: string; readonly password: string };
  readonly tls?: Certificate;
  /** Bytes to answer a step with instead of the right ones; nothing more comes after them. */
  readonly wrong?: Partial<Record<Step, Uint8Array>>;
  /** Answers nothing from this step on. */
  readonly hangAt?: Step;
  /** FIN or RST instead of the answer to this step. */
  readonly closeAt?: Step;
  readonly resetAt?: Step;
  /** The answers leave one byte at a time. */
  readonly bytewise?: boolean;
  /** ATYP, address and port of a successful reply, instead of 127.0.0.1 and the port. */
  readonly bound?: Uint8Array;
  /** Does not end an association when the client does. */
  readonly deafToFin?: boolean;
  /** Sent in one piece with the successful reply. */
  readonly behindReply?: Uint8Array;
}

export interface SocksServer {
  readonly port: number;
  /** What was asked for, and every breach of the protocol by the client. */
  readonly requests: { command: number; type: number; host: string; port: number }[];
  readonly breaches: string[];
  readonly sni: (string | false)[];
  /** How clients of associations ended their control connections. */
  readonly ends: ('FIN' | 'RST')[];
  connections(): number;
  accepted(): number;
  /** UDP associations that are open. */
  associations: Association[];
  close(): Promise<void>;
}

export interface Association {
  readonly socket: dgram.Socket;
  readonly port: number;
  /** Payloads with headers, as they came. */
  readonly received: { bytes: Buffer; port: number }[];
  /** Ends the control connection. */
  endControl(): void;
}

export async function startSocksServer(behaviour: Behaviour = {}): Promise<SocksServer> {
  const open = new Set<net.Socket>();
  let accepted = 0;
  const state: Omit<SocksServer, 'port' | 'close'> = {
    requests: [],
    breaches: [],
    sni: [],
    ends: [],
    associations: [],
    connections: () => open.size,
    accepted: () => accepted,
  };
  const serve = (socket: net.Socket, raw: net.Socket): void => {
    new Conversation(socket, raw, behaviour, state).run().catch((error: unknown) => {
      if (error instanceof Breach) state.breaches.push(error.message);
      raw.destroy();
    });
  };
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (raw) => {
    accepted++;
    open.add(raw);
    raw.on('error', () => raw.destroy()); // tests reset on purpose
    raw.on('close', () => open.delete(raw));
    // A client that was cancelled between our accept and its own 'connect' leaves with FIN, without a word.
    raw.once('end', () => {
      if (raw.bytesRead === 0) raw.destroy();
    });
    if (behaviour.tls === undefined) serve(raw, raw);
    else secured(raw, behaviour.tls, state.sni, (socket) => serve(socket, raw));
  });
  const port = await listen(server);
  return {
    ...state,
    port,
    connections: () => open.size,
    accepted: () => accepted,
    close: () =>
      new Promise((resolve) => {
        for (const association of state.associations) association.endControl();
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** TLS on top of a Stream: a tls.Server on the socket itself misses an RST that comes in the middle of its handshake (Node 20). */
function secured(raw: net.Socket, certificate: Certificate, sni: (string | false)[], serve: (socket: net.Socket) => void): void {
  const socket = new tls.TLSSocket(duplexFromStream(streamFromSocket(raw)), { isServer: true, key: certificate.key, cert: certificate.cert });
  socket.on('error', () => socket.destroy());
  // The same as above, with a TLS in between that has read nothing.
  const left = (): void => {
    raw.destroy();
  };
  raw.once('end', left);
  socket.once('secure', () => {
    raw.off('end', left);
    const name: unknown = 'servername' in socket ? socket.servername : false;
    sni.push(typeof name === 'string' ? name : false);
    serve(socket);
  });
}

class Breach extends Error {}

class Conversation {
  readonly #socket: net.Socket;
  readonly #raw: net.Socket;
  readonly #behaviour: Behaviour;
  readonly #state: Omit<SocksServer, 'port' | 'close'>;

  constructor(socket: net.Socket, raw: net.Socket, behaviour: Behaviour, state: Omit<SocksServer, 'port' | 'close'>) {
    this.#socket = socket;
    this.#raw = raw;
    this.#behaviour = behaviour;
    this.#state = state;
  }

  async run(): Promise<void> {
    const { user } = this.#behaviour;
    const [version, count = 0] = await this.#take(2);
    if (version !== 5) throw new Breach(`greeting starts with ${version}`);
    const methods = await this.#take(count);
    this.#nothingMore('greeting');
    const method = user === undefined ? 0 : 2;
    if (!methods.includes(method)) {
      await this.#say('greeting', Buffer.of(5, 0xff));
      this.#socket.end();
      return;
    }
    if (!(await this.#say('greeting', Buffer.of(5, method)))) return;
    if (user !== undefined) {
      const [authVersion, nameLength = 0] = await this.#take(2);
      if (authVersion !== 1 || nameLength === 0) throw new Breach('not an RFC 1929 request');
      const username = (await this.#take(nameLength)).toString();
      const password = (await this.#take((await this.#take(1))[0] ?? 0)).toString();
      this.#nothingMore('auth');
      const good = username === user.username && password === user.password;
      if (!(await this.#say('auth', Buffer.of(1, good ? 0 : 1)))) return;
      if (!good) return void this.#socket.end();
    }
    await this.#request();
  }

  async #request(): Promise<void> {
    const [version, command = 0, reserved, type = 0] = await this.#take(4);
    if (version !== 5 || reserved !== 0) throw new Breach('a request must start with 05 CMD 00');
    let host: string;
    if (type === 1) host = [...(await this.#take(4))].join('.');
    else if (type === 4) host = (await this.#take(16)).toString('hex');
    else if (type === 3) host = (await this.#take((await this.#take(1))[0] ?? 0)).toString();
    else throw new Breach(`ATYP ${type}`);
    const port = (await this.#take(2)).readUInt16BE();
    this.#nothingMore('request');
    this.#state.requests.push({ command, type, host, port });
    if (command === 1) await this.#connect(type === 4 ? '::1' : host, port);
    else if (command === 3) await this.#associate();
    else throw new Breach(`CMD ${command}`);
  }

  async #connect(host: string, port: number): Promise<void> {
    const { wrong, hangAt, closeAt, resetAt, behindReply } = this.#behaviour;
    if (behindReply !== undefined || wrong?.request !== undefined || [hangAt, closeAt, resetAt].includes('request')) {
      await this.#say('request', this.#success(port));
      return;
    }
    const target = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
    const client = this.#socket;
    this.#raw.on('close', (hadError) => (hadError ? target.resetAndDestroy() : target.destroy()));
    const connected = await new Promise<boolean>((resolve) => {
      target.once('connect', () => resolve(true));
      target.once('error', () => resolve(false));
    });
    target.on('error', () => this.#raw.resetAndDestroy());
    if (!connected) {
      await this.#say('request', Buffer.of(5, 5, 0, 1, 0, 0, 0, 0, 0, 0));
      client.end();
      return;
    }
    if (!(await this.#say('request', this.#success(port)))) return;
    client.pipe(target);
    target.pipe(client);
  }

  async #associate(): Promise<void> {
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', () => resolve()));
    const { port } = socket.address();
    const association: Association = { socket, port, received: [], endControl: () => this.#socket.end() };
    socket.on('message', (bytes, from) => association.received.push({ bytes, port: from.port }));
    this.#raw.on('close', () => {
      socket.close();
      this.#state.associations.splice(this.#state.associations.indexOf(association), 1);
    });
    this.#state.associations.push(association);
    await this.#say('request', this.#success(port));
    this.#raw.on('error', () => this.#state.ends.push('RST'));
    this.#socket.on('end', () => {
      this.#state.ends.push('FIN');
      if (this.#behaviour.deafToFin !== true) {
        this.#socket.end();
        return;
      }
      // Node does not look at a socket any more that has ended: only writing shows the RST.
      const babble = setInterval(() => this.#socket.write('babble'), 20);
      this.#raw.on('close', () => clearInterval(babble));
    });
    this.#socket.resume();
  }

  #success(port: number): Buffer {
    const bound = this.#behaviour.bound ?? Buffer.of(1, 127, 0, 0, 1, port >> 8, port & 0xff);
    // 0 in an override means "the real port"
    const fixed = Buffer.from(bound);
    if (fixed.readUInt16BE(fixed.length - 2) === 0) fixed.writeUInt16BE(port, fixed.length - 2);
    return Buffer.concat([Buffer.of(5, 0, 0), fixed]);
  }

  /** false: this was the last thing to say. */
  async #say(step: Step, right: Buffer): Promise<boolean> {
    const { hangAt, closeAt, resetAt, wrong, bytewise, behindReply } = this.#behaviour;
    if (step === hangAt) {
      // A client that resets right behind its last bytes looks as if it had ended: libuv sees bytes and RST as bytes and FIN.
      this.#socket.once('end', () => this.#raw.destroy()).resume();
      return false;
    }
    if (step === closeAt) this.#socket.end();
    if (step === resetAt) this.#raw.resetAndDestroy();
    if (step === closeAt || step === resetAt) return false;
    const bytes = Buffer.concat([wrong?.[step] ?? right, step === 'request' && behindReply !== undefined ? behindReply : Buffer.alloc(0)]);
    if (bytewise === true) {
      for (const byte of bytes) await new Promise<void>((resolve) => this.#socket.write(Buffer.of(byte), () => setImmediate(resolve)));
    } else this.#socket.write(bytes);
    return wrong?.[step] === undefined && !(step === 'request' && behindReply !== undefined);
  }

  async #take(length: number): Promise<Buffer> {
    for (;;) {
      if (length === 0) return Buffer.alloc(0);
      const bytes: unknown = this.#socket.read(length);
      if (bytes instanceof Buffer && bytes.length === length) return bytes;
      if (bytes instanceof Buffer) throw new Error('the client left');
      await new Promise<void>((resolve, reject) => {
        const done = (): void => {
          this.#socket.off('readable', done).off('end', left).off('close', left);
          resolve();
        };
        const left = (): void => reject(new Error('the client left'));
        this.#socket.once('readable', done).once('end', left).once('close', left);
      });
    }
  }

  /** A client that does not wait for its turn loses bytes at servers that read a buffer per step. */
  #nothingMore(step: Step): void {
    if (this.#socket.readableLength > 0) throw new Breach(`sent ahead of the answer to ${step}`);
  }
}

function listen(server: net.Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('no port'));
      else resolve(address.port);
    });
  });
}
