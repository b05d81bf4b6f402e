import { z } from 'zod';
import { DEFAULT_SETTINGS, type TcpSettings } from './settings.js';

const milliseconds = z
  .number()
  .int()
  .min(0)
  .max(7 * 86_400_000);
const count = z.number().int().min(1).max(1_000_000);
const size = z
  .number()
  .int()
  .min(4_096)
  .max(1 << 20);

/** Of the stack in a config: everything may be left out. */
export const tcpConfig = z
  .strictObject({
    congestion: z.enum(['cubic', 'reno']).describe('congestion control'),
    nagle: z.boolean().describe('hold back small writes until what is in flight is acknowledged'),
    'accept-first': z.boolean().describe('answer a SYN before the target was reached'),
    'keep-alive': milliseconds.describe('silence before the first keep-alive probe, in ms; 0: none'),
    'max-connections': count.describe('open connections; the default leaves room below the limit of descriptors'),
    'max-half-open': count.describe('handshakes that wait for the ACK of the client'),
    'max-pending': count.describe('SYNs whose target is being dialled'),
    'max-pending-per-source': z.number().int().min(0).max(1_000_000).describe('the same per client address; 0: no limit of its own'),
    'time-wait': milliseconds,
    'max-time-wait': count,
    'give-up': z.number().int().min(100_000).max(86_400_000).describe('how long a client may leave everything unanswered, in ms'),
    'initial-window': size,
    'max-window': size,
    'max-send-buffer': size,
    'window-budget': z
      .number()
      .int()
      .min(0)
      .max(1 << 30),
  })
  .partial();

export type TcpConfig = z.infer<typeof tcpConfig>;

/** `maxConnections`: what the host allows. */
export function settingsOf(config: TcpConfig, maxConnections: number): TcpSettings {
  return {
    congestion: config.congestion ?? DEFAULT_SETTINGS.congestion,
    nagle: config.nagle ?? DEFAULT_SETTINGS.nagle,
    acceptFirst: config['accept-first'] ?? DEFAULT_SETTINGS.acceptFirst,
    keepAliveMs: config['keep-alive'] ?? DEFAULT_SETTINGS.keepAliveMs,
    maxConnections: config['max-connections'] ?? maxConnections,
    maxHalfOpen: config['max-half-open'] ?? DEFAULT_SETTINGS.maxHalfOpen,
    maxPending: config['max-pending'] ?? DEFAULT_SETTINGS.maxPending,
    maxPendingPerSource: config['max-pending-per-source'] ?? DEFAULT_SETTINGS.maxPendingPerSource,
    timeWaitMs: config['time-wait'] ?? DEFAULT_SETTINGS.timeWaitMs,
    maxTimeWait: config['max-time-wait'] ?? DEFAULT_SETTINGS.maxTimeWait,
    giveUpMs: config['give-up'] ?? DEFAULT_SETTINGS.giveUpMs,
    initialWindow: config['initial-window'] ?? DEFAULT_SETTINGS.initialWindow,
    maxWindow: config['max-window'] ?? DEFAULT_SETTINGS.maxWindow,
    maxSendBuffer: config['max-send-buffer'] ?? DEFAULT_SETTINGS.maxSendBuffer,
    windowBudget: config['window-budget'] ?? DEFAULT_SETTINGS.windowBudget,
  };
}
