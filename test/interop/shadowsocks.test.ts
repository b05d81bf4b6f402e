// app -> our client -> their server -> target, and app -> their client -> our server -> target: every cipher that both have, TCP and UDP.
// shadowsocks-libev and v2ray are Debian's. shadowsocks-rust and sing-box take minutes to build: npm run interop:full.
import t, { type Test } from 'tap';
import { makeFolder } from '../helpers/programs.js';
import { AEAD_2022, libev, type Peer, rust, sharedByUsers, sharedFor, singBox, v2ray } from '../helpers/shadowsocks.js';
import { checkTunnel, fromTheirClient, hasUdp, toTheirServer } from '../helpers/tunnels.js';

const folder = makeFolder();
t.teardown(() => folder.remove());
// sslocal waits half a second for the application's first bytes, which in some of these checks never come.
if (process.env.NEKIT_INTEROP === 'full') t.setTimeout(240_000);

/** One of a kind gets all checks, the others those in which ciphers differ. */
const WHOLE = ['aes-256-gcm', '2022-blake3-aes-256-gcm', 'aes-256-cfb'];

async function matrix(t: Test, peer: Peer): Promise<void> {
  for (const cipher of [...peer.ciphers, ...(peer.serverCiphers ?? [])]) {
    const options = { udp: hasUdp(cipher), whole: WHOLE.includes(cipher) };
    await t.test(`${cipher}: our client, their server`, async (t) => checkTunnel(t, await toTheirServer(t, peer, folder.path, sharedFor(cipher)), options));
  }
  for (const cipher of [...peer.ciphers, ...(peer.clientCiphers ?? [])]) {
    const options = { udp: hasUdp(cipher), whole: WHOLE.includes(cipher) };
    await t.test(`${cipher}: their client, our server`, async (t) => checkTunnel(t, await fromTheirClient(t, peer, folder.path, sharedFor(cipher)), options));
  }
}

async function users(t: Test, peer: Peer): Promise<void> {
  for (const cipher of AEAD_2022.filter((name) => name.includes('aes'))) {
    const options = { udp: true, whole: true };
    await t.test(`${cipher}, users: our client, their server`, async (t) =>
      checkTunnel(t, await toTheirServer(t, peer, folder.path, sharedByUsers(cipher)), options),
    );
    await t.test(`${cipher}, users: their client, our server`, async (t) =>
      checkTunnel(t, await fromTheirClient(t, peer, folder.path, sharedByUsers(cipher)), options),
    );
  }
}

for (const peer of [libev, v2ray, rust, singBox]) t.test(peer.name, { skip: peer.skip }, (t) => matrix(t, peer));

for (const peer of [rust, singBox]) t.test(`${peer.name}: several users of a server`, { skip: peer.skip }, (t) => users(t, peer));

t.test('UDP over TCP with sing-box', { skip: singBox.skip }, async (t) => {
  for (const version of [1, 2]) {
    for (const cipher of ['aes-256-gcm', '2022-blake3-aes-256-gcm']) {
      const options = { udp: true, whole: true };
      const keys = { 'udp-over-tcp': true, 'udp-over-tcp-version': version };
      await t.test(`version ${version}, ${cipher}: our client, their server`, async (t) =>
        // sing-box resolves no names of version 1: its own client fails in the same way.
        checkTunnel(t, { ...(await toTheirServer(t, singBox, folder.path, sharedFor(cipher), keys)), datagramsByName: version === 2 }, options),
      );
      await t.test(`version ${version}, ${cipher}: their client, our server`, async (t) =>
        checkTunnel(t, await fromTheirClient(t, singBox, folder.path, sharedFor(cipher), { udpOverTcp: version }), options),
      );
    }
  }
});
