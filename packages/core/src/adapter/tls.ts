/** TLS towards a proxy server, over any Stream, by node:tls: the keys that every adapter with `tls` has, and what they do. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { z } from 'zod';
import { addressFamily } from '../net/address.js';
import { duplexFromStream } from '../net/duplex.js';
import { NekitError, NetError, toNetError } from '../net/errors.js';
import { streamFromSocket } from '../net/socket-stream.js';
import type { Stream } from '../net/stream.js';

const FINGERPRINT = /^(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i;
const CERTIFICATES = /-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs;

/** Keys as Clash has them, and `ca`: spread them into an adapter's schema. */
export const tlsKeys = {
  tls: z.boolean().default(false).describe('Speak TLS with the server'),
  sni: z.string().min(1).max(255).optional().describe('Name to ask for and to expect in the certificate; default: server'),
  'skip-cert-verify': z.boolean().default(false).describe('Take any certificate'),
  fingerprint: z
    .string()
    .refine((text) => FINGERPRINT.test(text), { error: 'must be a SHA-256: 64 hexadecimal digits, colons allowed' })
    .optional()
    .describe("SHA-256 of the server's own certificate, checked instead of its chain and name"),
  ca: z.string().min(1).optional().describe('Certificates to trust instead of the built-in ones: PEM text, or a file with it'),
};

export interface TlsConfig {
  readonly server: string;
  readonly tls: boolean;
  readonly sni?: string | undefined;
  readonly 'skip-cert-verify': boolean;
  readonly fingerprint?: string | undefined;
  readonly ca?: string | undefined;
}

/** Puts TLS on a stream. Made once per adapter: reading certificates is what costs. */
export class TlsLayer {
  readonly #what: string;
  readonly #name: string;
  readonly #skipVerify: boolean;
  readonly #fingerprint: string | null;
  readonly #alpn: readonly string[];
  readonly #secureContext: tls.SecureContext;

  /** `what` names the peer in errors ("the HTTP proxy"). Throws NekitError `BAD_CA` when the certificates cannot be read. */
  constructor(config: TlsConfig, what: string, alpn: readonly string[] = []) {
    this.#what = what;
    this.#name = config.sni ?? config.server;
    this.#skipVerify = config['skip-cert-verify'];
    this.#fingerprint = config.fingerprint === undefined ? null : plainHex(config.fingerprint);
    this.#alpn = alpn;
    this.#secureContext = makeContext(config.ca);
  }

  /**
   * Settles when the peer is who it should be: no byte of ours (credentials!) is sent before. Rejects with a NetError: 'protocol' with
   * OpenSSL's code for a bad certificate, `TLS_FINGERPRINT` for another one than expected; the stream is aborted then.
   */
  secure(stream: Stream): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const socket = tls.connect({
        socket: duplexFromStream(stream),
        secureContext: this.#secureContext,
        host: this.#name, // checked against the certificate; an address cannot be asked for by SNI (RFC 6066 section 3)
        ...(addressFamily(this.#name) === 0 ? { servername: this.#name } : {}),
        ...(this.#alpn.length > 0 ? { ALPNProtocols: [...this.#alpn] } : {}),
        rejectUnauthorized: !this.#skipVerify && this.#fingerprint === null,
      });
      const fail = (error: NetError): void => {
        reject(error);
        socket.destroy();
      };
      const failed = (error: Error): void => fail(toNetError(error, `TLS with ${this.#what}`));
      const closed = (): void => fail(new NetError('aborted', `TLS with ${this.#what}: the peer closed the connection`, { code: 'UNEXPECTED_END' }));
      socket.on('error', failed);
      socket.once('close', closed);
      socket.once('secureConnect', () => {
        const found = plainHex(socket.getPeerX509Certificate()?.fingerprint256 ?? '');
        if (this.#fingerprint !== null && found !== this.#fingerprint) {
          fail(new NetError('protocol', `the certificate of ${this.#what} is not the one whose fingerprint was given`, { code: 'TLS_FINGERPRINT' }));
          return;
        }
        socket.off('close', closed);
        const secured = streamFromSocket(socket);
        socket.off('error', failed);
        resolve(secured);
      });
    });
  }
}

function plainHex(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase();
}

function makeContext(ca: string | undefined): tls.SecureContext {
  if (ca === undefined) return tls.createSecureContext();
  const inline = ca.includes('-----BEGIN');
  try {
    const certificates = (inline ? ca : readFileSync(ca, 'utf8')).match(CERTIFICATES) ?? [];
    if (certificates.length === 0) throw new Error('there is no certificate in it');
    for (const certificate of certificates) new X509Certificate(certificate); // throws for a broken one, which a context passes over in silence
    return tls.createSecureContext({ ca: certificates });
  } catch (error) {
    const what = inline ? 'the PEM text in "ca"' : `the file "${ca}" in "ca"`;
    throw new NekitError('BAD_CA', `${what} cannot be read as certificates: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
