import { eventually } from '@nekit/core/testing';
import type { Test } from 'tap';
import { type InboundUnderTest, type Options, startInbound } from './inbound-under-test.js';
import { always, type Origin, ok, type Respond, startOrigin } from './origins.js';

/** An inbound and an origin that answers; both are looked after, and so is what they leave behind. */
export async function scene(
  t: Test,
  respond: Respond = always(ok('hello')),
  options: Options = {},
): Promise<{ inbound: InboundUnderTest; origin: Origin; host: string }> {
  const origin = await startOrigin(respond);
  const inbound = await startInbound(options);
  t.teardown(async () => {
    await inbound.close();
    await origin.close();
    await eventually(() => inbound.timers.size === 0, 3_000, 'no timer is left');
    for (const error of inbound.thrown) throw error; // serve never throws
  });
  return { inbound, origin, host: `127.0.0.1:${origin.port}` };
}

export function get(host: string, fields = '', path = '/'): string {
  return `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;
}

export function status(text: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]);
}
