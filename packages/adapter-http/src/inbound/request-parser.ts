import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { NekitError } from '@nekit/core';
import { MAX_HEAD } from '../message/head.js';
import type { Wire } from '../message/wire.js';

/** What became of one head. */
export type Parsed =
  | { readonly kind: 'request'; readonly request: IncomingMessage; readonly response: ServerResponse }
  | { readonly kind: 'connect'; readonly request: IncomingMessage }
  | { readonly kind: 'error'; readonly error: Error };

type Listener = (parsed: Parsed) => void;

/** Older parsers let ambiguous framing through that ours relies on being refused. */
const OLDEST_LLHTTP = 9;

/** Throws NekitError `HTTP_PARSER_TOO_OLD`. */
export function checkParserVersion(version: string | undefined = process.versions.llhttp): void {
  const major = Number.parseInt(version ?? '', 10);
  if (major >= OLDEST_LLHTTP) return;
  throw new NekitError(
    'HTTP_PARSER_TOO_OLD',
    `the HTTP inbound needs a Node.js with llhttp ${OLDEST_LLHTTP} or newer, this one has ${version ?? 'none'}; update Node.js`,
  );
}

/** Node's HTTP server without a port: it parses what its wires are fed and writes responses to them. */
export class RequestParser {
  readonly #server: http.Server;
  readonly #listeners = new WeakMap<Duplex, Listener>();

  constructor() {
    // All time limits are ours: Node's need net.Socket or a listening server.
    this.#server = http.createServer({
      maxHeaderSize: MAX_HEAD,
      insecureHTTPParser: false,
      requireHostHeader: false, // checked by us, with a body that says so
      keepAliveTimeout: 0,
      headersTimeout: 0,
      requestTimeout: 0,
    });
    this.#server.maxHeadersCount = 0; // bounded by their bytes; Node's own limit drops fields in silence
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => this.#tell(request.socket, { kind: 'request', request, response });
    this.#server.on('request', onRequest);
    this.#server.on('checkContinue', onRequest); // or Node would answer "100 Continue" itself
    this.#server.on('checkExpectation', onRequest);
    this.#server.on('connect', (request, socket) => this.#tell(socket, { kind: 'connect', request }));
    this.#server.on('clientError', (error, socket) => this.#tell(socket, { kind: 'error', error }));
  }

  /** Each head that is fed to the wire leads to one call, and so does what is wrong with a body. Destroy the wire to end it. */
  attach(wire: Wire, listener: Listener): void {
    this.#listeners.set(wire, listener);
    this.#server.emit('connection', wire);
  }

  #tell(socket: Duplex, parsed: Parsed): void {
    this.#listeners.get(socket)?.(parsed);
  }
}
