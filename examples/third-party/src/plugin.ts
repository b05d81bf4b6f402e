import { definePlugin } from '@nekit/core';
import { z } from 'zod';
import { EchoStack } from './echo-stack.js';
import { ForwardInbound, forwardConfig } from './forward-inbound.js';
import { H2cAdapter } from './h2c-adapter.js';
import { h2cConfig, parseH2cUri } from './h2c-config.js';
import { homeNames } from './home-names.js';
import { hoursRule } from './hours-rule.js';
import { tableResolver } from './table-resolver.js';

/**
 * One of each: an adapter (`type: h2c` in `proxies:`), a rule (`HOURS,09:00-17:30,target`), an inbound (`type: forward` in `listeners:`), an IP stack (`echo`, for `tun.stack`),
 * a kind of name server (`table://…` in `nameserver:`), and a hook that changes questions and answers.
 * `setup` only registers. Whatever a kernel needs is made by the `create` functions, once per entry of its config, so several kernels in
 * one process share nothing.
 */
export default definePlugin({
  name: 'example',
  api: 1,
  setup(context) {
    context.adapter({
      type: 'h2c',
      config: h2cConfig,
      create: (config, context) => new H2cAdapter(config, context),
      uri: { schemes: ['h2c'], parse: parseH2cUri },
    });
    context.rule(hoursRule());
    context.resolver(tableResolver());
    context.nameHook(homeNames());
    context.stack({ type: 'echo', config: z.strictObject({}), create: (_config, given) => new EchoStack(given) });
    context.inbound({ type: 'forward', config: forwardConfig, create: (config, context) => new ForwardInbound(config, context) });
  },
});
