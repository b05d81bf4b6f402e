// Asks a name server as fast as it answers, by UDP, with a fixed number of questions under way. Prints one line of JSON. Started by run.mjs and tun.mjs.
import { parseArgs } from 'node:util';
import { findAddon } from '../../packages/core/dist/native/load.js';
import { openSockets } from '../../packages/core/dist/native/open-sockets.js';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    bind: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string' },
    seconds: { type: 'string', default: '3' },
    names: { type: 'string', default: '10000' },
    window: { type: 'string', default: '128' },
    warm: { type: 'boolean', default: false },
  },
});
const port = Number(values.port);
const names = Number(values.names);
const window = Number(values.window);

const queries = Array.from({ length: names }, (_, i) => {
  const labels = [`host-${i}`, `site-${i % 97}`, 'example'];
  const name = Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), Buffer.from(label)]), Buffer.of(0)]);
  return Buffer.concat([Buffer.of(0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0), name, Buffer.of(0, 1, 0, 1)]);
});

const sentAt = new Float64Array(65_536);
const free = Array.from({ length: window }, (_, i) => i);
const latencies = new Uint32Array(200_000); // by 10 µs
let answered = 0;
let bad = 0;
let next = 0;
let warming = values.warm;
let measuring = false;
let lost = 0;

const sockets = openSockets(findAddon().addon);

/** A socket for each question under way, as clients are: what one socket sends and gets in a burst, the system would carry as one packet. */
const clients = Array.from({ length: window }, (_, id) =>
  sockets.bindUdp(
    { host: values.bind, port: 0 },
    {
      received({ length, bytes, start, end }) {
        for (let i = 0; i < length; i++) {
          const at = start[i];
          if (sentAt[id] === 0 || ((bytes[at] << 8) | bytes[at + 1]) !== id) continue;
          if (end[i] - at < 12 || (bytes[at + 3] & 15) !== 0 || bytes[at + 7] === 0) bad++;
          if (measuring) latencies[Math.min(latencies.length - 1, Math.round((performance.now() - sentAt[id]) * 100))]++;
          sentAt[id] = 0;
          answered++;
          free.push(id);
        }
        fill();
      },
      failed(error) {
        throw error;
      },
    },
  ),
);

function fill() {
  while (free.length > 0 && !(warming && next >= names)) {
    const id = free.pop();
    const query = queries[next++ % names];
    query[0] = id >> 8;
    query[1] = id;
    sentAt[id] = performance.now();
    clients[id].send(query, 0, query.length, values.host, port);
  }
  if (warming && free.length === window) begin();
}

/** What was lost is given up after half a second. */
const sweeper = setInterval(() => {
  const now = performance.now();
  for (let id = 0; id < window; id++) {
    if (sentAt[id] === 0 || now - sentAt[id] < 500) continue;
    sentAt[id] = 0;
    lost++;
    free.push(id);
  }
  fill();
}, 100);

let startedAt = 0;
function begin() {
  warming = false;
  next = 0;
  setTimeout(() => {
    measuring = true;
    answered = 0;
    bad = 0;
    lost = 0;
    startedAt = performance.now();
    setTimeout(end, Number(values.seconds) * 1000);
  }, 300);
  fill();
}

function end() {
  const seconds = (performance.now() - startedAt) / 1000;
  let total = 0;
  for (const n of latencies) total += n;
  const quantile = (q) => {
    let seen = 0;
    for (let i = 0; i < latencies.length; i++) {
      seen += latencies[i];
      if (seen >= total * q) return i / 100;
    }
    return Number.NaN;
  };
  console.log(JSON.stringify({ qps: Math.round(answered / seconds), p50: quantile(0.5), p99: quantile(0.99), bad, lost }));
  clearInterval(sweeper);
  for (const client of clients) client.close();
  sockets.close();
  process.exit(0);
}

if (warming) fill();
else begin();
