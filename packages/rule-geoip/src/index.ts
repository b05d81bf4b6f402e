/** The public door of @nekit/rule-geoip. The plugin itself is found through the `nekit` field of package.json. */
export { default as geoipPlugin } from './plugin.js';
