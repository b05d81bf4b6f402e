import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { addressFamily, duplexFromStream, NekitError, NetError, type Stream, streamFromSocket, toNetError } from '@nekit/core';

const CERTIFICATES = /-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs;

export interface TlsOptions {
  /** The name to ask for, and to expect in the certificate. */
  readonly name: string;
  readonly skipVerify: boolean;
  /** SHA-256 of the peer's certificate, 64 lower-case hex digits; replaces the check of its chain and name. */
  readonly fingerprint: string | null;
  /** PEM text, or a file's path; null: the roots that Node was built with. */
  readonly ca: string | null;
}

/** Puts TLS on a stream. Made once per adapter: reading certificates is what costs. */
export class TlsLayer {
  readonly #options: TlsOptions;
  readonly #secureContext: tls.SecureContext;

  /** Throws NekitError `BAD_CA` when the certificates cannot be read. */
  constructor(options: TlsOptions) {
    this.#options = options;
    this.#secureContext = makeContext(options.ca);
  }

  /** Rejects with a NetError: 'protocol' with OpenSSL's code for a bad certificate, `TLS_FINGERPRINT` for another one than expected. */
  secure(stream: Stream): Promise<Stream> {
    const { name, skipVerify, fingerprint } = this.#options;
    return new Promise((resolve, reject) => {
      const socket = tls.connect({
        socket: duplexFromStream(stream),
        secureContext: this.#secureContext,
        host: name, // checked against the certificate; `servername` may not be an address
        ...(addressFamily(name) === 0 ? { servername: name } : {}),
        ALPNProtocols: ['http/1.1'],
        rejectUnauthorized: !skipVerify && fingerprint === null,
      });
      const failed = (error: Error): void => {
        socket.removeListener('close', closed);
        reject(toNetError(error, 'TLS with the HTTP proxy'));
      };
      const closed = (): void => failed(new NetError('aborted', 'the peer closed the connection', { code: 'UNEXPECTED_END' }));
      socket.once('error', failed);
      socket.once('close', closed);
      socket.once('secureConnect', () => {
        socket.removeListener('close', closed);
        if (fingerprint !== null && fingerprintOf(socket) !== fingerprint) {
          const error = new NetError('protocol', 'the certificate of the HTTP proxy is not the one whose fingerprint was given', { code: 'TLS_FINGERPRINT' });
          socket.destroy(error);
          reject(error);
          return;
        }
        const secured = streamFromSocket(socket);
        socket.removeListener('error', failed);
        resolve(secured);
      });
    });
  }
}

function fingerprintOf(socket: tls.TLSSocket): string {
  return normaliseFingerprint(socket.getPeerX509Certificate()?.fingerprint256 ?? '');
}

/** 64 lower-case hex digits. */
export function normaliseFingerprint(text: string): string {
  return text.replaceAll(':', '').toLowerCase();
}

function makeContext(ca: string | null): tls.SecureContext {
  if (ca === null) return tls.createSecureContext();
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
