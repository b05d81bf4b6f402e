/** Read first: RFC 9110 section 7.6.3 (Via). The pseudonym that one kernel goes by: a message that bears it has been here before. */
import type { Session } from '@nekit/core';
import { type Fields, valuesOf } from './fields.js';

export function viaName(instanceId: string): string {
  return `nekit-${instanceId}`;
}

/** Whether a message has come through the kernel of that name. */
export function cameThrough(fields: Fields, name: string): boolean {
  return valuesOf(fields, 'via').some((value) => value.split(/[\s,]+/).includes(name));
}

/** Which proxies a session's request has passed, so that the CONNECT that carries it on says so too. One per kernel. */
export class ViaTrail {
  /** By the session's signal: rules make new values of a session, the signal stays. */
  readonly #passed = new WeakMap<Session['signal'], string>();

  note({ signal }: Session, fields: Fields): void {
    const passed = valuesOf(fields, 'via').join(', ');
    if (passed !== '') this.#passed.set(signal, passed);
  }

  /** A Via value with us at its end. */
  goingOn({ signal }: Session, name: string): string {
    const passed = this.#passed.get(signal);
    return passed === undefined ? `1.1 ${name}` : `${passed}, 1.1 ${name}`;
  }
}
