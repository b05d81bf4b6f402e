import type { Probe } from './probe.js';
import { closing } from './scenarios/closing.js';
import { flowing } from './scenarios/flowing.js';
import { handshake } from './scenarios/handshake.js';
import { icmp } from './scenarios/icmp.js';
import { intruders } from './scenarios/intruders.js';
import { options } from './scenarios/options.js';
import { text } from './scenarios/text.js';

export interface Scenario {
  readonly name: string;
  run(probe: Probe): Promise<void>;
}

export const SCENARIOS: readonly Scenario[] = [handshake, options, intruders, text, flowing, closing, icmp].flatMap((group) =>
  Object.entries(group).map(([name, run]) => ({ name, run })),
);
