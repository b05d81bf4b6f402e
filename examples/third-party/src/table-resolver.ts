import { type NameServer, NetError, parseAddress, type ResolverDefinition } from '@nekit/core';

const HEADER = 12;
const TTL = 60;
const NXDOMAIN = 3;
const A = 1;
const AAAA = 28;

/** `nameserver: table://printer.lan=192.168.1.9,nas.lan=fd00::7`: a name server that is a table. Queries and answers are DNS messages (RFC 1035 section 4.1). */
export function tableResolver(): ResolverDefinition {
  return {
    scheme: 'table',
    create(address) {
      const table = parseTable(address);
      const server: NameServer = {
        ask: (query) => {
          const answer = answerFrom(table, query);
          return answer === null ? Promise.reject(new NetError('protocol', 'this is no question')) : Promise.resolve(answer);
        },
      };
      return server;
    },
  };
}

/** Throws a plain Error, which is shown at the place in the config. */
function parseTable(text: string): ReadonlyMap<string, Uint8Array> {
  return new Map(
    text.split(',').map((entry) => {
      const [name = '', address = ''] = entry.split('=', 2);
      const bytes = parseAddress(address);
      if (name === '' || bytes === null) throw new Error(`"${entry}" should be name=address`);
      return [name.toLowerCase(), bytes] as const;
    }),
  );
}

/** null: it is not understood. What comes from us is well-formed; what a client asked may have any name in it. */
function answerFrom(table: ReadonlyMap<string, Uint8Array>, query: Uint8Array): Uint8Array | null {
  const labels: string[] = [];
  let at = HEADER;
  while ((query[at] ?? 0) !== 0) {
    const length = query[at] ?? 0;
    if (length > 63 || at + length + 5 > query.length) return null;
    labels.push(Buffer.from(query.subarray(at + 1, at + 1 + length)).toString('latin1'));
    at += length + 1;
  }
  const end = at + 5;
  if (end > query.length) return null;
  const type = ((query[at + 1] ?? 0) << 8) | (query[at + 2] ?? 0);
  const address = table.get(labels.join('.').toLowerCase());
  const fits = address !== undefined && type === (address.length === 4 ? A : AAAA);
  const head = Uint8Array.from(query.subarray(0, end));
  head.set([0x81, 0x80 | (address === undefined ? NXDOMAIN : 0), 0, 1, 0, fits ? 1 : 0, 0, 0, 0, 0], 2);
  if (!fits) return head;
  // The name is a pointer to the question's.
  return Buffer.concat([head, Uint8Array.of(0xc0, HEADER, 0, type, 0, 1, 0, 0, 0, TTL, 0, address.length), address]);
}
