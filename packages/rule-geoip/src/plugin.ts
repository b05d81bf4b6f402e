import { definePlugin } from '@nekit/core';
import { country, geoip } from './country-rules.js';
import { DataFiles } from './data-files.js';
import { ipAsn } from './system-rules.js';

/** The rules GEOIP, SRC-GEOIP, COUNTRY, IP-ASN and SRC-IP-ASN. */
export default definePlugin({
  name: 'rule-geoip',
  api: 1,
  setup(context) {
    const files = new DataFiles();
    context.rule(geoip('GEOIP', files));
    context.rule(geoip('SRC-GEOIP', files));
    context.rule(country(files));
    context.rule(ipAsn('IP-ASN', files));
    context.rule(ipAsn('SRC-IP-ASN', files));
  },
});
