import type { RuleDefinition } from '@nekit/core';

const MINUTES_PER_DAY = 24 * 60;

/** `HOURS,09:00-17:30,target`: matches by the local time of day, from the first minute on, up to the second. May span midnight (`22:00-06:00`). */
export function hoursRule(now: () => Date = () => new Date()): RuleDefinition {
  return {
    kind: 'HOURS',
    description: 'the local time of day, as 09:00-17:30 or 22:00-06:00',
    payload: true,
    create(payload) {
      const [from, to] = parseHours(payload);
      return {
        match() {
          const time = now();
          const minute = time.getHours() * 60 + time.getMinutes();
          return from < to ? minute >= from && minute < to : minute >= from || minute < to;
        },
      };
    },
  };
}

/** Throws a plain Error that says what is wrong; core adds the file and the line. */
function parseHours(payload: string): [from: number, to: number] {
  const parts = /^(\d{2}):(\d{2})-(\d{2}):(\d{2})$/.exec(payload);
  if (parts === null) throw new Error(`"${payload}" should be a span of time, as 09:00-17:30`);
  const from = minuteOf(parts[1], parts[2]);
  const to = minuteOf(parts[3], parts[4]);
  if (from === MINUTES_PER_DAY) throw new Error(`"${payload}": a span cannot begin at 24:00`);
  if (from === to) throw new Error(`"${payload}" is no time at all; the whole day is 00:00-24:00`);
  return [from, to];
}

/** 24:00 is the end of the day. */
function minuteOf(hours = '', minutes = ''): number {
  const minute = Number(hours) * 60 + Number(minutes);
  if (Number(minutes) > 59 || minute > MINUTES_PER_DAY) throw new Error(`${hours}:${minutes} is no time of day`);
  return minute;
}
