// Shadowsocks in disguise, with the programs of others at the other end: simple-obfs (Debian's), and v2ray as v2ray-plugin has it inside.
import t, { type Test } from 'tap';
import { makeFolder, type Program, unlessInstalled } from '../helpers/programs.js';
import { libev, rust, type Shared, sharedFor, singBox, startObfsServer, startV2rayPluginServer } from '../helpers/shadowsocks.js';
import type { Tunnel } from '../helpers/tunnel.js';
import { checkTunnel, OUR_NAME, started, startOurClient, startOurServer } from '../helpers/tunnels.js';

const folder = makeFolder();
t.teardown(() => folder.remove());

const shared = sharedFor('chacha20-ietf-poly1305');
const HOST = 'cdn.example.test';
/** A plugin carries TCP only; theirs end the whole connection at the first FIN. */
const options = { udp: false, whole: true, late: true };
const theirs = { name: 'localhost', halfCloses: false, fullCone: false, longest: 0 };
const ours = { ...theirs, name: OUR_NAME };

t.test('simple-obfs', { skip: libev.skip || unlessInstalled('obfs-local', 'obfs-server') }, async (t) => {
  for (const mode of ['http', 'tls']) {
    await t.test(`${mode}: ours built in, ss-server with obfs-server`, async (t) => {
      const port = await started(t, libev.server(folder.path, shared, { name: 'obfs-server', options: `obfs=${mode}` }));
      // As keys, and as SIP003's text.
      for (const given of [{ mode, host: HOST }, `obfs=${mode};obfs-host=${HOST}`]) {
        const kernel = await startOurClient(t, shared, port, { plugin: 'obfs', 'plugin-opts': given, udp: false });
        await checkTunnel(t, { ...theirs, port: kernel.port }, options);
      }
    });
    await t.test(`${mode}: obfs-local as our process, ss-server with obfs-server`, async (t) => {
      const port = await started(t, libev.server(folder.path, shared, { name: 'obfs-server', options: `obfs=${mode}` }));
      const plugin = { plugin: 'obfs-local', 'plugin-external': true, 'plugin-opts': `obfs=${mode};obfs-host=${HOST}` };
      const kernel = await startOurClient(t, shared, port, { ...plugin, udp: false });
      await checkTunnel(t, { ...theirs, port: kernel.port }, options);
    });
    await t.test(`${mode}: ss-local with obfs-local, obfs-server before our server`, async (t) => {
      const port = await ourServerBehind(t, shared, (behind) => startObfsServer(behind, mode));
      const plugin = { name: 'obfs-local', options: `obfs=${mode};obfs-host=${HOST}` };
      await checkTunnel(t, { ...ours, port: await started(t, libev.client(folder.path, shared, port, { plugin })) }, options);
    });
    await t.test(`${mode}: sing-box, obfs-server before our server`, { skip: singBox.skip }, async (t) => {
      const port = await ourServerBehind(t, shared, (behind) => startObfsServer(behind, mode));
      const plugin = { name: 'obfs-local', options: `obfs=${mode};obfs-host=${HOST}` };
      await checkTunnel(t, { ...ours, port: await started(t, singBox.client(folder.path, shared, port, { plugin })) }, options);
    });
  }
});

t.test('v2ray-plugin', { skip: unlessInstalled('v2ray') }, async (t) => {
  for (const mux of [true, false]) {
    const client = (t: Test, port: number): Promise<Tunnel> => websocketClient(t, shared, port, mux);
    await t.test(`mux ${mux}: ours built in, v2ray before our server`, async (t) => {
      const port = await ourServerBehind(t, shared, (behind) => startV2rayPluginServer(folder.path, behind, '/tunnel', mux));
      await checkTunnel(t, { ...(await client(t, port)), name: OUR_NAME }, options);
    });
    for (const peer of [libev, rust]) {
      await t.test(`mux ${mux}: ours built in, v2ray before a server of ${peer.name}`, { skip: peer.skip }, async (t) => {
        const behind = await started(t, peer.server(folder.path, shared));
        const port = await started(t, startV2rayPluginServer(folder.path, behind, '/tunnel', mux));
        await checkTunnel(t, await client(t, port), options);
      });
    }
  }
});

async function websocketClient(t: Test, secret: Shared, port: number, mux: boolean): Promise<Tunnel> {
  const plugin = { plugin: 'v2ray-plugin', 'plugin-opts': { mode: 'websocket', host: HOST, path: '/tunnel', mux } };
  const kernel = await startOurClient(t, secret, port, { ...plugin, udp: false });
  return { ...theirs, port: kernel.port };
}

/** The port of a program that hands on to our server. */
async function ourServerBehind(t: Test, secret: Shared, front: (behind: number) => Promise<Program>): Promise<number> {
  const kernel = await startOurServer(t, secret);
  return started(t, front(kernel.port));
}
