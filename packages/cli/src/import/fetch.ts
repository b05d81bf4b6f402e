/** A document from a server. Read first: SIP008, "Transport": HTTPS with a valid certificate, and nothing else. */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';

export interface FetchLimits {
  /** For all of it, in ms. */
  readonly timeoutMs: number;
  /** Of the document, in bytes. */
  readonly maxBytes: number;
}

const REDIRECTS = 5;
const REDIRECT_STATUS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Rejects with a plain Error, which names the server and nothing else of the address: there is a token in it. */
export async function fetchDocument(address: string, limits: FetchLimits): Promise<Buffer> {
  const stop = AbortSignal.timeout(limits.timeoutMs);
  let url = secure(address, null);
  for (let followed = 0; followed <= REDIRECTS; followed++) {
    const answer = await get(url, stop, limits);
    if ('body' in answer) return answer.body;
    url = secure(answer.location, url);
  }
  throw new Error(`${url.host} redirects more than ${REDIRECTS} times`);
}

function secure(address: string, from: URL | null): URL {
  const whose = from === null ? 'the address' : `the redirect of ${from.host}`;
  if (!URL.canParse(address, from?.href)) throw new Error(`${whose} is none that can be read`);
  const url = new URL(address, from ?? undefined);
  if (url.protocol !== 'https:') throw new Error(`${whose} begins with ${url.protocol}//: servers and their passwords are fetched by https only`);
  return url;
}

type Answer = { readonly body: Buffer } | { readonly location: string };

async function get(url: URL, signal: AbortSignal, limits: FetchLimits): Promise<Answer> {
  try {
    const response = await open(url, signal);
    const status = response.statusCode ?? 0;
    const { location } = response.headers;
    if (REDIRECT_STATUS.has(status) && location !== undefined) {
      response.destroy();
      return { location };
    }
    if (status !== 200) {
      response.destroy();
      throw new Refused(`the server answers with status ${status}`);
    }
    return { body: await bodyOf(response, limits.maxBytes) };
  } catch (error) {
    throw new Error(`fetching from ${url.host}: ${whyNot(error, signal, limits)}`, { cause: codeOf(error) });
  }
}

/** Not by the environment's leave (NODE_TLS_REJECT_UNAUTHORIZED) either: the certificate must be valid. */
function open(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { 'user-agent': 'nekit-kernel', accept: '*/*', 'accept-encoding': 'identity' };
    request(url, { signal, headers, rejectUnauthorized: true, agent: false }, resolve).on('error', reject).end();
  });
}

async function bodyOf(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const coding = response.headers['content-encoding'] ?? 'identity';
  if (coding !== 'identity') {
    response.destroy();
    throw new Refused('the server packed its answer, which it was not asked to do');
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxBytes) throw new Refused(`the answer has more than ${maxBytes / 2 ** 20} MiB`); // leaving the loop ends the connection
  }
  return Buffer.concat(chunks);
}

/** Said already. */
class Refused extends Error {}

function whyNot(error: unknown, signal: AbortSignal, { timeoutMs }: FetchLimits): string {
  if (error instanceof Refused) return error.message;
  if (signal.aborted) return `it takes longer than ${timeoutMs / 1000} s`;
  const code = codeOf(error);
  return CERTIFICATE.test(code) ? `the certificate is not valid (${code})` : code;
}

const CERTIFICATE = /CERT|SIGNED|ISSUER|ALTNAME|CRL|TRUST/;

/** Messages of the platform may quote the address. */
function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : error instanceof Error ? error.name : String(error);
}
