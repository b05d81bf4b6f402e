// A real browser (headless Chromium) through the kernel: a page with many parts, WebSockets, a large download, HTTPS.
import { eventually } from '@nekit/core/testing';
import t from 'tap';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { browse, PARTS, type PageReport, page, pageHandler } from '../helpers/browser.js';
import { startKernel } from '../helpers/kernel.js';
import { bigHash, startOrigin } from '../helpers/origin.js';
import { unlessInstalled } from '../helpers/programs.js';
import { echoWebSocket } from '../helpers/web-socket.js';

const MEGABYTES = 50;

t.test('Chromium', { skip: unlessInstalled('chromium') }, async (t) => {
  const reports: PageReport[] = [];
  const certificate = makeCertificate('s.test');
  const handler = pageHandler(
    () => page({ a: `a.test:${a.port}`, b: `b.test:${b.port}`, s: `s.test:${s.port}`, megabytes: MEGABYTES }),
    (report) => reports.push(report),
  );
  const [b, s] = [await startOrigin({ handler, onUpgrade: echoWebSocket }), await startOrigin({ handler, tls: certificate })];
  const a = await startOrigin({ handler });
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
      const reported = eventually(() => reports.length > 0, 60_000, "the page's report");
      const { stderr } = await browse(`http://a.test:${a.port}/`, {
        ms: 70_000,
        until: reported,
        args: [`--proxy-server=${scheme}://127.0.0.1:${entry.port}`, '--proxy-bypass-list=<-loopback>'],
      });
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
