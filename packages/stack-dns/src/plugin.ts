import { definePlugin } from '@nekit/core';
import { createDnsPlugin } from './dns-plugin.js';

/** The section `dns:`, listeners and adapters of type `dns`, and the IP stack `dns`. */
export default definePlugin(createDnsPlugin());
