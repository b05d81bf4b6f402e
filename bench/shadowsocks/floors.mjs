// What the project wants of itself as client and server, against the same pair of others under the same load.
import { medianOf, pairedRatio } from '../statistics.mjs';
import { LIBEV, OURS, RUST } from './sides.mjs';

const UP_AND_DOWN = /^(?:up|down) /;

/** `least`: ours divided by theirs in the same round, median over rounds; `most`: the same where less is better. */
const FLOORS = [
  { cipher: /gcm$|poly1305$/, label: UP_AND_DOWN, figure: 'gbits', theirs: LIBEV, least: 2 },
  { cipher: /^aes-256-cfb$/, label: /^down /, figure: 'gbits', theirs: LIBEV, least: 3 },
  { cipher: /^aes-256-cfb$/, label: /^down /, figure: 'clientUs', theirs: LIBEV, most: 1 / 3 },
  { cipher: /./, label: UP_AND_DOWN, figure: 'gbits', theirs: RUST, least: 1 },
  { cipher: /./, label: UP_AND_DOWN, figure: 'cpuUs', theirs: LIBEV, most: 1 },
  { cipher: /./, label: UP_AND_DOWN, figure: 'cpuUs', theirs: RUST, most: 1 },
  { cipher: /./, label: /^udp$/, figure: 'rate', theirs: LIBEV, least: 1 },
  { cipher: /./, label: /^connections$/, figure: 'rate', theirs: RUST, least: 0.5 },
];

const NAMES = { gbits: 'Gbit/s', cpuUs: 'CPU us per MB', clientUs: 'CPU us per MB of the client', rate: 'per second' };

/** One verdict for each floor whose test was run; `ok` is null where the peer has no figures. A cipher that a peer does not have has no floor. */
export function judge({ tests, versions }, sides) {
  return Object.values(tests).flatMap(({ cipher, label, congestion, pairs }) =>
    FLOORS.filter((floor) => floor.cipher.test(cipher) && floor.label.test(label) && pairs[OURS] !== undefined).flatMap(({ figure, theirs, least, most }) => {
      const side = sides.find(({ name }) => name === theirs);
      if (side !== undefined && !side.speaks({ name: cipher, family: cipher.startsWith('2022') ? '2022' : 'aead' })) return [];
      const where = `${cipher}, ${label} (${congestion})`;
      const ratio = pairedRatio(pairs[OURS], pairs[theirs], figure);
      if (Number.isNaN(ratio)) {
        const why = pairs[theirs] === undefined ? (versions[theirs] ?? 'not here') : 'no figures, see PROBLEM';
        return [{ ok: null, text: `${where}: ${NAMES[figure]} against ${theirs} (${why})`, peer: theirs, why }];
      }
      const [ours, other] = [medianOf(pairs[OURS], figure), medianOf(pairs[theirs], figure)].map((value) => value.toPrecision(4));
      const limit = least === undefined ? `at most ${most.toFixed(2)}x` : `at least ${least}x`;
      const ok = least === undefined ? ratio <= most : ratio >= least;
      return [{ ok, text: `${where}: ${ratio.toFixed(2)}x ${theirs} in ${NAMES[figure]} (${limit}; ${ours} and ${other})` }];
    }),
  );
}
