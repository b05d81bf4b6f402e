/** What core provides to adapters, inbounds, rules and plugins. */
import type { Clock } from './clock.js';
import type { Events } from './events.js';
import type { Exemptions } from './exemptions.js';
import type { Outgoing } from './outgoing.js';
import type { OwnEndpoints } from './own-endpoints.js';
import type { Resolver } from './resolver.js';
import type { SocketOptions, Sockets } from './sockets.js';
import type { Timeouts } from './timeouts.js';
import type { TimerWheel } from './timer-wheel.js';
import { token } from './token.js';

export const CLOCK = token<Clock>('Clock');
export const TIMERS = token<TimerWheel>('TimerWheel');
export const TIMEOUTS = token<Timeouts>('Timeouts');
export const EVENTS = token<Events>('Events');
export const RESOLVER = token<Resolver>('Resolver');
/** The kernel's sockets. */
export const SOCKETS = token<Sockets>('Sockets');
/** What every socket that goes out has (`interface-name`, `routing-mark` of the config); an adapter's own settings go over it. */
export const OUTBOUND = token<Pick<SocketOptions, 'mark' | 'device'>>('Outbound');
/** Which endpoints are our own listeners: nothing may dial them. */
export const OWN_ENDPOINTS = token<OwnEndpoints>('OwnEndpoints');
/** By which interface they leave, where nothing else says it. */
export const OUTGOING = token<Outgoing>('Outgoing');
/** Servers that processes of ours reach by themselves, beside a TUN with auto-route. */
export const EXEMPTIONS = token<Exemptions>('Exemptions');
/** Random per kernel; marks our HTTP `Via` so that a loop through an upstream is seen. */
export const INSTANCE_ID = token<string>('InstanceId');
