/** TLS over any Stream, by node:tls. What was checked is settled before a byte of ours (credentials!) is sent. */
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { addressFamily, duplexFromStream, NetError, type Stream, streamFromDuplex, toNetError } from '@nekit/core';

export interface TlsConfig {
  /** Canonical; what the certificate must be for, unless `sni` says otherwise. */
  readonly server: string;
  readonly sni: string | null;
  readonly skipVerify: boolean;
  /** SHA-256 of the server's own certificate in lower-case hex, or null. Replaces the check against authorities and name. */
  readonly fingerprint: string | null;
  /** PEM. null: the built-in authorities. */
  readonly ca: string | null;
}

/** PEM text as it is, or read from the file that it names. Throws what readFileSync throws. */
export function readAuthorities(textOrPath: string): string {
  return textOrPath.includes('-----BEGIN ') ? textOrPath : readFileSync(textOrPath, 'utf8');
}

/** Settles when the server is who it should be. Rejects with NetError; the stream is aborted then, as it is when something aborts `stream`. */
export function startTls(stream: Stream, config: TlsConfig): Promise<Stream> {
  const name = config.sni ?? config.server;
  const options: ConnectionOptions = {
    socket: duplexFromStream(stream),
    host: name,
    rejectUnauthorized: !config.skipVerify && config.fingerprint === null,
  };
  if (addressFamily(name) === 0) options.servername = name; // an address cannot be sent as SNI (RFC 6066 section 3)
  if (config.ca !== null) options.ca = config.ca;
  return new Promise((resolve, reject) => {
    const socket = connect(options);
    const fail = (error: NetError): void => {
      reject(error);
      socket.destroy();
    };
    const failed = (error: Error): void => fail(toNetError(error, 'TLS to the SOCKS5 server'));
    const closed = (): void => fail(new NetError('aborted', 'TLS to the SOCKS5 server: the connection was closed', { code: 'ECONNRESET' }));
    socket.on('error', failed);
    socket.on('close', closed);
    socket.once('secureConnect', () => {
      const problem = config.fingerprint === null ? null : checkFingerprint(socket, config.fingerprint);
      if (problem !== null) {
        fail(problem);
        return;
      }
      const secure = streamFromDuplex(socket); // takes over 'error' and 'close'
      socket.off('error', failed);
      socket.off('close', closed);
      resolve(secure);
    });
  });
}

function checkFingerprint(socket: TLSSocket, expected: string): NetError | null {
  const found = socket.getPeerX509Certificate()?.fingerprint256;
  if (found !== undefined && found.replaceAll(':', '').toLowerCase() === expected) return null;
  return new NetError('protocol', `the SOCKS5 server's certificate has the fingerprint ${found ?? 'none'}, not the configured one`, {
    code: 'TLS_FINGERPRINT',
  });
}
