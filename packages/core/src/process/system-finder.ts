import type { TimerWheel } from '../net/timer-wheel.js';
import { LinuxProcessFinder } from './linux-finder.js';
import { noProcesses, type ProcessFinder } from './process-finder.js';

/** This platform's way: /proc on Linux, nothing elsewhere. Opens nothing before the first session is asked for. */
export function systemProcessFinder(timers: TimerWheel): ProcessFinder {
  return process.platform === 'linux' ? new LinuxProcessFinder(timers) : noProcesses;
}
