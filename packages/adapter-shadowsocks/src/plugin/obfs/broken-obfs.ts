import { NetError } from '@nekit/core';

/** The server does not speak the disguise that was asked for. */
export class BrokenObfs extends NetError {
  constructor(what: string) {
    super('protocol', `this is no obfs server, or one of another mode: ${what}`, { code: 'SS_OBFS' });
  }
}
