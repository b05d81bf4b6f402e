/** Both records side by side, as text. */
import type { Step } from './probe.js';
import type { Answers } from './rig.js';

export interface Comparison {
  readonly name: string;
  readonly linux: readonly Step[];
  readonly ours: readonly Step[];
  readonly isDifferent: boolean;
}

export function compare(answers: Answers): Comparison[] {
  return Object.entries(answers)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { linux, ours }]) => ({ name, linux, ours, isDifferent: JSON.stringify(linux) !== JSON.stringify(ours) }));
}

/** One paragraph: a line per step, and two where the answers differ. */
export function format({ name, linux, ours }: Comparison): string {
  const lines = [name];
  for (let i = 0; i < Math.max(linux.length, ours.length); i++) {
    const [label, theirs] = lineOf(linux[i]);
    const [ourLabel, mine] = lineOf(ours[i]);
    if (label === ourLabel && theirs === mine) lines.push(`  ${label}: ${mine}`);
    else lines.push(`  ${ourLabel}:`, `    Linux ${theirs}`, `    ours  ${mine}`);
  }
  return lines.join('\n');
}

function lineOf(step: Step | undefined): readonly [string, string] {
  if (step === undefined) return ['(nothing was done)', ''];
  const [label, answers] = step;
  return [label, answers.length === 0 ? '(nothing)' : answers.join(' | ')];
}
