// Our name server in a process of its own. Prints its port. With `tun` also on a TUN, which takes what goes to 198.18.0.2. Started by run.mjs and tun.mjs.
import { createKernel } from '../../packages/core/dist/index.js';
import { createDnsPlugin } from '../../packages/stack-dns/dist/dns-plugin.js';

const [mode, upstream] = process.argv.slice(2);
const kernel = createKernel(
  {
    dns: {
      enable: true,
      listen: '127.0.0.1:0',
      'use-system-hosts': false,
      'cache-max-size': 100_000,
      'fake-ip-store': false,
      ...(mode === 'fake' || mode === 'tun' ? { 'enhanced-mode': 'fake-ip' } : { nameserver: `127.0.0.1:${upstream}` }),
    },
    ...(mode === 'tun' ? { tun: { enable: true, device: 'benchdns' } } : {}),
  },
  { plugins: [createDnsPlugin()] },
);
await kernel.start();
console.log(kernel.listeners().find(({ type }) => type === 'dns').endpoint.port);
