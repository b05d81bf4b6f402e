/** The keys of Clash's `proxy-groups` that several types share. What chooses the members (`include-all` …) is done before, in config/expand-members.ts. */
import { z } from 'zod';
import type { GroupOptions } from './group.js';
import { parseExpectedStatus } from './health-check.js';
import type { HealthOptions } from './health-watch.js';

const DEFAULT_URL = 'https://www.gstatic.com/generate_204';
/** Seconds; Clash's. */
const DEFAULT_INTERVAL = 300;
/** ms; mihomo's. */
const DEFAULT_TIMEOUT = 5_000;
const DEFAULT_MAX_FAILED = 5;
/** Seconds: a month. */
const MAX_INTERVAL = 2_678_400;

export const groupKeys = {
  proxies: z.array(z.string()).min(1, 'a group needs at least one member').default([]).describe('The members: proxies and groups'),
  'include-all': z.boolean().default(false).describe('All of `proxies:` are members, behind those named here'),
  'include-all-proxies': z.boolean().default(false).describe('The same as include-all'),
  filter: z.string().optional().describe('Of include-all only what one of these regular expressions finds, joined by a back-tick'),
  'exclude-filter': z.string().optional().describe('Not what one of these regular expressions finds, joined by a back-tick'),
  'exclude-type': z.string().optional().describe('Not what is of one of these types: ss|http'),
  'disable-udp': z.boolean().default(false).describe('UDP goes on to the next rule'),
  hidden: z.boolean().optional().describe('For dashboards; ignored'),
  icon: z.string().optional().describe('For dashboards; ignored'),
};

export const healthKeys = {
  url: z
    .string()
    .refine(isHttp, 'this must be an address that begins with http:// or https://')
    .default(DEFAULT_URL)
    .describe('What is asked through each member'),
  interval: z.int().min(0).max(MAX_INTERVAL).default(0).describe(`Seconds between checks; 0: ${DEFAULT_INTERVAL}, but none in a select group`),
  lazy: z.boolean().default(true).describe('Check only while the group is used'),
  timeout: z.int().min(0).max(60_000).default(DEFAULT_TIMEOUT).describe('ms that a member may take to answer'),
  'max-failed-times': z.int().min(0).max(1_000_000).default(DEFAULT_MAX_FAILED).describe('So many failed dials in a row, within the timeout, start a check'),
  'expected-status': z.string().superRefine(checkStatus).default('*').describe('Which answers count as alive: 200/302/400-503, or * for any'),
};

export type GroupConfig = z.infer<z.ZodObject<typeof groupKeys>>;
export type HealthGroupConfig = GroupConfig & z.infer<z.ZodObject<typeof healthKeys>>;

export function groupOptions(config: GroupConfig): GroupOptions {
  return { proxies: config.proxies, udp: !config['disable-udp'] };
}

/** 0 means the default, as in mihomo. */
export function healthOptions(config: HealthGroupConfig): HealthOptions {
  return {
    url: config.url,
    expected: parseExpectedStatus(config['expected-status']),
    timeoutMs: config.timeout || DEFAULT_TIMEOUT,
    intervalMs: (config.interval || DEFAULT_INTERVAL) * 1_000,
    lazy: config.lazy,
    maxFailed: config['max-failed-times'] || DEFAULT_MAX_FAILED,
  };
}

function isHttp(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

function checkStatus(text: string, context: z.RefinementCtx): void {
  try {
    parseExpectedStatus(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
  }
}
