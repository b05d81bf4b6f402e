/** A process: what the net outside has to offer, on the addresses that are its arguments. Tells "ready", and each report of the page as a line of JSON. */

import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import http from 'node:http';
import https from 'node:https';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { page, pageHandler } from './browser.js';
import { FLIGHT, PAGE_MEGABYTES } from './home-network.js';
import { originHandler } from './origin.js';
import { echoWebSocket } from './web-socket.js';

const handler = pageHandler(
  () => page({ a: 'www.far.test', b: 'b.far.test', s: 's.far.test', megabytes: PAGE_MEGABYTES }),
  (report) => process.stdout.write(`${JSON.stringify(report)}\n`),
);

/** Of what was uploaded. */
function digest(request: http.IncomingMessage, response: http.ServerResponse): void {
  const hash = createHash('sha256');
  request.on('data', (bytes: Buffer) => hash.update(bytes));
  request.on('end', () => response.end(hash.digest('hex')));
}

const answer: http.RequestListener = (request, response) => {
  if (request.url === '/who') response.end(`${request.headers.host} from ${request.socket.remoteAddress}`);
  else if (request.url === '/digest') digest(request, response);
  else if (!handler(request, response)) originHandler(request, response);
};

function listen(server: http.Server | https.Server, port: number, host: string): Promise<void> {
  server.on('upgrade', echoWebSocket);
  return new Promise((resolve) => server.listen(port, host, resolve));
}

/** Sends back what came, `times`: numbered in the first byte. */
function echo(port: number, host: string, times: number): Promise<void> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (message, remote) => {
    for (let i = 0; i < times; i++) {
      const copy = Buffer.from(message);
      if (times > 1) copy[0] = i;
      socket.send(copy, remote.port, remote.address);
    }
  });
  return new Promise((resolve) => socket.bind(port, host, resolve));
}

const tls = makeCertificate('s.far.test');
for (const host of process.argv.slice(2)) {
  await listen(http.createServer(answer), 80, host);
  await listen(https.createServer(tls, answer), 443, host);
  await echo(7, host, 1);
  await echo(443, host, FLIGHT);
}
process.stdout.write('ready\n');
