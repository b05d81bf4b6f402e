// The figures as tables: for each cipher what the pairs did and cost, then ours divided by theirs.
import { digits, ratio, table } from '../report.mjs';
import { medianOf, pairedRatio } from '../statistics.mjs';
import { OURS } from './sides.mjs';

const SPEED = { bulk: 'gbits', connections: 'rate', udp: 'rate' };
const EXPLAINED = 'CPU: us of client + server for each MB (bulk), connection, or datagram there and back (udp)';

export function render({ tests }, pairs) {
  const sheets = Object.values(tests);
  const ciphers = [...new Set(sheets.map(({ cipher }) => cipher))];
  const own = pairs.filter(({ client, server }) => client === server && client !== OURS).map(({ name }) => name);
  return [
    EXPLAINED,
    ...ciphers.flatMap((cipher) =>
      sheetsOfCipher(
        cipher,
        sheets.filter((sheet) => sheet.cipher === cipher),
        pairs,
      ),
    ),
    ...ratios(sheets, own),
    ...mixed(sheets, pairs),
  ].join('\n\n');
}

function sheetsOfCipher(cipher, sheets, pairs) {
  const rows = pairs.map(({ name }) => name).filter((name) => sheets.some((sheet) => sheet.pairs[name] !== undefined));
  const cells = (of) => rows.map((name) => [name, ...sheets.map((sheet) => of(sheet.pairs[name], sheet.kind))]);
  const head = (unit) => ['', ...sheets.map(({ label, congestion, kind }) => `${label} (${kind === 'bulk' ? congestion : unit})`)];
  return [
    `${cipher}: Gbit/s; connections and datagrams there and back per second`,
    table(
      head('/s'),
      cells((rounds, kind) => digits(medianOf(rounds, SPEED[kind]), kind === 'bulk' ? 2 : 0)),
    ),
    `${cipher}: CPU, client + server`,
    table(
      head('us'),
      cells((rounds) => `${digits(medianOf(rounds, 'clientUs'), 0)} + ${digits(medianOf(rounds, 'serverUs'), 0)}`),
    ),
  ];
}

/** Medians of the ratios within a round. */
function ratios(sheets, others) {
  if (others.length === 0) return [];
  const rows = sheets.flatMap(({ cipher, label, kind, pairs }) => [
    [`${cipher}, ${label}`, ...others.map((name) => ratio(pairedRatio(pairs[OURS], pairs[name], SPEED[kind])))],
    [`  CPU (less is better)`, ...others.map((name) => ratio(pairedRatio(pairs[OURS], pairs[name], 'cpuUs')))],
  ]);
  return [`${OURS} divided by`, table(['', ...others], rows)];
}

/** What one side changes where the other stays: our client instead of theirs before their server, and the other way round. */
function mixed(sheets, pairs) {
  const all = pairs.filter(({ client, server }) => client !== server);
  if (all.length === 0) return [];
  const other = ({ client, server }) => (client === OURS ? server : client);
  const rows = sheets.map(({ cipher, label, kind, pairs: figures }) => [
    `${cipher}, ${label}`,
    ...all.map((pair) => ratio(pairedRatio(figures[pair.name], figures[other(pair)], SPEED[kind]))),
  ]);
  return ['Client > server of two kinds, divided by the other kind alone', table(['', ...all.map(({ name }) => name)], rows)];
}
