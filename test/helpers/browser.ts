/** A real browser, headless, and a page for it with many parts, which posts what it found out. */
import type { IncomingMessage } from 'node:http';
import type { Handler } from './origin.js';
import { makeFolder, type Outcome, type RunOptions, run } from './programs.js';

/** Half of them are scripts, half are fetched. */
export const PARTS = 40;

export interface PageReport {
  readonly parts: readonly string[];
  /** What the WebSocket heard, and the code it was closed with. */
  readonly socket: readonly string[];
  /** SHA-256 of `/big/…`. */
  readonly large: string;
  readonly secure: string;
  readonly errors: readonly string[];
}

export interface PageHosts {
  /** Serves the page. */
  readonly a: string;
  /** Another host, with WebSockets. */
  readonly b: string;
  /** One by https. */
  readonly s: string;
  readonly megabytes: number;
}

/** Images and scripts are loaded as a page does, the rest by fetch. */
export function page({ a, b, s, megabytes }: PageHosts): string {
  return `<!doctype html><title>a page</title>
${Array.from({ length: PARTS / 2 }, (_, index) => `<script src="http://${index % 2 === 0 ? a : b}/script/${index}" async></script>`).join('\n')}
<script>
window.loaded = [];
const errors = [];
const attempt = async (run) => { try { return await run(); } catch (error) { errors.push(String(error)); return 'failed'; } };
const hex = (buffer) => Array.from(new Uint8Array(buffer), (octet) => octet.toString(16).padStart(2, '0')).join('');
const talk = (url, messages) => new Promise((resolve, reject) => {
  const heard = [];
  const socket = new WebSocket(url);
  socket.onopen = () => socket.send(messages[0]);
  socket.onmessage = ({ data }) => {
    heard.push(data.length > 100 ? String(data.length) : data);
    if (heard.length < messages.length) socket.send(messages[heard.length]);
    else socket.close(1000);
  };
  socket.onclose = ({ code }) => resolve([...heard, String(code)]);
  socket.onerror = () => reject(new Error('WebSocket'));
});
addEventListener('load', async () => {
  const parts = await Promise.all(Array.from({ length: ${PARTS / 2} }, (_, index) =>
    attempt(async () => (await fetch('http://' + (index % 2 === 0 ? '${a}' : '${b}') + '/part/' + index)).text())));
  const [socket, large, secure] = await Promise.all([
    attempt(() => talk('ws://${b}/socket', ['one', 'x'.repeat(70000), 'three'])),
    attempt(async () => hex(await crypto.subtle.digest('SHA-256', await (await fetch('/big/${megabytes}')).arrayBuffer()))),
    attempt(async () => (await fetch('https://${s}/part/secure')).text()),
  ]);
  await fetch('/report', { method: 'POST', body: JSON.stringify({ parts: [...window.loaded.sort(), ...parts], socket, large, secure, errors }) });
});
</script>`;
}

/** Serves the page, its parts, and takes its report. */
export function pageHandler(text: () => string, onReport: (report: PageReport) => void): Handler {
  return (request, response) => {
    const { url = '', headers } = request;
    response.setHeader('Access-Control-Allow-Origin', '*');
    if (url === '/') response.setHeader('Content-Type', 'text/html').end(text());
    else if (url.startsWith('/part/')) response.end(`${headers.host}${url}`);
    else if (url.startsWith('/script/')) response.setHeader('Content-Type', 'text/javascript').end(`window.loaded.push(${JSON.stringify(url)})`);
    else if (url === '/report') {
      void bodyOf(request).then((body) => {
        onReport(JSON.parse(body) as PageReport);
        response.end('thanks');
      });
    } else return false;
    return true;
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

interface BrowseOptions extends RunOptions {
  readonly args?: readonly string[];
  /** Another way to run a program: in a namespace. */
  readonly runner?: (command: string, args: readonly string[], options: RunOptions) => Promise<Outcome>;
}

/** Opens a page in Chromium and keeps it open `until` (or `ms`). Any certificate will do. */
export async function browse(url: string, { args = [], runner = run, ...options }: BrowseOptions): Promise<Outcome> {
  const folder = makeFolder();
  try {
    const { origin } = new URL(url);
    return await runner(
      'chromium',
      [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-dev-shm-usage',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-default-apps',
        '--ignore-certificate-errors',
        `--unsafely-treat-insecure-origin-as-secure=${origin}`, // for crypto.subtle
        `--user-data-dir=${folder.path}`,
        '--remote-debugging-port=0', // keeps it open
        ...args,
        url,
      ],
      options,
    );
  } finally {
    folder.remove();
  }
}
