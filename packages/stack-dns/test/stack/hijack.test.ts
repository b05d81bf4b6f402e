import { parseAddress } from '@nekit/core';
import t from 'tap';
import { Hijack } from '../../dist/stack/hijack.js';

const NETWORKS = ['198.18.0.1/30', 'fdfe:dcba:9876::1/126'];

/** Which of these are taken, by UDP and by TCP. */
function taken(entries: readonly string[], endpoints: readonly (readonly [string, number])[]): string[] {
  const hijack = new Hijack(entries, NETWORKS);
  return endpoints.flatMap(([host, port]) => {
    const bytes = parseAddress(host) ?? new Uint8Array(4);
    const padded = Uint8Array.of(9, 9, ...bytes, 9);
    const byPacket = hijack.takesPacket(padded, 2, bytes.length === 4 ? 4 : 16, port);
    const [udp, tcp] = [hijack.takes('udp', host, port), hijack.takes('tcp', host, port)];
    if (byPacket !== udp) throw new Error(`${host} ${port}: as a packet ${byPacket}, as a session ${udp}`);
    return [...(udp ? [`udp ${host} ${port}`] : []), ...(tcp ? [`tcp ${host} ${port}`] : [])];
  });
}

const ENDPOINTS = [
  ['8.8.8.8', 53],
  ['2001:db8::53', 53],
  ['8.8.8.8', 443],
  ['198.18.0.2', 53],
  ['198.18.0.4', 53],
  ['fdfe:dcba:9876::2', 53],
  ['fdfe:dcba:9876::4', 53],
  ['198.18.0.2', 80],
  ['192.0.2.53', 5353],
] as const;

void t.test('forms of dns-hijack', async (t) => {
  const own = ['udp 198.18.0.2 53', 'tcp 198.18.0.2 53', 'udp fdfe:dcba:9876::2 53', 'tcp fdfe:dcba:9876::2 53'];
  t.same(taken([], ENDPOINTS), own, 'the networks of the device are ours always');
  const all = ENDPOINTS.filter(([, port]) => port === 53).flatMap(([host]) => [`udp ${host} 53`, `tcp ${host} 53`]);
  for (const any of ['any:53', '0.0.0.0:53', '[::]:53', '*:53']) t.same(taken([any], ENDPOINTS), all, any);
  t.same(
    taken(['tcp://any:53'], ENDPOINTS),
    all.filter((each) => each.startsWith('tcp') || own.includes(each)),
  );
  t.same(taken(['udp://any:53', 'tcp://0.0.0.0:53'], ENDPOINTS), all);
  t.same(taken(['8.8.8.8:53', 'udp://192.0.2.53:5353'], ENDPOINTS), ['udp 8.8.8.8 53', 'tcp 8.8.8.8 53', ...own, 'udp 192.0.2.53 5353']);
  t.same(taken(['[2001:db8::53]:53'], ENDPOINTS), ['udp 2001:db8::53 53', 'tcp 2001:db8::53 53', ...own]);
  t.notOk(new Hijack(['any:53'], NETWORKS).takes('udp', 'a.example', 443));
  for (const wrong of ['any', 'https://dns.example/dns-query', 'dns.example:53', '1.2.3.4', 'any:0', 'any:70000', 'quic://any:53', ''])
    t.throws(() => new Hijack([wrong], []), /no address and port/, wrong);
});
