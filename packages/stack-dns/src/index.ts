/** The public door of @nekit/stack-dns. The plugin itself is found through the `nekit` field of package.json. */
export { createDnsPlugin, type DnsPluginOptions } from './dns-plugin.js';
export { AddressRange } from './fake-ip/address-range.js';
export { FakeIpPool } from './fake-ip/fake-ip-pool.js';
export { FileStore } from './fake-ip/file-store.js';
export { type FakeIpStore, MemoryStore, type StoreUser } from './fake-ip/store.js';
export { KERNEL_DNS, KernelDns } from './kernel-dns.js';
export { default as dnsPlugin } from './plugin.js';
export { DnsServer } from './server/dns-server.js';
