// The options of the command line; README.md tells what they mean.
import { parseArgs } from 'node:util';

/** `udp` is of bench/shadowsocks and bench/tun, the last three of bench/tun only; `http` and `connect` are of bench alone. */
const KINDS = ['bulk', 'connections', 'http', 'connect', 'idle', 'udp', 'socks', 'fairness', 'loop'];

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    peers: { type: 'string' },
    ciphers: { type: 'string' },
    only: { type: 'string', default: KINDS.join() },
    streams: { type: 'string' },
    congestion: { type: 'string' },
    idle: { type: 'string', default: '9000' },
    node: { type: 'string', multiple: true, default: [] },
    profile: { type: 'string' },
    lock: { type: 'string' },
    'node-flags': { type: 'string', default: '' },
    'no-namespace': { type: 'boolean', default: false },
    'in-namespace': { type: 'boolean', default: false },
  },
});

const list = (text) => text.split(',').filter((part) => part !== '');

export const options = {
  quick: values.quick,
  rounds: count('rounds', values.rounds ?? (values.quick ? '2' : '5')),
  seconds: count('seconds', values.seconds ?? (values.quick ? '1' : '3')),
  peers: values.peers === undefined ? null : list(values.peers),
  ciphers: values.ciphers === undefined ? null : list(values.ciphers),
  only: list(values.only),
  streams: list(values.streams ?? '1,8').map((text) => count('streams', text)),
  /** Whether the command line says how many. */
  hasStreams: values.streams !== undefined,
  congestion: values.congestion,
  idle: count('idle', values.idle),
  nodes: values.node.flatMap(list),
  profile: values.profile,
  lock: values.lock,
  nodeFlags: values['node-flags'].split(' ').filter((flag) => flag !== ''),
  noNamespace: values['no-namespace'],
  inNamespace: values['in-namespace'],
};

for (const kind of options.only) if (!KINDS.includes(kind)) throw new Error(`--only: no test ${kind}; known: ${KINDS.join(', ')}`);

function count(name, text) {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name}: ${text} is no whole number from 1 on`);
  return number;
}
