import type { Session } from '../net/session.js';

/** The program behind a connection, as far as the system tells. */
export interface ProcessInfo {
  /** The executable's file name, which Clash's PROCESS-NAME means; '' if the process was not found or is hidden from us. */
  readonly name: string;
  /** Absolute; '' as above. */
  readonly path: string;
  /** The user whose socket it is; null where unknown. */
  readonly uid: number | null;
}

/** Tells which local process owns the client's end of a session's connection. */
export interface ProcessFinder {
  /** null: the client is on another machine, or the system does not tell. Takes a second at most and never rejects. */
  find(session: Session): Promise<ProcessInfo | null>;
  /** Who still waits gets null. */
  close(): void;
}

/** For platforms that we cannot ask: all but Linux. */
export const noProcesses: ProcessFinder = {
  find: () => Promise.resolve(null),
  close: () => undefined,
};

/** `curl (/usr/bin/curl), uid 1000` */
export function describeProcess(info: ProcessInfo | null): string {
  if (info === null) return 'unknown';
  const user = info.uid === null ? [] : [`uid ${info.uid}`];
  const program = info.name === '' ? [] : [info.path === '' ? info.name : `${info.name} (${info.path})`];
  const all = [...program, ...user].join(', ');
  return all === '' ? 'unknown' : all;
}
