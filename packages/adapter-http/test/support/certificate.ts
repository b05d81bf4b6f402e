import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly key: string;
  readonly cert: string;
  readonly fingerprint: string;
}

/** A self-signed certificate, made now; nobody ever trusts it. */
export function makeCertificate(names: string, validity: 'valid' | 'expired' = 'valid'): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'nekit-'));
  const openssl = (...args: string[]): unknown => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  try {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      'key',
      '-out',
      'cert',
      '-subj',
      '/CN=nekit test',
      '-addext',
      `subjectAltName=${names}`,
      '-days',
      '2',
    );
    if (validity === 'expired') openssl('x509', '-in', 'cert', '-signkey', 'key', '-days', '-1', '-out', 'cert');
    const cert = readFileSync(join(folder, 'cert'), 'utf8');
    return { key: readFileSync(join(folder, 'key'), 'utf8'), cert, fingerprint: new X509Certificate(cert).fingerprint256 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
