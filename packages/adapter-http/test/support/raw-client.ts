import net from 'node:net';
import { eventually } from '@nekit/core/testing';

/** A client that says and hears bytes. Text is latin1. */
export class RawClient {
  readonly socket: net.Socket;
  #text = '';
  #ended = false;
  #error: Error | null = null;
  #closed = false;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
    });
    socket.on('end', () => {
      this.#ended = true;
    });
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.#closed = true;
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  /** Says something on a new connection. */
  static async say(port: number, text: string): Promise<RawClient> {
    const client = await RawClient.connect(port);
    client.send(text);
    return client;
  }

  get text(): string {
    return this.#text;
  }

  /** Ended by FIN. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Ended by RST. */
  get wasReset(): boolean {
    return this.#error !== null;
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  end(): void {
    this.socket.end();
  }

  close(): void {
    this.socket.destroy();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** Waits for text, and gives what has come so far. */
  async until(wanted: string | RegExp, ms = 5_000): Promise<string> {
    const found = (): boolean => (typeof wanted === 'string' ? this.#text.includes(wanted) : wanted.test(this.#text));
    await eventually(() => found() || this.#closed || this.#ended, ms, `${String(wanted)} in ${JSON.stringify(this.#text)}`);
    if (!found()) throw new Error(`the connection ended without ${String(wanted)}: ${JSON.stringify(this.#text)}`);
    return this.#text;
  }

  /** Waits for the end, FIN or RST, and gives everything. */
  async all(ms = 5_000): Promise<string> {
    await eventually(() => this.#ended || this.#closed, ms, `the end of ${JSON.stringify(this.#text.slice(0, 500))}`);
    this.socket.end();
    return this.#text;
  }

  /** Forgets what has come. */
  clear(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }
}
