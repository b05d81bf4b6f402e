// A real browser (headless Chromium) through the kernel: a page with many parts, WebSockets, a large download, HTTPS.
import { eventually } from '@nekit/core/testing';
import t from 'tap';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { startKernel } from '../helpers/kernel.js';
import { bigHash, type Handler, startOrigin } from '../helpers/origin.js';
import { makeFolder, run, unlessInstalled } from '../helpers/programs.js';
import { echoWebSocket } from '../helpers/web-socket.js';

const MEGABYTES = 50;
const PARTS = 40;

/** What the page found out, posted as JSON. */
interface Report {
  readonly parts: readonly string[];
  readonly socket: readonly string[];
  readonly large: string;
  readonly secure: string;
  readonly errors: readonly string[];
}

/** `a` serves the page, `b` is another host, `s` an https one. Images and scripts are loaded as a page does, the rest by fetch. */
function page(a: string, b: string, s: string): string {
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
    attempt(async () => hex(await crypto.subtle.digest('SHA-256', await (await fetch('/big/${MEGABYTES}')).arrayBuffer()))),
    attempt(async () => (await fetch('https://${s}/part/secure')).text()),
  ]);
  await fetch('/report', { method: 'POST', body: JSON.stringify({ parts: [...window.loaded.sort(), ...parts], socket, large, secure, errors }) });
});
</script>`;
}

const parts: Handler = ({ url = '', headers }, response) => {
  if (!url.startsWith('/part/') && !url.startsWith('/script/')) return false;
  response.setHeader('Access-Control-Allow-Origin', '*');
  if (url.startsWith('/part/')) response.end(`${headers.host}${url}`);
  else response.setHeader('Content-Type', 'text/javascript').end(`window.loaded.push(${JSON.stringify(url)})`);
  return true;
};

t.test('Chromium', { skip: unlessInstalled('chromium') }, async (t) => {
  const reports: Report[] = [];
  const certificate = makeCertificate('s.test');
  const [b, s] = [await startOrigin({ handler: parts, onUpgrade: echoWebSocket }), await startOrigin({ handler: parts, tls: certificate })];
  const a = await startOrigin({
    handler: (request, response) => {
      if (request.url === '/report') {
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () => {
          reports.push(JSON.parse(Buffer.concat(chunks).toString()) as Report);
          response.end('thanks');
        });
        return true;
      }
      if (request.url !== '/') return parts(request, response);
      response.setHeader('Content-Type', 'text/html').end(page(`a.test:${a.port}`, `b.test:${b.port}`, `s.test:${s.port}`));
      return true;
    },
  });
  const hosts = { 'a.test': '127.0.0.1', 'b.test': '127.0.0.1', 's.test': '127.0.0.1' };
  const rules = ['DOMAIN-SUFFIX,test,DIRECT', 'MATCH,REJECT']; // nothing of the browser's own leaves this machine
  const entry = await startKernel({ hosts, rules });
  t.teardown(async () => {
    await entry.stop();
    for (const origin of [a, b, s]) await origin.close();
  });

  for (const scheme of ['http', 'socks5']) {
    await t.test(`${scheme} proxy`, async (t) => {
      reports.length = 0;
      const folder = makeFolder();
      const reported = eventually(() => reports.length > 0, 60_000, "the page's report");
      const { stderr } = await run(
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
          `--unsafely-treat-insecure-origin-as-secure=http://a.test:${a.port}`, // for crypto.subtle
          `--proxy-server=${scheme}://127.0.0.1:${entry.port}`,
          '--proxy-bypass-list=<-loopback>',
          `--user-data-dir=${folder.path}`,
          '--remote-debugging-port=0', // keeps it open
          `http://a.test:${a.port}/`,
        ],
        { ms: 70_000, until: reported },
      );
      folder.remove();
      await reported.catch((error: unknown) => t.fail(String(error), { stderr: stderr.slice(-3_000) }));
      const [report] = reports;
      t.same(report?.errors, [], 'nothing failed');
      t.equal(report?.parts.length, PARTS);
      t.same(new Set(report?.parts).size, PARTS, `${PARTS} different parts came`);
      t.same(report?.socket, ['one', '70000', 'three', '1000'], 'a WebSocket talks and ends');
      t.equal(report?.large, bigHash(MEGABYTES), `${MEGABYTES} MB`);
      t.equal(report?.secure, `s.test:${s.port}/part/secure`, 'https');
    });
  }
  t.same(entry.warned, [], 'no warning of the kernel');
});
